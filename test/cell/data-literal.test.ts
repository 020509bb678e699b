import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { readLiteral } from '../../src/cell/data-literal.ts';

const read = (text: string) => readLiteral(text).value;

/** As a bundler writes data; which of the ways it takes is drawn too. */
function written(value: unknown, draw: () => number): string {
  if (Array.isArray(value)) return `[${value.map(item => written(item, draw)).join(',')}]`;
  if (typeof value === 'object' && value !== null) {
    const entries = Object.entries(value).map(([key, item]) => `${nameOf(key, draw)}:${written(item, draw)}`);
    return `{${entries.join(',')}${entries.length > 0 && draw() % 5 === 0 ? ',' : ''}}`;
  }
  if (typeof value === 'boolean') return draw() % 2 === 0 ? String(value) : value ? '!0' : '!1';
  if (typeof value === 'string') return textOf(value, draw);
  if (typeof value === 'number') return String(value).replace(/^(-?)0\./, draw() % 2 === 0 ? '$1.' : '$&');
  return 'null';
}

function nameOf(key: string, draw: () => number): string {
  if (/^(0|[1-9]\d{0,8}|[A-Za-z_$][\w$]*)$/.test(key) && draw() % 3 > 0) return key;
  return textOf(key, draw, ['"', "'"]);
}

function textOf(text: string, draw: () => number, quotes = ['"', "'", '`']): string {
  const quote = quotes[draw() % quotes.length] ?? '"';
  const units = Array.from({ length: text.length }, (_, at) => text.charAt(at)).map(unit => {
    const code = unit.charCodeAt(0);
    if (unit === quote || unit === '\\' || (quote === '`' && unit === '$')) return `\\${unit}`;
    if (unit === '\n') return '\\n';
    if (code >= 0x20 && code < 0x7f) return draw() % 7 > 0 ? unit : `\\x${code.toString(16)}`;
    return `\\u${code.toString(16).padStart(4, '0')}`;
  });
  return quote + units.join('') + quote;
}

test('is read as it was written, in whichever way, and what follows it is left alone', () => {
  const draws = fc.infiniteStream(fc.nat(1_000));
  fc.assert(
    fc.property(fc.jsonValue({ noUnicodeString: false }), draws, fc.string(), (value, stream, after) => {
      const text = written(value, () => stream.next().value);
      // A number would go on with digits that follow it.
      const { value: found, end } = readLiteral(`x=${text};${after}`, 2);
      expect(found).toEqual(JSON.parse(JSON.stringify(value)));
      expect(end).toBe(2 + text.length);
    }),
  );
});

test('knows what minifiers make of short words and numbers', () => {
  expect(read('{a:!0,"b-c":!1,3:.5,d:1e6,e:-2.,f:null,$g:["",\'\',``]}')).toEqual({
    ...{ a: true, 'b-c': false, 3: 0.5, d: 1_000_000, e: -2, f: null, $g: ['', '', ''] },
  });
  expect(read('"a\\x41\\u0042\\u{1F600}\\0\\n5\\q"')).toBe('aAB\u{1F600}\0\n5q');
});

test('a key like any other is one that objects inherit', () => {
  const found = read('{"__proto__":{polluted:!0},constructor:1}') as object;
  expect(Object.keys(found)).toEqual(['__proto__', 'constructor']);
  expect(Object.getPrototypeOf(found)).toBe(Object.prototype);
  expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
});

describe('what is no data is a fault, at its place', () => {
  test.each([
    ['a name', '{a:b}', 3],
    ['a call', '{a:f()}', 3],
    ['a text with something to fill in', '{a:`x$' + '{y}`}', 5],
    ['a spread', '{...a}', 1],
    ['an entry without a value', '{a}', 2],
    ['an end in a text', '{a:"b', 5],
    ['an end in a list', '[1,', 3],
    ['a missing comma', '[1 2]', 2],
    ['an old octal', '"\\07"', 2],
    ['a code that is none', '"\\u{110000}"', 11],
    ['nothing', '', 0],
  ])('%s', (_name, text, at) => {
    expect(() => read(text)).toThrow(new RegExp(`^no data at ${at}:`));
  });

  test('lists in one another without end', () => {
    expect(() => read('['.repeat(100_000))).toThrow(/^no data at 100:/);
  });
});
