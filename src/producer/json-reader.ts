/**
 * Strict JSON with line numbers. `JSON.parse` accepts exactly the same texts, but names neither the line of a value
 * nor, on Node 20, that of most errors; and of a key that stands twice it silently drops the first.
 */
import { FILE_DEPTH_MAX, type Located, VALUES_MAX } from '../config/located.ts';

/** A text that is no JSON. `line` is counted from 1. */
export class JsonFault extends Error {
  readonly line: number;

  constructor(line: number, message: string) {
    super(message);
    this.line = line;
  }
}

const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const WORD = /[A-Za-z_$][\w$]*/y;
const WORDS: ReadonlyMap<string, unknown> = new Map<string, unknown>([
  ['true', true],
  ['false', false],
  ['null', null],
]);

/**
 * Reads one JSON value; `firstLine` is the line the text begins in. Keys that stand twice, and `__proto__`, are told
 * to `onFault` and left out. @throws {JsonFault} at the first place that is no JSON.
 */
export function readJson(text: string, firstLine: number, onFault: (line: number, what: string) => void): Located {
  let at = 0;
  let line = firstLine;
  let values = 0;

  const result = readValue(1);
  skipSpace();
  if (at < text.length) throw fault(`expected the end, found ${found()}`);
  return result;

  function readValue(depth: number): Located {
    skipSpace();
    values += 1;
    if (values > VALUES_MAX) throw fault(`holds more than ${VALUES_MAX} values`);
    if (depth > FILE_DEPTH_MAX) throw fault(`is nested deeper than ${FILE_DEPTH_MAX} levels`);
    const start = line;
    switch (text[at]) {
      case '{':
        return readObject(depth);
      case '[':
        return readList(depth);
      case '"':
        return { value: readText(), line: start };
      default:
        return { value: readScalar(), line: start };
    }
  }

  function readObject(depth: number): Located {
    const value: Record<string, unknown> = {};
    const parts = new Map<PropertyKey, Located>();
    const start = line;
    let more = open('}');
    while (more) {
      skipSpace();
      if (text[at] !== '"') throw fault(`expected a key in double quotes, found ${found()}`);
      const keyLine = line;
      const key = readText();
      skipSpace();
      if (text[at] !== ':') throw fault(`expected ":" after the key ${short(key)}, found ${found()}`);
      at += 1;
      const part = readValue(depth + 1);
      const first = parts.get(key);
      if (first !== undefined) onFault(keyLine, `key ${short(key)} stands twice, first in line ${first.line}`);
      else if (key === '__proto__') onFault(keyLine, 'key "__proto__" is refused');
      else {
        value[key] = part.value;
        parts.set(key, { ...part, line: keyLine });
      }
      more = next('}');
    }
    return { value, line: start, parts };
  }

  function readList(depth: number): Located {
    const value: unknown[] = [];
    const parts = new Map<PropertyKey, Located>();
    const start = line;
    let more = open(']');
    while (more) {
      const part = readValue(depth + 1);
      parts.set(value.length, part);
      value.push(part.value);
      more = next(']');
    }
    return { value, line: start, parts };
  }

  /** Steps over the opening bracket; false when the closing one follows at once. */
  function open(close: string): boolean {
    at += 1;
    skipSpace();
    if (text[at] !== close) return true;
    at += 1;
    return false;
  }

  /** Steps over "," or the closing bracket; whether it was ",". */
  function next(close: string): boolean {
    skipSpace();
    const sign = text[at];
    if (sign !== ',' && sign !== close) throw fault(`expected "," or "${close}", found ${found()}`);
    at += 1;
    return sign === ',';
  }

  function readText(): string {
    const start = at;
    at += 1;
    for (;;) {
      const code = text.charCodeAt(at);
      if (Number.isNaN(code)) throw fault('a text in double quotes does not end');
      if (code < 0x20) throw fault('a text in double quotes holds a line break or control character: write it as \\n');
      at += code === BACKSLASH ? 2 : 1;
      if (code === QUOTE) break;
    }
    try {
      // Only escapes are left to check and to resolve.
      return JSON.parse(text.slice(start, at)) as string;
    } catch {
      throw fault('a text in double quotes holds a "\\" that begins no escape of JSON');
    }
  }

  function readScalar(): unknown {
    NUMBER.lastIndex = at;
    const number = NUMBER.exec(text)?.[0];
    if (number !== undefined) {
      at += number.length;
      return Number(number);
    }
    WORD.lastIndex = at;
    const word = WORD.exec(text)?.[0];
    if (word === undefined || !WORDS.has(word)) throw fault(`expected a value, found ${found()}`);
    at += word.length;
    return WORDS.get(word);
  }

  function skipSpace(): void {
    for (;;) {
      const sign = text[at];
      if (sign === '\n') line += 1;
      else if (sign !== ' ' && sign !== '\t' && sign !== '\r') return;
      at += 1;
    }
  }

  function found(): string {
    const code = text.codePointAt(at);
    return code === undefined ? 'the end' : JSON.stringify(String.fromCodePoint(code));
  }

  function fault(message: string): JsonFault {
    return new JsonFault(line, message);
  }
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

function short(key: string): string {
  return key.length <= 60 ? JSON.stringify(key) : `${JSON.stringify(key.slice(0, 60))}...`;
}
