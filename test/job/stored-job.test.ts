/** How a job is said to stand that has been worked in more than one round. */
import { expect, test } from 'vitest';
import { hasEndedWell, resultOf, type StoredJob } from '../../src/job/stored-job.ts';
import { resultOf as endOf, jobOf } from '../support/jobs.ts';

const [committed, failed] = [endOf('a', 'committed'), endOf('a', 'failed')];
const found = (results: unknown, kept?: unknown) => resultOf({ data: { results, kept }, returnvalue: null });

test('a task stands as the last attempt of its present round ended', () => {
  expect(found([failed, committed])).toEqual(committed);
  expect(found([committed, failed], 1)).toEqual(failed);
  expect(resultOf({ data: { results: [failed], kept: 1 }, returnvalue: committed })).toEqual(committed);
});

test('what an earlier round came to says nothing of it', () => {
  expect(found([committed], 1)).toBeNull();
  const data = { ...jobOf('a'), results: [committed], kept: 1 };
  const common = { id: 'a', state: 'failed', finishedOn: 5, attemptsMade: 1, fault: null } as const;
  const lost: StoredJob = { ...common, data, result: resultOf({ data, returnvalue: null }) };
  expect(hasEndedWell(lost)).toBe(false);
});

test('nonsense in a job is no result', () => {
  expect([found('none'), found([committed], 'one'), found([7]), resultOf({ data: 7, returnvalue: 7 })]).toEqual([
    null,
    committed,
    null,
    null,
  ]);
});
