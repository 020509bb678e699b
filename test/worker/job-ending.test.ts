/** In which order a job's end is told: dying between any two steps must neither lose the work nor repeat it. */
import type { Job } from 'bullmq';
import { UnrecoverableError, WaitingError } from 'bullmq';
import { expect, test } from 'vitest';
import { CellpoolError } from '../../src/errors.ts';
import type { TaskJob } from '../../src/job/job.ts';
import type { AttemptResult } from '../../src/job/outcome.ts';
import { silentLogger } from '../../src/observe/logger.ts';
import type { HeldJob } from '../../src/worker/held-job.ts';
import { conclude } from '../../src/worker/job-ending.ts';
import { jobOf, resultOf } from '../support/jobs.ts';

/** A job in the hands of a worker that does nothing but note what is done, and fails where it is told to. */
function held(more: { write?: () => Promise<void>; log?: () => Promise<number>; onResult?: () => void } = {}) {
  const done: string[] = [];
  const written: TaskJob[] = [];
  const context = {
    log: silentLogger,
    jobData: {
      write: async (_id: string, _token: string, data: TaskJob) => {
        await more.write?.();
        done.push('write');
        written.push(data);
      },
    },
    fence: { end: async (_id: string, number: string) => void done.push(`end ${number}`) },
    onResult: (_result: AttemptResult) => {
      more.onResult?.();
      done.push('tell');
    },
    onHandedBack: () => undefined,
  };
  const job = {
    id: 'a',
    log: async () => more.log?.() ?? 1,
    moveToWait: async () => void done.push('move'),
  } as unknown as Job;
  const one = {
    context,
    job,
    token: 't',
    data: jobOf('a'),
    attempt: 1,
    begun: { number: '7', unended: 0, cancelled: false },
  } as unknown as HeldJob;
  return { one, done, written };
}

test('an attempt is said to have ended only once its result stands in the job', async () => {
  const { one, done } = held();
  await conclude(one, resultOf('a', 'committed'), { next: 'done' });
  expect(done).toEqual(['write', 'end 7', 'tell']);
});

test('an attempt that goes back uncounted is said to have ended before somebody else can take the job', async () => {
  const { one, done } = held();
  const back = conclude(one, resultOf('a', 'cancelled'), { next: 'requeue', afterMs: 0 });
  await expect(back).rejects.toBeInstanceOf(WaitingError);
  expect(done).toEqual(['write', 'end 7', 'move']);
});

test('an attempt whose result could not be written counts as one that never ended, so that its commit is looked for', async () => {
  const { one, done } = held({
    write: () => Promise.reject(new CellpoolError('FENCED', 'the job is no longer ours')),
  });
  await expect(conclude(one, resultOf('a', 'committed'), { next: 'done' })).rejects.toThrow('no longer ours');
  expect(done).toEqual([]);
});

test('neither a log that cannot be written nor a listener that throws makes a failure of what is done', async () => {
  const { one, written } = held({
    log: () => Promise.reject(new Error('OOM command not allowed')),
    onResult: () => {
      throw new Error('the listener is broken');
    },
  });
  const result = resultOf('a', 'committed');
  expect(await conclude(one, result, { next: 'done' })).toEqual(result);
  expect(written[0]?.results).toEqual([result]);
  await expect(conclude(one, result, { next: 'give-up', why: null })).rejects.toBeInstanceOf(UnrecoverableError);
});
