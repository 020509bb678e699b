/**
 * A Markdown file in its two parts: the front matter, YAML between two lines `---` at its very beginning, and the body.
 * Offsets are kept, so that what is written later leaves everything else as it is, to the byte.
 */
import { type Located, lineOf } from '../../config/located.ts';
import { readYaml } from '../../config/yaml.ts';
import { isRecord } from '../../config.ts';
import type { Fault } from '../../errors.ts';

/** Characters: it says a few things about the text below it. */
const FRONT_MAX = 64 * 1024;

export interface Parts {
  /** A byte order mark, the opening line, the YAML, the closing line and the body, which make up the file. */
  mark: string;
  open: string;
  front: string;
  close: string;
  body: string;
  /** How its lines end. */
  eol: '\n' | '\r\n';
}

/** Null when there is a first line `---` and no second. */
export function partsOf(text: string): Parts | null {
  const mark = text.startsWith('\uFEFF') ? '\uFEFF' : '';
  const rest = text.slice(mark.length);
  const eol = /^[^\n]*\r\n/.test(rest) ? '\r\n' : '\n';
  const open = lineAt(rest, 0);
  if (!isFence(open)) return { mark, open: '', front: '', close: '', body: rest, eol };
  for (let at = open.length; at < rest.length; ) {
    const line = lineAt(rest, at);
    const end = at + line.length;
    if (isFence(line))
      return { mark, open, front: rest.slice(open.length, at), close: line, body: rest.slice(end), eol };
    at = end;
  }
  return null;
}

export function textOf({ mark, open, front, close, body }: Parts): string {
  return `${mark}${open}${front}${close}${body}`;
}

const isFence = (line: string) => /^---[ \t]*(\r?\n)?$/.test(line);

/** The line that begins at `at`, with its end. */
export function lineAt(text: string, at: number): string {
  const end = text.indexOf('\n', at);
  return text.slice(at, end === -1 ? text.length : end + 1);
}

export interface Front {
  values: Record<string, unknown>;
  /** Counted in the file. */
  lineOf(path: readonly PropertyKey[]): number;
}

/** What the front matter says; null when it cannot be used, and then there are `faults`. `file` is how they name it. */
export function readFront({ front }: Pick<Parts, 'front'>, file: string, faults: Fault[]): Front | null {
  const before = faults.length;
  const add = (line: number | null, what: string) =>
    faults.push({ where: line === null ? file : `${file}:${line}`, what });
  if (front.length > FRONT_MAX) add(1, `begins a front matter of more than ${FRONT_MAX / 1024} KiB`);
  // The opening line is the first.
  const [found = NOTHING, second] = faults.length > before ? [] : readYaml(`\n${front}`, add);
  if (second !== undefined) add(second.line, 'begins a second document');
  else if (!isRecord(found.value)) add(found.line, 'the front matter must be keys and values');
  if (faults.length > before || !isRecord(found.value)) return null;
  return { values: found.value, lineOf: path => lineOf(found, path) };
}

const NOTHING: Located = { value: {}, line: 1 };
