import { UnrecoverableError, type Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import type { TaskJob } from '../../src/job/job.ts';
import { openQueue, TASK_JOB, type TaskQueue } from '../../src/job/queue.ts';
import { retryFailed, retryTasks } from '../../src/producer/retry.ts';
import { Control } from '../../src/redis/control.ts';
import { lineKeys } from '../../src/redis/fleet-keys.ts';
import { addJob, holdJobs, jobOf, resultOf, untilState } from '../support/jobs.ts';
import { type TestRedis, testRedis } from '../support/redis.ts';

let server: TestRedis;
let prefix: string;
let redis: Redis;
let queue: TaskQueue;
const workers: Worker[] = [];

beforeAll(async () => {
  server = await testRedis();
});
afterAll(() => server.close());

beforeEach(async () => {
  prefix = server.prefix();
  redis = await server.connect('producer');
  queue = openQueue(redis, prefix);
});

afterEach(async () => {
  await closeWorkers();
  await queue.close();
  redis.disconnect();
});

const closeWorkers = () => Promise.all(workers.splice(0).map(worker => worker.close(true)));
const retry = (...ids: string[]) => retryTasks({ redis, prefix }, ids);

/** Puts jobs on the queue and has each fail for good, with the data that it then has. */
async function fail(...all: TaskJob[]): Promise<void> {
  for (const data of all) await addJob(queue, data);
  workers.push(
    holdJobs(await server.connect('worker'), prefix, async () => {
      throw new UnrecoverableError('reverted');
    }),
  );
  for (const { task } of all) await untilState(queue, task.id, 'failed');
  await closeWorkers();
}

test('a failed task is queued with all its attempts, its results kept and its account closed', async () => {
  const results = [resultOf('a', 'reverted')];
  await fail({ ...jobOf('a'), results, spent: { tokens: 5, executionMs: 7 }, waits: { reason: 'a key', since: 1 } });
  await redis.hset(queue.toKey('a'), 'stc', '9');
  const before = await queue.getJob('a');
  expect(await retry('a')).toEqual([{ taskId: 'a', how: 'queued', outcome: 'reverted' }]);
  const job = await queue.getJob('a');
  expect(await job?.getState()).toBe('waiting');
  expect(job).toMatchObject({ attemptsMade: 0, attemptsStarted: 0, stalledCounter: 0, timestamp: before?.timestamp });
  expect(job?.data).toEqual({ ...jobOf('a'), results, kept: 1 });
});

test('a task is retried although it can enter no line of its repository, which is told', async () => {
  await fail(jobOf('a'));
  // The count of turns cannot go on.
  await redis.set(lineKeys(prefix).turns, '9223372036854775807');
  const remark = expect.stringMatching(/^it stands in no line of its repository: .*overflow/);
  expect(await retry('a')).toEqual([{ taskId: 'a', how: 'queued', outcome: null, remark }]);
  expect(await queue.getJobState('a')).toBe('waiting');
});

test('a task that was cancelled runs when it is retried: its mark is gone', async () => {
  await fail(jobOf('a'));
  const control = new Control(redis, { prefix });
  const enqueuedAt = (await queue.getJob('a'))?.timestamp ?? 0;
  await control.markCancelled('a', enqueuedAt);
  await retry('a');
  expect(await control.marked([{ taskId: 'a', enqueuedAt }])).toEqual([]);
});

test('a task that failed keeps its priority', async () => {
  await fail(jobOf('a', { priority: 7 }));
  expect(await retry('a')).toMatchObject([{ how: 'queued' }]);
  expect(await queue.getJobState('a')).toBe('prioritized');
});

test('a task that waits for its next attempt is queued now', async () => {
  await addJob(queue, jobOf('a'), 600_000);
  expect(await retry('a')).toEqual([{ taskId: 'a', how: 'promoted', outcome: null }]);
  expect(await queue.getJobState('a')).toBe('waiting');
});

test('a task that waits, runs, ended well or is not known is left as it is', async () => {
  await addJob(queue, jobOf('good'));
  const connection = await server.connect('worker');
  workers.push(
    holdJobs(connection, prefix, async job => {
      if (job.id === 'good') return resultOf('good', 'committed');
      return new Promise(() => undefined);
    }),
  );
  await untilState(queue, 'good', 'completed');
  await addJob(queue, jobOf('runs'));
  await untilState(queue, 'runs', 'active');
  await addJob(queue, jobOf('waits'));
  expect(await retry('waits', 'runs', 'good', 'nobody', 'waits')).toEqual([
    { taskId: 'waits', how: 'waiting', outcome: null },
    { taskId: 'runs', how: 'running', outcome: null },
    { taskId: 'good', how: 'ended', outcome: 'committed' },
    { taskId: 'nobody', how: 'unknown', outcome: null },
  ]);
  expect(await queue.getJobState('good')).toBe('completed');
});

test('two retries at once queue a task once', async () => {
  await fail({ ...jobOf('a'), spent: { tokens: 1, executionMs: 1 } });
  const both = await Promise.all([retry('a'), retry('a')]);
  expect(both.flat().map(({ how }) => how)).toContain('queued');
  expect(both.flat().every(({ how }) => how === 'queued' || how === 'waiting')).toBe(true);
  expect(await queue.getWaitingCount()).toBe(1);
});

test('all failed tasks are retried, and what is no job of cellpool is left alone', async () => {
  await fail(jobOf('a'), jobOf('b'));
  await addJob(queue, jobOf('other'));
  await queue.pause();
  await queue.add(TASK_JOB, { hello: 'world' }, { jobId: 'nonsense' });
  await redis.lrem(queue.toKey('wait'), '0', 'nonsense');
  await redis.zadd(queue.toKey('failed'), '1', 'nonsense');
  await redis.zadd(queue.toKey('failed'), '1', '12');
  const retried = await retryFailed({ redis, prefix });
  expect(retried.map(({ taskId, how }) => `${taskId} ${how}`).sort()).toEqual([
    'a queued',
    'b queued',
    'nonsense refused',
  ]);
  expect(await retryFailed({ redis, prefix })).toMatchObject([{ how: 'refused' }]);
});
