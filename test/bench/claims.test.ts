/** What is said to be measured was measured. */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { unfoundedClaims } from '../support/claims.ts';

const at = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url));

test('every figure of speed or size that the README claims stands in a kept result', () => {
  const results = readdirSync(at('bench/results')).map(name =>
    JSON.parse(readFileSync(at(`bench/results/${name}`), 'utf8')),
  );
  expect(results.length).toBeGreaterThan(0);
  expect(unfoundedClaims(readFileSync(at('README.md'), 'utf8'), results)).toEqual([]);
});

test('a claim that no result bears out is named with its number, a rounded one is not', () => {
  const text = 'A spawn takes 1,742 ms. It is 1.1 times as long, measured on 2 cores. At most 30 seconds are given.';
  const results = [{ setting: { cpus: 2 }, oursMs: 1742, sides: [{ ratio: 1.05 }] }];
  expect(unfoundedClaims(text, results)).toEqual([]);
  expect(unfoundedClaims(text.replace('1,742', '900'), results)).toEqual(['900: A spawn takes 900 ms.']);
});

test('limits, settings and the output of examples claim nothing', () => {
  const text = 'Wait up to 10 seconds, `--grace 30 ms`.\n\n    spawn 35 ms, 7 cores\n\n```\nmeasured 12 ms\n```\n';
  expect(unfoundedClaims(text, [])).toEqual([]);
});
