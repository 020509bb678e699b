/** The worker on a real queue, with jobs that end before any cell is there; whole attempts are worked in test/cli. */
import { chmodSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { QueueEvents } from 'bullmq';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { loadSettings, type Settings } from '../../src/config.ts';
import type { TaskJob } from '../../src/job/job.ts';
import { TASK_QUEUE } from '../../src/job/names.ts';
import type { AttemptResult } from '../../src/job/outcome.ts';
import { jobOptions, openQueue, TASK_JOB, type TaskQueue } from '../../src/job/queue.ts';
import type { TaskInput } from '../../src/job/task.ts';
import { silentLogger } from '../../src/observe/logger.ts';
import { availableMemory } from '../../src/os/memory.ts';
import { Control } from '../../src/redis/control.ts';
import { Cooldowns } from '../../src/redis/cooldown.ts';
import { Fence } from '../../src/redis/fence.ts';
import { WorkerList } from '../../src/redis/worker-list.ts';
import { WorkerPool } from '../../src/worker/worker.ts';
import { BOUND } from '../support/bound.ts';
import { jobOf as jobWith, resultOf } from '../support/jobs.ts';
import { type TestRedis, testRedis } from '../support/redis.ts';
import { makeRepository, tempFolder } from '../support/repository.ts';
import { committedBefore } from './job-setting.ts';

const MIB = 1024 * 1024;
let server: TestRedis;
let prefix: string;
let queue: TaskQueue;
let events: QueueEvents;
let folder: string;
const pools: WorkerPool[] = [];

beforeAll(async () => {
  server = await testRedis();
});
afterAll(() => server.close());

beforeEach(async () => {
  prefix = server.prefix();
  folder = tempFolder('worker');
  queue = openQueue(await server.connect('producer'), prefix);
  events = new QueueEvents(TASK_QUEUE, { connection: await server.connect('worker'), prefix });
  await events.waitUntilReady();
});

afterEach(async () => {
  await Promise.all(pools.splice(0).map(pool => pool.stop()));
  await events.close();
  await queue.close();
});

async function startPool(more: Partial<Settings> = {}, onResult?: (result: AttemptResult) => void) {
  const defaults = loadSettings({
    env: { CELLPOOL_HOME: join(folder, 'home'), CELLPOOL_HOST: 'test', CELLPOOL_ISOLATION: 'process' },
  });
  const settings = { ...defaults, prefix, concurrency: 2, ...more };
  const redis = await server.connect('worker');
  const pool = await WorkerPool.start({ settings, redis, log: silentLogger, ...(onResult ? { onResult } : {}) });
  pools.push(pool);
  return pool;
}

const jobOf = (id: string, repository: string, more: Partial<TaskInput> = {}) => jobWith(id, more, repository);

async function dataOf(id: string): Promise<TaskJob> {
  return ((await queue.getJob(id)) ?? { data: null }).data as TaskJob;
}

/** A program that passes for opencode until it is to serve; what it does then is `serve`. */
function brokenOpencode(serve: string): string {
  const path = join(folder, 'opencode');
  writeFileSync(path, `#!/bin/sh\n[ "$1" = --version ] && echo 1.0.0 && exit 0\n${serve}\n`);
  chmodSync(path, 0o755);
  return path;
}

const addJob = (data: TaskJob) => queue.add(TASK_JOB, data, jobOptions(data.task));

/** Resolves at the next event of this kind. */
function once(event: 'progress' | 'completed' | 'delayed'): Promise<void> {
  return new Promise(resolve => {
    events.once(event, () => resolve());
  });
}

/** Resolves with the reasons when all these jobs have failed for good. */
function failures(...ids: string[]): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  return new Promise(resolve => {
    events.on('failed', ({ jobId, failedReason }) => {
      found.set(jobId, failedReason);
      if (ids.every(id => found.has(id))) resolve(found);
    });
  });
}

