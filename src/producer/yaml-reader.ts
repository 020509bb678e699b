/** YAML with line numbers, held to limits: depth, size, and what aliases unfold to. */
import { type Alias, isAlias, isMap, isScalar, isSeq, Lexer, LineCounter, type Node, parseAllDocuments } from 'yaml';
import { JSON_DEPTH_MAX } from '../config.ts';
import { type FaultList, type Located, VALUES_MAX } from './located.ts';

/** The list, the file's object and the task around a task's metadata. */
const DEPTH_MAX = JSON_DEPTH_MAX + 4;

/** The parser keeps about 200 bytes for each of its lexemes; this many take a few seconds. */
const LEXEMES_MAX = 2_000_000;

const OPTIONS = {
  // Our own check below names the first line too, and is not quadratic.
  uniqueKeys: false,
  stringKeys: true,
  resolveKnownTags: false,
  prettyErrors: false,
  logLevel: 'silent',
} as const;

/** Reads all documents of a YAML text. What is wrong goes to `faults`; documents with faults are left out. */
export function readYaml(text: string, faults: FaultList): Located[] {
  let lexemes = 0;
  for (const _ of new Lexer().lex(text)) {
    lexemes += 1;
    if (lexemes > LEXEMES_MAX) {
      faults.stop(null, `holds more than ${LEXEMES_MAX} parts: split it, or write it as JSONL`);
    }
  }
  const lines = new LineCounter();
  const parsed = parseAllDocuments(text, { ...OPTIONS, lineCounter: lines });
  return ('empty' in parsed ? [] : parsed).flatMap(document => {
    const problems = [...document.errors, ...document.warnings];
    for (const problem of problems) faults.add(lines.linePos(problem.pos[0]).line, sayProblem(problem));
    if (problems.length > 0) return [];
    const located = new Converter(lines, faults).convert(document.contents, 1);
    // A last "---" begins a document with nothing in it.
    return located.value === null ? [] : [located];
  });
}

function sayProblem(problem: { code: string; message: string }): string {
  if (problem.code === 'RESOURCE_EXHAUSTION') return 'is nested too deeply';
  if (problem.code === 'BAD_SCALAR_START') return `${problem.message}: put the text in quotes`;
  return problem.message.replace(/^\w/, first => first.toLowerCase());
}

/** Turns the nodes of one document into values. The library would do it too, but loses the lines on the way. */
class Converter {
  readonly #lines: LineCounter;
  readonly #faults: FaultList;
  readonly #anchors = new Map<string, Node>();
  #values = 0;

  constructor(lines: LineCounter, faults: FaultList) {
    this.#lines = lines;
    this.#faults = faults;
  }

  convert(node: unknown, depth: number): Located {
    const line = this.#lineOf(node);
    this.#values += 1;
    if (this.#values > VALUES_MAX) return this.#faults.stop(line, `unfolds to more than ${VALUES_MAX} values`);
    // A list or object that holds an alias of itself ends here too.
    if (depth > DEPTH_MAX) return this.#faults.stop(line, `is nested deeper than ${DEPTH_MAX} levels`);
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
    if (key === null) this.#faults.add(line, 'a key is a text, not an alias, a list or an object');
    else if (parts.has(key)) {
      this.#faults.add(line, `key ${JSON.stringify(key)} stands twice, first in line ${parts.get(key)?.line}`);
    } else if (key === '__proto__') this.#faults.add(line, 'key "__proto__" is refused');
    else {
      value[key] = part.value;
      parts.set(key, { ...part, line });
    }
  }

  #convertAlias(alias: Alias, line: number, depth: number): Located {
    const source = this.#anchors.get(alias.source);
    if (source === undefined) return this.#faults.stop(line, `alias *${alias.source} names no anchor above it`);
    return { ...this.convert(source, depth + 1), line };
  }

  #lineOf(node: unknown): number {
    const range = isAlias(node) || isScalar(node) || isMap(node) || isSeq(node) ? node.range : null;
    return this.#lines.linePos(range?.[0] ?? 0).line;
  }
}
