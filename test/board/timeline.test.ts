/** The stages of an attempt as a line of time. */
import { expect, test } from 'vitest';
import { diff } from '../../src/board/pages/diff.ts';
import { spansOf, timeline } from '../../src/board/pages/timeline.ts';

const metrics = { spawnMs: 1_000, executionMs: 6_000, teardownMs: 500, totalMs: 10_000 };

test('stages stand where they began', () => {
  const stages = [
    { stage: 'spawn' as const, startedAt: 5_000, ms: 1_000 },
    { stage: 'execute' as const, startedAt: 6_500, ms: 3_500 },
  ];
  expect(spansOf({ stages, metrics })).toEqual([
    { stage: 'spawn', name: 'spawn', from: 0, ms: 1_000 },
    { stage: 'execute', name: 'execute', from: 1_500, ms: 3_500 },
  ]);
  const text = String(timeline({ stages, metrics }));
  expect(text).toContain('<rect class="spawn" x="0" y="0" width="200"');
  expect(text).toContain('<rect class="execute" x="300" y="0" width="700"');
});

test('a result that tells no stages has its phases one after the other, with what lies between them', () => {
  expect(spansOf({ metrics }).map(({ name, from, ms }) => [name, from, ms])).toEqual([
    ['spawn', 0, 1_000],
    ['execute', 1_000, 6_000],
    ['test and settle', 7_000, 2_500],
    ['teardown', 9_500, 500],
  ]);
});

test('no figures, or those that are none, make no picture', () => {
  const none = { spawnMs: 0, executionMs: 0, teardownMs: 0, totalMs: 0 };
  expect(timeline({ metrics: none })).toBeNull();
  expect(timeline({ metrics: { ...none, executionMs: Number.POSITIVE_INFINITY } })).toBeNull();
});

test('what took next to nothing is seen at all, and nothing stands beyond the end', () => {
  const stages = [
    { stage: 'execute' as const, startedAt: 0, ms: 100_000 },
    { stage: 'teardown' as const, startedAt: 100_000, ms: 1 },
  ];
  const bars = [...String(timeline({ stages, metrics })).matchAll(/x="(\d+)" y="0" width="(\d+)"/g)];
  for (const [, x, width] of bars) expect(Number(x) + Number(width)).toBeLessThanOrEqual(1_000);
});

test('a diff of very many lines is cut, and says so', () => {
  const text = String(diff('+x\n'.repeat(6_000)));
  expect(text.match(/class="line added"/g)).toHaveLength(5_000);
  expect(text).toContain('1000 more lines.');
});
