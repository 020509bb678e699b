import fc from 'fast-check';
import { expect, test } from 'vitest';
import { lineOf } from '../../src/config/located.ts';
import { JsonFault, readJson } from '../../src/producer/json-reader.ts';

function read(text: string) {
  const faults: string[] = [];
  const located = readJson(text, 1, (line, what) => faults.push(`${line}: ${what}`));
  return { located, faults };
}

function faultOf(text: string): string {
  try {
    read(text);
    return '';
  } catch (error) {
    if (error instanceof JsonFault) return `${error.line}: ${error.message}`;
    throw error;
  }
}

/** Texts near to JSON: valid ones with a bit cut out, doubled or put in. */
const nearJson = fc
  .tuple(
    fc.json(),
    fc.nat(),
    fc.nat(5),
    fc.constantFrom('', ',', '"', '\\', '{', ']', '\n', '0', '-', 'e', '\u2028', '/'),
  )
  .map(([text, at, length, put]) => {
    const from = at % (text.length + 1);
    return text.slice(0, from) + put + text.slice(from + length);
  });

test('it accepts the texts that JSON.parse accepts, with the same value, and no others', () => {
  fc.assert(
    fc.property(fc.oneof(fc.json(), nearJson, fc.string({ unit: 'binary' })), text => {
      let wanted: unknown;
      try {
        wanted = JSON.parse(text);
      } catch {
        expect(faultOf(text)).not.toBe('');
        return;
      }
      const { located, faults } = read(text);
      if (faults.length === 0) expect(located.value).toEqual(wanted);
    }),
    { numRuns: 2_000 },
  );
});

test('every part has the line it begins in', () => {
  const { located } = read('\n[\r\n {"a": [1,\n {"b":\n 2}]},\n"text"]');
  expect(located.line).toBe(2);
  expect(lineOf(located, [0])).toBe(3);
  expect(lineOf(located, [0, 'a', 1])).toBe(4);
  expect(lineOf(located, [0, 'a', 1, 'b'])).toBe(4);
  expect(lineOf(located, [0, 'a', 1, 'gone', 'deeper'])).toBe(4);
  expect(lineOf(located, [1])).toBe(6);
});

test('a key that stands twice is told with both lines, at every depth', () => {
  expect(read('{"a": 1,\n"a": 2, "b": {"c": 1,\n"\\u0063": 2}}').faults).toEqual([
    '2: key "a" stands twice, first in line 1',
    '3: key "c" stands twice, first in line 2',
  ]);
});

test('a key "__proto__" is refused and changes nothing', () => {
  const { located, faults } = read('{"__proto__": {"polluted": true}}');
  expect(faults).toEqual(['1: key "__proto__" is refused']);
  expect(located.value).toEqual({});
  expect(Object.getPrototypeOf(located.value)).toBe(Object.prototype);
});

test.each([
  ['[1,]', '1: expected a value, found "]"'],
  ['{"a": 1,\n}', '2: expected a key in double quotes, found "}"'],
  ["{'a': 1}", '1: expected a key in double quotes, found "\'"'],
  ['{"a" 1}', '1: expected ":" after the key "a", found "1"'],
  ['[1 2]', '1: expected "," or "]", found "2"'],
  ['[1', '1: expected "," or "]", found the end'],
  ['', '1: expected a value, found the end'],
  ['[01]', '1: expected "," or "]", found "1"'],
  ['{} // done', '1: expected the end, found "/"'],
  ['"a\nb"', '1: a text in double quotes holds a line break or control character: write it as \\n'],
  ['"\\x"', '1: a text in double quotes holds a "\\" that begins no escape of JSON'],
  ['"abc', '1: a text in double quotes does not end'],
  ['"abc\\', '1: a text in double quotes does not end'],
  ['NaN', '1: expected a value, found "N"'],
  ['\uFEFF{}', '1: expected a value, found "\uFEFF"'],
])('%j is refused with its line and the reason', (text, fault) => {
  expect(faultOf(text)).toBe(fault);
});

test.each(['[', '{"a":'])('a million levels of %s are a fault, not a crash', open => {
  expect(faultOf(open.repeat(1_000_000))).toMatch(/is nested deeper than \d+ levels/);
});
