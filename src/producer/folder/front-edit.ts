/**
 * Changes keys of a front matter in its text: of all the rest, the order of keys and every comment included, no byte
 * is another one afterwards. What cannot be changed in this way is not changed at all.
 */
import { isDeepStrictEqual } from 'node:util';
import { isCollection, isMap, isScalar, type Pair, parseDocument, Scalar } from 'yaml';
import { lineAt, type Parts, readFront } from './front-matter.ts';

export type Value = string | number;

/** `null` takes a key away. Null when it is written in a way that cannot be changed without touching other text. */
export function withKeys(parts: Parts, changes: Readonly<Record<string, Value | null>>): Parts | null {
  const before = readFront(parts, '', []);
  if (before === null) return null;
  const { eol } = parts;
  let { front } = parts;
  for (const [key, value] of Object.entries(changes)) {
    const changed = value === null ? without(front, key) : withKey(front, key, value, eol);
    if (changed === null) return null;
    front = changed;
  }
  const isNew = parts.open === '' && front !== '';
  const changed = { ...parts, front, ...(isNew ? { open: `---${eol}`, close: `---${eol}` } : {}) };
  // Whatever a person can write in YAML: it is looked at again, and said again, before it counts.
  const after = readFront(changed, '', []);
  const wanted = Object.entries({ ...before.values, ...changes }).filter(([, value]) => value !== null);
  const found = Object.entries(after?.values ?? {}).filter(([, value]) => value !== null);
  const isAsWanted = after !== null && isDeepStrictEqual(Object.fromEntries(found), Object.fromEntries(wanted));
  return isAsWanted ? changed : null;
}

function withKey(front: string, key: string, value: Value, eol: string): string | null {
  const place = placeOf(front, key);
  if (place === null) return null;
  if (place.at === null) return `${front}${place.indent}${key}: ${written(value)}${eol}`;
  const { colon, end } = place.at;
  return `${front.slice(0, colon)} ${written(value)}${front.slice(end)}`;
}

function without(front: string, key: string): string | null {
  const place = placeOf(front, key);
  if (place === null) return null;
  if (place.at === null) return front;
  const { line, colon, end } = place.at;
  const rest = lineAt(front, end);
  // A comment behind it is a person's: the key stays for it, with nothing in it.
  return rest.trim() === ''
    ? front.slice(0, line) + front.slice(end + rest.length)
    : front.slice(0, colon) + front.slice(end);
}

/** Words that YAML takes for nothing else. */
const PLAIN = /^(?!(?:true|false|null|yes|no|on|off)$)[a-z][a-z0-9/_-]*$/i;

function written(value: Value): string {
  return typeof value === 'number' || PLAIN.test(value) ? String(value) : JSON.stringify(value);
}

interface Place {
  /** Before every key of the front matter. */
  indent: string;
  /** Where the key's line begins, where its colon and its value end; null: there is none. */
  at: { line: number; colon: number; end: number } | null;
}

function placeOf(front: string, key: string): Place | null {
  const { contents } = parseDocument(front, { keepSourceTokens: true, uniqueKeys: false, logLevel: 'silent' });
  if (contents === null) return { indent: '', at: null };
  if (!isMap(contents) || contents.flow === true) return null;
  const indent = indentOf(front, contents.items[0]);
  const pair = contents.items.find(one => isScalar(one.key) && one.key.value === key);
  if (indent === null || pair === undefined) return indent === null ? null : { indent, at: null };
  return indentOf(front, pair) === indent ? atOf(front, pair, indent) : null;
}

/** What stands before a key; null when it is more than space. */
function indentOf(front: string, pair: Pair | undefined): string | null {
  const from = isScalar(pair?.key) ? (pair.key.range?.[0] ?? 0) : 0;
  const before = front.slice(front.lastIndexOf('\n', from - 1) + 1, from);
  return /^ *$/.test(before) ? before : null;
}

function atOf(front: string, pair: Pair, indent: string): Place | null {
  const { key, value } = pair;
  const sep = (pair as Pair & { srcToken?: { sep?: { type: string; offset: number }[] } }).srcToken?.sep ?? [];
  const mark = sep.find(({ type }) => type === 'map-value-ind');
  if (!isScalar(key) || !key.range || mark === undefined) return null;
  const line = key.range[0] - indent.length;
  const colon = mark.offset + 1;
  const range = isScalar(value) || isCollection(value) ? value.range : null;
  if (!range || range[0] === range[1]) return { indent, at: { line, colon, end: colon } };
  // Comments before the value, or in it, would go with it.
  const begin = front.slice(colon, range[0]);
  const isBlock = isScalar(value) && (value.type === Scalar.BLOCK_FOLDED || value.type === Scalar.BLOCK_LITERAL);
  const mayHoldComment = isCollection(value) ? front.slice(range[0], range[1]) : isBlock ? lineAt(front, range[0]) : '';
  if (/[#\n]/.test(begin) || mayHoldComment.includes('#')) return null;
  const end = colon + front.slice(colon, range[1]).trimEnd().length;
  return { indent, at: { line, colon, end } };
}