describe('jobs that are none of ours', () => {
  test('fail at once with a clear reason, and the worker goes on', async () => {
    const good = jobOf('good', makeRepository(join(folder, 'repository')), { base: 'nowhere' });
    const retried = { attempts: 3, backoff: 10 };
    await queue.add(TASK_JOB, { hello: 'world' }, { jobId: 'nonsense', ...retried });
    await queue.add(TASK_JOB, null, { jobId: 'nothing', ...retried });
    await queue.add(TASK_JOB, { ...jobOf('x', '/repo'), version: 2 }, { jobId: 'newer', ...retried });
    await queue.add(TASK_JOB, jobOf('another', '/repo'), { jobId: 'mismatch', ...retried });
    const unreadable = await queue.add(TASK_JOB, {}, { jobId: 'unreadable', ...retried });
    await (await server.connect('producer')).hset(queue.toKey(unreadable.id ?? ''), 'data', 'not JSON');
    await addJob(good);
    const failed = failures('nonsense', 'nothing', 'newer', 'mismatch', 'good');
    const results: AttemptResult[] = [];
    await startPool({ opencodeBin: brokenOpencode('exit 7') }, result => results.push(result));
    const reasons = await failed;
    for (const id of ['nonsense', 'nothing', 'newer']) expect(reasons.get(id)).toContain('no job of cellpool');
    expect(reasons.get('mismatch')).toContain('another id');
    for (const id of ['nonsense', 'nothing', 'newer', 'mismatch']) {
      expect((await queue.getJob(id))?.attemptsMade).toBe(1);
    }
    // Told of attempts only, and there was but one.
    expect(results.map(({ taskId }) => taskId)).toEqual(['good']);
  });
});

test.each([
  ['dense', '0'],
  ['fast', ''],
] as const)("the servers of a worker's cells run with the engine of its profile %s", async (profile, setting) => {
  const failed = failures('a');
  await addJob(jobOf('a', makeRepository(join(folder, 'repository')), { attempts: 1 }));
  await startPool({ opencodeBin: brokenOpencode('echo "(engine: $BUN_JSC_useDFGJIT)"; exit 7'), profile });
  expect((await failed).get('a')).toContain(`(engine: ${setting})`);
});

test("at auto the servers of a worker's cells are dense where not all cells would fit in as fast ones", async () => {
  // Half of what is free, and no more than 8 GiB: as many cells as fit in as dense ones never fit in as fast ones.
  const freeMb = (await availableMemory()) / MIB;
  const memoryMb = Math.ceil(Math.max(freeMb / 2, freeMb - 8_192));
  const failed = failures('a');
  await addJob(jobOf('a', makeRepository(join(folder, 'repository')), { attempts: 1 }));
  const opencodeBin = brokenOpencode('echo "(engine: $BUN_JSC_useDFGJIT)"; exit 7');
  await startPool({ opencodeBin, profile: 'auto', concurrency: 50, reserve: { memoryMb, diskMb: 0 } });
  expect((await failed).get('a')).toContain('(engine: 0)');
});

describe('an attempt for which no cell could be made', () => {
  test('is kept on the job with its reason, and not repeated when that cannot help', async () => {
    const failed = failures('a');
    await addJob(jobOf('a', makeRepository(join(folder, 'repository')), { base: 'nowhere' }));
    await startPool({ opencodeBin: brokenOpencode('exit 7') });
    expect((await failed).get('a')).toContain('nowhere');
    const job = await queue.getJob('a');
    expect(job?.attemptsMade).toBe(1);
    const { results } = await dataOf('a');
    expect(results).toMatchObject([
      { taskId: 'a', outcome: 'failed', attempt: 1, error: { code: 'UNKNOWN_BASE' }, commit: null, tests: null },
    ]);
    const { logs } = await queue.getJobLogs('a');
    expect(logs).toEqual([expect.stringMatching(/^attempt 1: failed: /)]);
  });

  test('is repeated when it may help, as often as the task says, and each attempt is kept', async () => {
    const broken = brokenOpencode('echo "no such thing" >&2; exit 7');
    const repository = makeRepository(join(folder, 'repository'));
    let last = () => undefined as unknown;
    const twice = new Promise<void>(resolve => {
      last = resolve;
    });
    const results: AttemptResult[] = [];
    await addJob(jobOf('a', repository, { attempts: 2 }));
    await startPool({ opencodeBin: broken, ports: { from: 31_000, to: 31_099 } }, result => {
      results.push(result);
      if (results.length === 2) last();
    });
    await twice;
    const [pool] = pools;
    await pool?.drain();
    const job = await queue.getJob('a');
    expect(await job?.getState()).toBe('failed');
    expect(job?.attemptsMade).toBe(2);
    const { results: kept } = await dataOf('a');
    expect(kept).toEqual(results);
    expect(kept).toMatchObject([
      { attempt: 1, outcome: 'failed', error: { code: 'SERVER_EXITED' } },
      { attempt: 2, outcome: 'failed', error: { code: 'SERVER_EXITED' } },
    ]);
    expect(kept[0]?.error?.message).toContain('no such thing');
    expect((await queue.getJobLogs('a')).logs).toHaveLength(2);
    expect(job?.progress).toMatchObject({ stage: 'teardown', attempt: 2, host: 'test', cellId: null });
  });
});

