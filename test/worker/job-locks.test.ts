import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { REASONS } from '../../src/worker/held-job.ts';
import { JobLocks } from '../../src/worker/job-locks.ts';

// The clock is the one thing that stands between the locks and an instant test of them.
beforeEach(() => void vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] }));
const opened: JobLocks[] = [];
afterEach(() => {
  for (const locks of opened.splice(0)) locks.close();
  vi.useRealTimers();
});

const TIMES = { renewMs: 1_000, silentMs: 7_000 };

function openLocks(renew: (ids: string[], tokens: string[]) => Promise<string[]>) {
  const locks = new JobLocks(renew, TIMES);
  opened.push(locks);
  return locks;
}

const silence = () => new Promise<string[]>(() => undefined);

test('a job whose lock is renewed in time is never ended, however long it takes', async () => {
  const asked: [string[], string[]][] = [];
  const locks = openLocks(async (ids, tokens) => {
    asked.push([ids, tokens]);
    return [];
  });
  const signal = locks.take('a', 't1');
  await vi.advanceTimersByTimeAsync(60_000);
  expect(signal.aborted).toBe(false);
  expect(asked.length).toBeGreaterThanOrEqual(40);
  expect(asked[0]).toEqual([['a'], ['t1']]);
});

test('while Redis says nothing, a job is ended before its lock has run out', async () => {
  const locks = openLocks(silence);
  const signal = locks.take('a', 't1');
  await vi.advanceTimersByTimeAsync(TIMES.silentMs - 1);
  expect(signal.aborted).toBe(false);
  await vi.advanceTimersByTimeAsync(500);
  expect(signal.reason).toBe(REASONS.lockLost);
});

test('an answer that was long on its way does not pass for a fresh one', async () => {
  const answers: ((lost: string[]) => void)[] = [];
  const locks = openLocks(() => new Promise(resolve => answers.push(resolve)));
  const signal = locks.take('a', 't1');
  await vi.advanceTimersByTimeAsync(6_500);
  answers[0]?.([]);
  // Asked at 1 s, so good until 8 s and not until 13.5 s.
  await vi.advanceTimersByTimeAsync(2_500);
  expect(signal.reason).toBe(REASONS.lockLost);
});

test('a lost lock ends its own job and no other', async () => {
  const locks = openLocks(async () => ['a']);
  const [lost, kept] = [locks.take('a', 't1'), locks.take('b', 't2')];
  await vi.advanceTimersByTimeAsync(1_500);
  expect([lost.reason, kept.aborted]).toEqual([REASONS.lockLost, false]);
});

test('a renewal that failed is tried again', async () => {
  let calls = 0;
  const locks = openLocks(async () => {
    calls += 1;
    if (calls === 1) throw new Error('Connection is closed.');
    return [];
  });
  const signal = locks.take('a', 't1');
  await vi.advanceTimersByTimeAsync(20_000);
  expect(signal.aborted).toBe(false);
});

test('news of an attempt that is over say nothing of the next one at the same job', async () => {
  const answers: ((lost: string[]) => void)[] = [];
  const locks = openLocks(() => new Promise(resolve => answers.push(resolve)));
  const first = locks.take('a', 't1');
  await vi.advanceTimersByTimeAsync(1_000);
  locks.done('a');
  const second = locks.take('a', 't2');
  answers[0]?.(['a']);
  await vi.advanceTimersByTimeAsync(0);
  expect([first.aborted, second.aborted]).toEqual([true, false]);
});

test('the first reason to cancel counts, and a job that is not ours is nobody to cancel', () => {
  const locks = openLocks(silence);
  const signal = locks.take('a', 't1');
  locks.cancel('b', REASONS.stopping);
  locks.cancel('a', REASONS.cancelled);
  locks.cancel('a', REASONS.stopping);
  expect(signal.reason).toBe(REASONS.cancelled);
});
