import fc from 'fast-check';
import { expect, test } from 'vitest';
import { backoffMs, jobOptions } from '../../src/job/queue.ts';
import { hasEndedWell, resultOf, type StoredJob } from '../../src/job/stored-job.ts';
import { parseTask } from '../../src/job/task.ts';

test('the first pause is about 2 s, each next one twice as long, and none longer than 5 minutes', () => {
  const longest = [1, 2, 3, 4, 5, 6, 7, 8, 9, 100, 5_000].map(made => backoffMs(made, () => 0));
  expect(longest).toEqual([
    ...[2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 128_000, 256_000],
    ...[300_000, 300_000, 300_000],
  ]);
});

test('any pause is a whole number between half of its full length and all of it', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 10_000 }),
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      (made, random) => {
        const full = backoffMs(made, () => 0);
        const pause = backoffMs(made, () => random);
        expect(Number.isInteger(pause)).toBe(true);
        expect(pause).toBeGreaterThanOrEqual(full / 2);
        expect(pause).toBeLessThanOrEqual(full);
        expect(full).toBeGreaterThanOrEqual(2_000);
      },
    ),
  );
});

test('the options of a job follow its task, and ended jobs are kept for 30 days or 10,000', () => {
  const { task } = parseTask({ id: 'a', prompt: 'x', attempts: 7, priority: 4 }, 'x');
  if (task === null) throw new Error('no task');
  const kept = { age: 2_592_000, count: 10_000 };
  expect(jobOptions(task)).toMatchObject({
    jobId: 'a',
    attempts: 7,
    priority: 4,
    backoff: { type: 'cellpool' },
    removeOnComplete: kept,
    removeOnFail: kept,
  });
  const { priority: _, ...plain } = task;
  expect(jobOptions(plain)).not.toHaveProperty('priority');
});

test('ended jobs are kept as the settings say, by age, by number, by both or for ever', () => {
  const { task } = parseTask({ id: 'a', prompt: 'x' }, 'x');
  if (task === null) throw new Error('no task');
  const kept = (jobDays: number | null, jobs: number | null) => {
    const { removeOnComplete, removeOnFail } = jobOptions(task, { jobDays, jobs });
    expect(removeOnFail).toEqual(removeOnComplete);
    return removeOnComplete;
  };
  expect(kept(0.5, null)).toEqual({ age: 43_200 });
  expect(kept(null, 5)).toEqual({ count: 5 });
  expect(kept(1, 5)).toEqual({ age: 86_400, count: 5 });
  expect(kept(null, null)).toBe(false);
});

const result = {
  ...{ taskId: 'a', outcome: 'committed', attempt: 2, branch: 'cellpool/a', commit: 'abc', filesModified: [] },
  ...{ tokensUsed: 1, tests: null, error: null, artifacts: '/a' },
  metrics: { spawnMs: 1, executionMs: 1, teardownMs: 1, totalMs: 3 },
};
const earlier = { ...result, outcome: 'reverted', attempt: 1 };

test('the result is the return value, or else the last one kept in the data', () => {
  expect(resultOf({ returnvalue: result, data: { results: [earlier] } })).toEqual(result);
  expect(resultOf({ returnvalue: null, data: { results: [earlier, result] } })).toEqual(result);
  expect(resultOf({ returnvalue: null, data: { results: [earlier] } })).toEqual(earlier);
});

test('nonsense in a job is no result, and no crash', () => {
  const nonsense = fc.oneof(fc.anything(), fc.record({ results: fc.array(fc.anything()) }));
  fc.assert(
    fc.property(nonsense, nonsense, (returnvalue, data) => {
      expect(resultOf({ returnvalue, data })).toBe(null);
    }),
  );
});

test('only an ended job whose last attempt committed or changed nothing has ended well', () => {
  const stored = (state: StoredJob['state'], outcome: string | null): StoredJob => ({
    ...{ id: 'a', state, attemptsMade: 1, finishedOn: state === 'completed' || state === 'failed' ? 1 : null },
    result: outcome === null ? null : resultOf({ returnvalue: { ...result, outcome }, data: null }),
    ...{ data: null, fault: 'left out' },
  });
  expect(hasEndedWell(stored('completed', 'committed'))).toBe(true);
  expect(hasEndedWell(stored('completed', 'no-changes'))).toBe(true);
  expect(hasEndedWell(stored('completed', 'cancelled'))).toBe(false);
  expect(hasEndedWell(stored('completed', null))).toBe(false);
  expect(hasEndedWell(stored('failed', 'reverted'))).toBe(false);
  expect(hasEndedWell(stored('active', 'committed'))).toBe(false);
});