describe('a job whose repository is not on this host', () => {
  test('waits, uncounted, instead of being given up in a moment', async () => {
    const delayed = new Promise<string>(resolve => {
      events.on('delayed', ({ jobId }) => resolve(jobId));
    });
    await addJob(jobOf('a', join(folder, 'no-repository')));
    await startPool();
    expect(await delayed).toBe('a');
    const job = await queue.getJob('a');
    expect(job?.attemptsMade).toBe(0);
    expect(await dataOf('a')).toMatchObject({
      results: [],
      waits: { reason: expect.stringContaining('no-repository'), since: expect.any(Number) },
    });
    expect((await queue.getJobLogs('a')).logs).toEqual([expect.stringContaining('put back uncounted')]);
  });

  test('is not given up because it has waited for something else before', async () => {
    const delayed = once('delayed');
    const waits = { reason: 'too many requests', code: 'PROVIDER_BUSY', since: Date.now() - 3_700_000 };
    await addJob({ ...jobOf('a', join(folder, 'no-repository')), waits });
    await startPool();
    await delayed;
    const now = await dataOf('a');
    expect(now).toMatchObject({ results: [], waits: { code: 'NOT_A_REPOSITORY' } });
    expect(now.waits?.since).toBeGreaterThan(Date.now() - 60_000);
  });

  test('is given up when that has lasted for more than an hour', async () => {
    const failed = failures('a');
    const waits = { reason: 'no repository', code: 'NOT_A_REPOSITORY', since: Date.now() - 3_700_000 };
    await addJob({ ...jobOf('a', join(folder, 'no-repository')), waits });
    await startPool();
    expect((await failed).get('a')).toContain('no-repository');
    expect((await dataOf('a')).results).toMatchObject([{ outcome: 'failed', error: { code: 'NOT_A_REPOSITORY' } }]);
  });
});

describe('an attempt whose lock went to another worker', () => {
  test('is cancelled and writes nothing to the job any more', async () => {
    const redis = await server.connect('producer');
    const results: AttemptResult[] = [];
    await addJob(jobOf('a', makeRepository(join(folder, 'repository'))));
    const booting = new Promise<void>(resolve => {
      events.on('progress', () => resolve());
    });
    const opencodeBin = brokenOpencode('exec sleep 60');
    const pool = await startPool({ opencodeBin, ports: { from: 31_100, to: 31_199 } }, one => results.push(one));
    await booting;
    await redis.set(`${queue.toKey('a')}:lock`, 'of another worker', 'PX', 60_000);
    await vi.waitUntil(() => pool.running.length === 0, { timeout: 40_000 });
    expect(results).toEqual([]);
    expect((await dataOf('a')).results).toEqual([]);
    expect(await queue.getJobState('a')).toBe('active');
    expect((await queue.getJob('a'))?.attemptsMade).toBe(0);
    expect(readdirSync(join(folder, 'home', 'cells'))).toEqual([]);
  });
});

