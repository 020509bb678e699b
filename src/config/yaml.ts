/**
 * YAML with line numbers, held to limits: depth, size, and what aliases unfold to. Depth is checked before the
 * library composes values, because that recurses: V8 ends the whole process when it has to compile a regular
 * expression on an exhausted stack, which no `catch` can prevent.
 */
import {
  type Alias,
  Composer,
  type CST,
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  Lexer,
  LineCounter,
  type Node,
  Parser,
} from 'yaml';
import { FILE_DEPTH_MAX, type Located, VALUES_MAX } from './located.ts';

/** The parser keeps about 200 bytes for each of its lexemes; this many take about two seconds. */
const LEXEMES_MAX = 1_000_000;

/** Values that aliases may add to those that are written out; ten lines can name ten billion. */
const UNFOLDED_MAX = 100_000;

const OPTIONS = {
  // Our own check below names the first line too, and is not quadratic.
  uniqueKeys: false,
  stringKeys: true,
  resolveKnownTags: false,
  prettyErrors: false,
  logLevel: 'silent',
} as const;

/** Told of what is wrong; `line` is null when it is the whole text. */
export type OnFault = (line: number | null, what: string) => void;

/** Ends the reading; the fault was told by then. */
class Stopped extends Error {}

/** Reads all documents of a YAML text. What is wrong goes to `onFault`; documents with faults are left out. */
export function readYaml(text: string, onFault: OnFault): Located[] {
  const lines = new LineCounter();
  const located: Located[] = [];
  try {
    for (const document of new Composer(OPTIONS).compose(tokensOf(text, lines, onFault), false, text.length)) {
      located.push(...readDocument(document, lines, onFault));
    }
    return located;
  } catch (error) {
    if (error instanceof Stopped) return [];
    throw error;
  }
}

function* tokensOf(text: string, lines: LineCounter, onFault: OnFault): Generator<CST.Token> {
  lines.addNewLine(0);
  const parser = new Parser(lines.addNewLine);
  let lexemes = 0;
  for (const lexeme of new Lexer().lex(text)) {
    lexemes += 1;
    if (lexemes > LEXEMES_MAX)
      stop(onFault, null, `holds more than ${LEXEMES_MAX} parts: split it, or write it as JSONL`);
    yield* checked(parser.next(lexeme), lines, onFault);
  }
  yield* checked(parser.end(), lines, onFault);
}

function* checked(tokens: Iterable<CST.Token>, lines: LineCounter, onFault: OnFault): Generator<CST.Token> {
  for (const token of tokens) {
    const offset = tooDeep(token);
    if (offset !== null) stop(onFault, lines.linePos(offset).line, `is nested deeper than ${FILE_DEPTH_MAX} levels`);
    yield token;
  }
}

/** The offset of the first token found below the deepest level; null when there is none. */
function tooDeep(token: CST.Token): number | null {
  const stack: { token: CST.Token; depth: number }[] = [{ token, depth: 0 }];
  for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
    const { token: one, depth } = next;
    if (depth > FILE_DEPTH_MAX) return 'offset' in one ? one.offset : 0;
    if (one.type === 'document' && one.value) stack.push({ token: one.value, depth: depth + 1 });
    if (!('items' in one)) continue;
    for (const { key, value } of one.items) {
      if (key) stack.push({ token: key, depth: depth + 1 });
      if (value) stack.push({ token: value, depth: depth + 1 });
    }
  }
  return null;
}

function readDocument(document: Document.Parsed, lines: LineCounter, onFault: OnFault): Located[] {
  const problems = [...document.errors, ...document.warnings];
  for (const problem of problems) onFault(lines.linePos(problem.pos[0]).line, sayProblem(problem));
  if (problems.length > 0) return [];
  const located = new Converter(lines, onFault).convert(document.contents, 1);
  // A last "---" begins a document with nothing in it.
  return located.value === null ? [] : [located];
}

function sayProblem(problem: { code: string; message: string }): string {
  if (problem.code === 'RESOURCE_EXHAUSTION') return 'is nested too deeply';
  if (problem.code === 'BAD_SCALAR_START') return `${problem.message}: put the text in quotes`;
  return problem.message.replace(/^\w/, first => first.toLowerCase());
}

function stop(onFault: OnFault, line: number | null, what: string): never {
  onFault(line, what);
  throw new Stopped();
}

/** Turns the nodes of one document into values. The library would do it too, but loses the lines on the way. */
class Converter {
  readonly #lines: LineCounter;
  readonly #onFault: OnFault;
  readonly #anchors = new Map<string, Node>();
  #values = 0;
  #unfolded = 0;
  /** How many aliases the value at hand stands behind. */
  #behind = 0;

  constructor(lines: LineCounter, onFault: OnFault) {
    this.#lines = lines;
    this.#onFault = onFault;
  }

  convert(node: unknown, depth: number): Located {
    const line = this.#lineOf(node);
    this.#values += 1;
    if (this.#values > VALUES_MAX) return this.#stop(line, `holds more than ${VALUES_MAX} values`);
    if (this.#behind > 0) this.#unfolded += 1;
    if (this.#unfolded > UNFOLDED_MAX) return this.#stop(line, `aliases unfold to more than ${UNFOLDED_MAX} values`);
    // A list or object that holds an alias of itself ends here.
    if (depth > FILE_DEPTH_MAX) return this.#stop(line, `is nested deeper than ${FILE_DEPTH_MAX} levels`);
    if (isAlias(node)) return this.#convertAlias(node, line, depth);
    if ((isScalar(node) || isMap(node) || isSeq(node)) && node.anchor !== undefined) {
      this.#anchors.set(node.anchor, node);
    }
    if (isMap(node)) {
      const value: Record<string, unknown> = {};
      const parts = new Map<PropertyKey, Located>();
      for (const pair of node.items) this.#convertPair(pair, depth, value, parts);
      return { value, line, parts };
    }
    if (isSeq(node)) {
      const located = node.items.map(item => this.convert(item, depth + 1));
      return { value: located.map(item => item.value), line, parts: new Map(located.entries()) };
    }
    return { value: isScalar(node) ? node.value : null, line };
  }

  #convertPair(
    pair: { key: unknown; value: unknown },
    depth: number,
    value: Record<string, unknown>,
    parts: Map<PropertyKey, Located>,
  ): void {
    const line = this.#lineOf(pair.key);
    const key = isScalar(pair.key) ? String(pair.key.value) : null;
    const part = this.convert(pair.value, depth + 1);
    if (key === null) this.#onFault(line, 'a key is a text, not an alias, a list or an object');
    else if (parts.has(key)) {
      this.#onFault(line, `key ${JSON.stringify(key)} stands twice, first in line ${parts.get(key)?.line}`);
    } else if (key === '__proto__') this.#onFault(line, 'key "__proto__" is refused');
    else {
      value[key] = part.value;
      parts.set(key, { ...part, line });
    }
  }

  #convertAlias(alias: Alias, line: number, depth: number): Located {
    const source = this.#anchors.get(alias.source);
    if (source === undefined) return this.#stop(line, `alias *${alias.source} names no anchor above it`);
    this.#behind += 1;
    const located = this.convert(source, depth + 1);
    this.#behind -= 1;
    return { ...located, line };
  }

  #stop(line: number, what: string): never {
    return stop(this.#onFault, line, what);
  }

  #lineOf(node: unknown): number {
    const range = isAlias(node) || isScalar(node) || isMap(node) || isSeq(node) ? node.range : null;
    return this.#lines.linePos(range?.[0] ?? 0).line;
  }
}
