import { once } from 'node:events';
import { setTimeout as wait } from 'node:timers/promises';
import { type Processor, Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { CellpoolError, InvalidInput } from '../../src/errors.ts';
import { addJobs } from '../../src/job/add-jobs.ts';
import type { Plan } from '../../src/job/job.ts';
import { TASK_QUEUE } from '../../src/job/names.ts';
import type { AttemptResult, Outcome } from '../../src/job/outcome.ts';
import { backoffMs, openQueue, type TaskQueue } from '../../src/job/queue.ts';
import { readJob } from '../../src/job/stored-job.ts';
import { parseTask, type TaskInput } from '../../src/job/task.ts';
import { Producer } from '../../src/producer/producer.ts';
import type { PlacedTask } from '../../src/producer/tasks-file.ts';
import { connectRedis } from '../../src/redis/connection.ts';
import { type TestRedis, testRedis } from '../support/redis.ts';

let server: TestRedis;
let prefix: string;
let redis: Redis;
let producer: Producer;
let queue: TaskQueue;
const workers: Worker[] = [];

beforeAll(async () => {
  server = await testRedis();
});
afterAll(() => server.close());

beforeEach(async () => {
  prefix = server.prefix();
  redis = await server.connect('producer');
  producer = new Producer({ redis, prefix });
  queue = openQueue(redis, prefix);
});

afterEach(async () => {
  await Promise.all(workers.splice(0).map(worker => worker.close(true)));
  await producer.close();
  await queue.close();
  redis.disconnect();
});

const plan: Plan = { setupMs: 1, testMs: 1, author: { name: 'a', email: 'b' }, opencode: {} };
const here = { repository: '/repo', plan };

function placed(id: string, more: Partial<TaskInput> = {}, where = `tasks.jsonl:${id}`): PlacedTask {
  const { task, faults } = parseTask({ id, prompt: 'do it', ...more }, where);
  if (task === null) throw new Error(JSON.stringify(faults));
  return { task, where };
}

function resultOf(taskId: string, outcome: Outcome, attempt = 1): AttemptResult {
  const metrics = { spawnMs: 1, executionMs: 1, teardownMs: 1, totalMs: 3 };
  const common = { taskId, outcome, attempt, branch: null, commit: null, filesModified: [], tokensUsed: 1 };
  return { ...common, tests: null, metrics, error: null, artifacts: '/tmp/a' };
}

async function work(processor: Processor): Promise<Worker> {
  const connection = await server.connect('worker');
  const settings = { backoffStrategy: () => backoffMs(1, () => 0.99) };
  const worker = new Worker(TASK_QUEUE, processor, { connection, prefix, settings });
  workers.push(worker);
  return worker;
}

/** Works one task to its end, as the worker of cellpool will: results kept in the data, failures thrown. */
async function end(id: string, outcome: Outcome): Promise<void> {
  const worker = await work(async job => {
    const result = resultOf(id, outcome);
    await job.updateData({ ...job.data, results: [...job.data.results, result] });
    if (outcome !== 'committed' && outcome !== 'no-changes') throw new Error(outcome);
    return result;
  });
  await new Promise<void>(resolve => {
    worker.once('completed', () => resolve());
    worker.once('failed', () => resolve());
  });
  workers.splice(workers.indexOf(worker), 1);
  await worker.close();
}

async function faultsOf(promise: Promise<unknown>): Promise<string[]> {
  const error: unknown = await promise.catch((reason: unknown) => reason);
  if (!(error instanceof InvalidInput)) throw error;
  return error.faults.map(fault => `${fault.where}: ${fault.what}`);
}

test('a new task is queued, with its id as job id, and everything a worker needs in its data', async () => {
  const [first, second] = await producer.enqueue([placed('bd-a1b2.3'), placed('b', { priority: 5 })], here);
  expect(first).toEqual({ taskId: 'bd-a1b2.3', how: 'queued', state: 'waiting', result: null, changed: false });
  expect(second).toMatchObject({ how: 'queued', state: 'prioritized' });
  const stored = await readJob(queue, 'bd-a1b2.3');
  expect(stored).toMatchObject({ id: 'bd-a1b2.3', state: 'waiting', fault: null, result: null, finishedOn: null });
  expect(stored?.data).toEqual({ version: 1, task: placed('bd-a1b2.3').task, ...here, results: [] });
  const job = await queue.getJob('bd-a1b2.3');
  expect(job?.opts).toMatchObject({ attempts: 3, backoff: { type: 'cellpool' }, removeOnFail: { count: 10_000 } });
});

test('tasks are worked in the order they were handed in, over the border of a chunk', async () => {
  const tasks = Array.from({ length: 450 }, (_, index) => placed(`t${index}`));
  const enqueued = await producer.enqueue(tasks, here);
  expect(enqueued.map(one => one.taskId)).toEqual(tasks.map(({ task }) => task.id));
  expect(new Set(enqueued.map(one => one.how))).toEqual(new Set(['queued']));
  const order: string[] = [];
  await new Promise<void>(resolve => {
    void work(async job => {
      order.push(job.id ?? '');
      if (order.length === tasks.length) resolve();
      return resultOf(job.id ?? '', 'no-changes');
    });
  });
  expect(order).toEqual(tasks.map(({ task }) => task.id));
});

test('a task that waits is joined, and a changed text is told and counts for nothing', async () => {
  await producer.enqueue([placed('a'), placed('b')], here);
  const enqueued = await producer.enqueue([placed('a'), placed('b', { prompt: 'else' }), placed('c')], here);
  expect(enqueued.map(({ how, changed }) => [how, changed])).toEqual([
    ['joined', false],
    ['joined', true],
    ['queued', false],
  ]);
  expect((await readJob(queue, 'b'))?.data?.task.prompt).toBe('do it');
});

test('a plan that differs is told as a text that differs, also of a task that has ended', async () => {
  await producer.enqueue([placed('a')], here);
  await end('a', 'committed');
  await producer.enqueue([placed('b')], here);
  const changes: Partial<Plan>[] = [
    { setup: 'npm ci' },
    { setupMs: 2 },
    { author: { name: 'a', email: 'c' } },
    { opencode: { share: 'auto' } },
  ];
  for (const change of changes) {
    const enqueued = await producer.enqueue([placed('a'), placed('b')], { ...here, plan: { ...plan, ...change } });
    expect(enqueued.map(({ how, changed }) => [how, changed])).toEqual([
      ['known', true],
      ['joined', true],
    ]);
  }
  const same = await producer.enqueue([placed('a'), placed('b')], { ...here, plan: structuredClone(plan) });
  expect(same.map(({ changed }) => changed)).toEqual([false, false]);
  expect((await readJob(queue, 'b'))?.data?.plan).toEqual(plan);
});

test('a task that waits is joined even with again and retryFailed', async () => {
  await producer.enqueue([placed('a', { priority: 3 })], here);
  const [one] = await producer.enqueue([placed('a', { priority: 3 })], here, { again: true, retryFailed: true });
  expect(one).toMatchObject({ how: 'joined', state: 'prioritized', changed: false });
});

test('a task a worker has in hand is joined and left alone, even with again', async () => {
  await producer.enqueue([placed('a')], here);
  const hold = new AbortController();
  const worker = await work(async () => {
    await once(hold.signal, 'abort');
    return resultOf('a', 'committed');
  });
  await new Promise(resolve => worker.once('active', resolve));
  const ended = new Promise(resolve => worker.once('completed', resolve));
  const [one] = await producer.enqueue([placed('a')], here, { again: true, retryFailed: true });
  expect(one).toMatchObject({ how: 'joined', state: 'active', result: null });
  hold.abort();
  await ended;
  expect((await readJob(queue, 'a'))?.result?.outcome).toBe('committed');
});

test('a task between two attempts is joined', async () => {
  await producer.enqueue([placed('a')], here);
  await end('a', 'timed-out');
  const [one] = await producer.enqueue([placed('a')], here, { again: true, retryFailed: true });
  expect(one).toMatchObject({ how: 'joined', state: 'delayed' });
});

test.each(['committed', 'no-changes'] as const)('a task that ended %s is reported and not repeated', async outcome => {
  await producer.enqueue([placed('a')], here);
  await end('a', outcome);
  const [one] = await producer.enqueue([placed('a')], here, { retryFailed: true });
  expect(one).toEqual({
    taskId: 'a',
    how: 'known',
    state: 'completed',
    result: resultOf('a', outcome),
    changed: false,
  });
  expect(await queue.getJobCountByTypes('waiting', 'active', 'delayed')).toBe(0);
});

test('again repeats a task that ended well, with its new text and no trace of the old job', async () => {
  await producer.enqueue([placed('a')], here);
  await end('a', 'committed');
  await queue.addJobLog('a', 'an old line');
  const [one] = await producer.enqueue([placed('a', { prompt: 'anew', attempts: 7 })], here, { again: true });
  expect(one).toEqual({ taskId: 'a', how: 'again', state: 'waiting', result: null, changed: false });
  const job = await queue.getJob('a');
  expect(job).toMatchObject({ attemptsMade: 0, returnvalue: null, opts: { attempts: 7 } });
  expect(await readJob(queue, 'a')).toMatchObject({
    state: 'waiting',
    data: { task: { prompt: 'anew' }, results: [] },
  });
  expect((await queue.getJobLogs('a')).logs).toEqual([]);
  expect(await queue.getJobCountByTypes('completed')).toBe(0);
  await end('a', 'no-changes');
  expect((await readJob(queue, 'a'))?.result?.outcome).toBe('no-changes');
});

test('a task that did not end well is reported by enqueue, and tried anew by run', async () => {
  await producer.enqueue([placed('a', { attempts: 1 })], here);
  await end('a', 'reverted');
  const [known] = await producer.enqueue([placed('a', { attempts: 1 })], here);
  expect(known).toMatchObject({ how: 'known', state: 'failed', result: { outcome: 'reverted' }, changed: false });
  const [again] = await producer.enqueue([placed('a', { attempts: 1 })], here, { retryFailed: true });
  expect(again).toMatchObject({ how: 'again', state: 'waiting', result: null });
  expect(await queue.getJobCountByTypes('failed')).toBe(0);
});

test('an id that belongs to another repository is refused with its place, and nothing at all is queued', async () => {
  await producer.enqueue([placed('a')], { repository: '/other', plan });
  expect(await faultsOf(producer.enqueue([placed('new'), placed('a')], here, { again: true }))).toEqual([
    'tasks.jsonl:a: id "a" is a task of another repository, /other: use another id',
  ]);
  expect(await readJob(queue, 'new')).toBe(null);
});

test('an id that is handed in twice is refused, and nothing is queued', async () => {
  expect(await faultsOf(producer.enqueue([placed('a', {}, 'x:1'), placed('a', {}, 'x:2')], here))).toEqual([
    'x:2: id "a" stands twice, first at x:1',
  ]);
  expect(await readJob(queue, 'a')).toBe(null);
});

test('a program that hands in what is no task, plan or repository is refused with every fault', async () => {
  const task = { ...placed('a').task, id: 'a:b', attempts: 0 };
  const context = { repository: 'relative', plan: { ...plan, setupMs: -1 } };
  const faults = await faultsOf(producer.enqueue([{ task, where: 'here' }], context));
  expect(faults.map(fault => fault.split(' ')[0])).toEqual(['plan:', 'repository:', 'here:', 'here:']);
});

test.each([
  ['no JSON', { data: '{"version":' }],
  ['no job of ours', { data: '{"version":1}' }],
  ['another task', { data: '', other: true }],
  ['options that are no JSON', { opts: '{' }],
])('a job that holds %s is a fault, not a crash', async (_name, change) => {
  await producer.enqueue([placed('a')], here);
  const data = JSON.stringify({ version: 1, task: placed('other').task, ...here, results: [] });
  const fields = 'other' in change ? { data } : change;
  await redis.hset(`${prefix}:${TASK_QUEUE}:a`, fields);
  const faults = await faultsOf(producer.enqueue([placed('a'), placed('b')], here, { again: true }));
  expect(faults).toHaveLength(1);
  expect(faults[0]).toMatch(
    /^tasks\.jsonl:a: the queue holds a job "a" that is not cellpool's \(.+\): use another id$/,
  );
  expect(await readJob(queue, 'b')).toBe(null);
});

test('a key of another kind in the place of a job is a fault, not a crash', async () => {
  await redis.set(`${prefix}:${TASK_QUEUE}:a`, 'hello');
  expect(await faultsOf(producer.enqueue([placed('a')], here))).toHaveLength(1);
});

test('producers that add the same ids at once make one job of each, and one of them is told it did', async () => {
  const tasks = Array.from({ length: 60 }, (_, index) => placed(`t${index}`));
  const connections = await Promise.all([1, 2, 3, 4].map(() => server.connect('producer')));
  const producers = connections.map(connection => new Producer({ redis: connection, prefix }));
  const told = await Promise.all(producers.map(one => one.enqueue(tasks, here)));
  for (const index of tasks.keys()) {
    const hows = told.map(enqueued => enqueued[index]?.how).sort();
    expect(hows).toEqual(['joined', 'joined', 'joined', 'queued']);
  }
  expect(await queue.getWaitingCount()).toBe(60);
  await Promise.all(producers.map(one => one.close()));
});

test('producers that repeat the same ended task at once make one job of it', async () => {
  await producer.enqueue([placed('a', { attempts: 1 })], here);
  await end('a', 'failed');
  const connections = await Promise.all([1, 2, 3, 4].map(() => server.connect('producer')));
  const producers = connections.map(connection => new Producer({ redis: connection, prefix }));
  const told = await Promise.all(producers.map(one => one.enqueue([placed('a')], here, { retryFailed: true })));
  expect(told.map(([one]) => one?.how).sort()).toEqual(['again', 'joined', 'joined', 'joined']);
  expect(await queue.getWaitingCount()).toBe(1);
  await Promise.all(producers.map(one => one.close()));
});

test('a job that was repeated and ended again since it was looked at is not taken away', async () => {
  await producer.enqueue([placed('a')], here);
  await end('a', 'committed');
  const seen = await readJob(queue, 'a');
  await wait(2);
  await producer.enqueue([placed('a')], here, { again: true });
  await end('a', 'no-changes');
  const data = { version: 1 as const, task: placed('a').task, ...here, results: [] };
  expect(await addJobs(queue, [{ data, replaces: seen?.finishedOn ?? null }])).toEqual(['kept']);
  expect((await readJob(queue, 'a'))?.result?.outcome).toBe('no-changes');
});

test('an ended job survives when Redis is too full for its successor', async () => {
  await producer.enqueue([placed('a')], here);
  await end('a', 'committed');
  await redis.config('SET', 'maxmemory', '1');
  try {
    const error: unknown = await producer.enqueue([placed('a')], here, { again: true }).catch(reason => reason);
    expect(error).toMatchObject({ code: 'REDIS_UNAVAILABLE', message: expect.stringContaining('OOM') });
  } finally {
    await redis.config('SET', 'maxmemory', '0');
  }
  expect(await readJob(queue, 'a')).toMatchObject({ state: 'completed', result: { outcome: 'committed' } });
});

test('scripts that Redis has forgotten are sent again', async () => {
  await producer.enqueue([placed('a')], here);
  await redis.script('FLUSH');
  const [one] = await producer.enqueue([placed('b')], here);
  expect(one?.how).toBe('queued');
});

test('without Redis it fails at once and says so', async () => {
  const away = connectRedis({ path: '/nowhere/redis.sock' }, 'producer');
  const lost = new Producer({ redis: away, prefix });
  const error: unknown = await lost.enqueue([placed('a')], here).catch(reason => reason);
  expect(error).toBeInstanceOf(CellpoolError);
  expect(error).toMatchObject({ code: 'REDIS_UNAVAILABLE' });
  await lost.close();
  away.disconnect();
});

test('a connection that breaks later is told as such, and closing is harmless twice', async () => {
  await producer.enqueue([placed('a')], here);
  redis.disconnect();
  await expect(producer.enqueue([placed('a')], here)).rejects.toMatchObject({ code: 'REDIS_UNAVAILABLE' });
  await producer.close();
  await producer.close();
});

test('no task is an empty answer', async () => {
  expect(await producer.enqueue([], here)).toEqual([]);
});