describe('a task that somebody cancels', () => {
  test('is ended in the middle of its attempt, with the outcome cancelled and nothing left', async () => {
    const { timestamp } = await addJob(jobOf('a', makeRepository(join(folder, 'repository'))));
    const booting = once('progress');
    const failed = failures('a');
    const pool = await startPool({ opencodeBin: brokenOpencode('exec sleep 60'), ports: { from: 31_200, to: 31_299 } });
    await booting;
    const control = new Control(await server.connect('producer'), { prefix });
    // Meant for an enqueuing of it that is over.
    await control.markCancelled('a', timestamp - 1);
    expect(await control.publish({ kind: 'cancel', taskId: 'a' })).toBe(1);
    await new Promise(resolve => setTimeout(resolve, 200));
    expect(pool.running).toEqual(['a']);
    await control.markCancelled('a', timestamp);
    await control.publish({ kind: 'cancel', taskId: 'a' });
    await failed;
    expect(await dataOf('a')).toMatchObject({ results: [{ outcome: 'cancelled', attempt: 1 }] });
    expect((await queue.getJob('a'))?.attemptsMade).toBe(1);
    expect(pool.handedBack).toBe(0);
    await vi.waitUntil(() => pool.running.length === 0, BOUND);
    expect(readdirSync(join(folder, 'home', 'cells'))).toEqual([]);
  });

  test('is ended before its attempt begins when its worker missed the call, but only this enqueuing of it', async () => {
    const repository = makeRepository(join(folder, 'repository'));
    const control = new Control(await server.connect('producer'), { prefix });
    const job = await addJob(jobOf('a', repository));
    const other = await addJob(jobOf('b', repository, { base: 'nowhere' }));
    await control.markCancelled('a', job.timestamp);
    await control.markCancelled('b', other.timestamp - 1);
    const failed = failures('a', 'b');
    await startPool({ opencodeBin: brokenOpencode('exit 7') });
    await failed;
    expect((await dataOf('a')).results).toMatchObject([{ outcome: 'cancelled', artifacts: '' }]);
    expect((await dataOf('b')).results).toMatchObject([{ outcome: 'failed', error: { code: 'UNKNOWN_BASE' } }]);
  });
});

describe('a task whose worker died', () => {
  const begin = async (id: string, enqueuedAt: number, times: number) => {
    const fence = new Fence(await server.connect('producer'), { prefix });
    for (let time = 0; time < times; time++) await fence.begin({ taskId: id, enqueuedAt });
  };

  test.each([
    ['when the branch had moved already', false],
    ['also when somebody cancelled it after that', true],
  ])('is done without another attempt %s', async (_, cancelled) => {
    const repository = makeRepository(join(folder, 'repository'));
    const job = await addJob(jobOf('a', repository, { test: 'true' }));
    await begin('a', job.timestamp, 1);
    const commit = committedBefore(repository, job.timestamp);
    const control = new Control(await server.connect('producer'), { prefix });
    if (cancelled) await control.markCancelled('a', job.timestamp);
    const completed = once('completed');
    await startPool({ opencodeBin: brokenOpencode('exit 7') });
    await completed;
    expect((await queue.getJob('a'))?.returnvalue).toMatchObject({
      outcome: 'committed',
      commit,
      branch: 'cellpool/a',
      attempt: 1,
      tokensUsed: 77,
      filesModified: ['new.txt'],
      tests: { passed: true },
    });
  });

  test('is committed, not cancelled, when the branch had moved before somebody cancelled it', async () => {
    const repository = makeRepository(join(folder, 'repository'));
    const job = await addJob(jobOf('a', repository));
    await begin('a', job.timestamp, 1);
    const commit = committedBefore(repository, job.timestamp);
    await new Control(await server.connect('producer'), { prefix }).markCancelled('a', job.timestamp);
    const completed = once('completed');
    await startPool({ opencodeBin: brokenOpencode('exit 7') });
    await completed;
    expect((await queue.getJob('a'))?.returnvalue).toMatchObject({ outcome: 'committed', commit });
  });

  test('is done although the listener to its result throws', async () => {
    const repository = makeRepository(join(folder, 'repository'));
    const job = await addJob(jobOf('a', repository));
    await begin('a', job.timestamp, 1);
    const commit = committedBefore(repository, job.timestamp);
    const completed = once('completed');
    await startPool({ opencodeBin: brokenOpencode('exit 7') }, () => {
      throw new Error('the listener is broken');
    });
    await completed;
    expect((await queue.getJob('a'))?.returnvalue).toMatchObject({ outcome: 'committed', commit });
    expect((await queue.getJob('a'))?.attemptsMade).toBe(1);
  });

  test('is done without another attempt when its result stood in the job already', async () => {
    const done = resultOf('a', 'committed');
    const completed = once('completed');
    await addJob({ ...jobOf('a', join(folder, 'no-repository')), results: [done] });
    await startPool({ opencodeBin: brokenOpencode('exit 7') });
    await completed;
    expect((await queue.getJob('a'))?.returnvalue).toEqual(done);
    expect((await dataOf('a')).results).toEqual([done]);
  });

  test('is given up when that happens again and again: the task may be what kills them', async () => {
    const job = await addJob(jobOf('a', makeRepository(join(folder, 'repository'))));
    await begin('a', job.timestamp, 11);
    const failed = failures('a');
    await startPool({ opencodeBin: brokenOpencode('exit 7') });
    expect((await failed).get('a')).toContain('never ended');
    expect((await dataOf('a')).results).toMatchObject([{ outcome: 'failed', error: { code: 'WORKER_DIED' } }]);
  });
});

describe('a task whose provider is in a cool-down', () => {
  test('waits for its end without a cell and without using up an attempt, and the job says why', async () => {
    const cooldowns = new Cooldowns(await server.connect('producer'), { prefix });
    await cooldowns.report('busy/model', { kind: 'busy', reason: 'too many requests', retryAfterMs: 600_000 });
    const delayed = once('delayed');
    await addJob(jobOf('a', makeRepository(join(folder, 'repository')), { model: 'busy/model' }));
    await startPool({ opencodeBin: brokenOpencode('exit 7') });
    await delayed;
    const job = await queue.getJob('a');
    expect(job?.attemptsMade).toBe(0);
    expect(job?.delay).toBeGreaterThan(500_000);
    expect(await dataOf('a')).toMatchObject({ results: [], waits: { reason: 'too many requests' } });
  });
});

describe('a task that has used up what it may use over all attempts', () => {
  test('is given up without another cell', async () => {
    const repository = makeRepository(join(folder, 'repository'));
    await addJob({ ...jobOf('a', repository, { totalTokenBudget: 10 }), spent: { tokens: 10, executionMs: 0 } });
    await addJob({ ...jobOf('b', repository, { totalTimeoutMs: 10 }), spent: { tokens: 0, executionMs: 11 } });
    const failed = failures('a', 'b');
    await startPool({ opencodeBin: brokenOpencode('exit 7') });
    await failed;
    expect((await dataOf('a')).results).toMatchObject([{ outcome: 'over-budget', artifacts: '' }]);
    expect((await dataOf('b')).results).toMatchObject([{ outcome: 'timed-out', artifacts: '' }]);
  });
});

describe('a worker that is told to stop', () => {
  test('hands its jobs back uncounted and says how many', async () => {
    await addJob(jobOf('a', makeRepository(join(folder, 'repository')), { attempts: 1 }));
    const booting = once('progress');
    const pool = await startPool({ opencodeBin: brokenOpencode('exec sleep 60'), ports: { from: 31_300, to: 31_399 } });
    await booting;
    await pool.stop();
    expect(pool.handedBack).toBe(1);
    const job = await queue.getJob('a');
    expect(await job?.getState()).toBe('waiting');
    expect(job?.attemptsMade).toBe(0);
    expect((await dataOf('a')).results).toEqual([]);
  });

  test('hears it when somebody asks its host to drain', async () => {
    const pool = await startPool();
    const workers = new WorkerList(await server.connect('producer'), { prefix });
    expect(await workers.list()).toMatchObject([{ host: 'test', pid: process.pid, running: [] }]);
    const control = new Control(await server.connect('producer'), { prefix });
    await control.publish({ kind: 'drain', host: 'another' });
    expect(pool.drainAsked.aborted).toBe(false);
    await control.publish({ kind: 'drain', host: 'test' });
    await vi.waitUntil(() => pool.drainAsked.aborted, BOUND);
    await pool.drain();
    expect(await workers.list()).toEqual([]);
  });
});

describe('the number of cells', () => {
  test('is what was asked for', async () => {
    expect((await startPool({ concurrency: 7 })).concurrency).toBe(7);
  });

  test('is never over fifty, even when settings that were not checked say so', async () => {
    expect((await startPool({ concurrency: 5_000 })).concurrency).toBe(50);
  });

  test('is what memory allows when nothing was asked for', async () => {
    const redis = await server.connect('worker');
    const settings = loadSettings({
      env: { CELLPOOL_HOME: join(folder, 'home'), CELLPOOL_PREFIX: prefix, CELLPOOL_ISOLATION: 'process' },
    });
    const pool = await WorkerPool.start({ settings, redis, log: silentLogger });
    pools.push(pool);
    expect(pool.concurrency).toBeGreaterThanOrEqual(1);
    expect(pool.concurrency).toBeLessThanOrEqual(50);
  });
});

describe('the end', () => {
  test('may be asked for twice, in both ways, with nothing running', async () => {
    const pool = await startPool();
    await pool.drain();
    await pool.stop();
    await pool.drain();
    expect(pool.running).toEqual([]);
  });
});
