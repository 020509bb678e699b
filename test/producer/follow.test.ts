import { type Processor, UnrecoverableError, Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Plan } from '../../src/job/job.ts';
import { TASK_QUEUE } from '../../src/job/names.ts';
import type { AttemptResult, Outcome, Progress } from '../../src/job/outcome.ts';
import { openQueue, TASK_JOB, type TaskQueue } from '../../src/job/queue.ts';
import { parseTask } from '../../src/job/task.ts';
import { TaskFollower } from '../../src/producer/follow.ts';
import { Producer } from '../../src/producer/producer.ts';
import { type TestRedis, testRedis } from '../support/redis.ts';

let server: TestRedis;
let prefix: string;
let redis: Redis;
let queue: TaskQueue;
let follower: TaskFollower | null;
const workers: Worker[] = [];

/** What was told, in order. */
let told: { outcomes: [string, AttemptResult][]; retries: [string, Outcome][]; progress: [string, Progress][] };

beforeAll(async () => {
  server = await testRedis();
});
afterAll(() => server.close());

beforeEach(async () => {
  prefix = server.prefix();
  redis = await server.connect('producer');
  queue = openQueue(redis, prefix);
  follower = null;
  told = { outcomes: [], retries: [], progress: [] };
});

afterEach(async () => {
  await follower?.close();
  await Promise.all(workers.splice(0).map(worker => worker.close(true)));
  await queue.close();
  redis.disconnect();
});

const plan: Plan = { setupMs: 1, testMs: 1, author: { name: 'a', email: 'b' }, opencode: {} };

async function enqueue(...ids: string[]): Promise<void> {
  const tasks = ids.map(id => {
    const { task } = parseTask({ id, prompt: 'do it', attempts: 2 }, id);
    if (task === null) throw new Error(id);
    return { task, where: id };
  });
  const producer = new Producer({ redis, prefix });
  await producer.enqueue(tasks, { repository: '/repo', plan }).finally(() => producer.close());
}

async function follow(...taskIds: string[]): Promise<TaskFollower> {
  follower = await TaskFollower.open({
    queue,
    redis: await server.connect('worker'),
    prefix,
    taskIds,
    onOutcome: (id, result) => void told.outcomes.push([id, result]),
    onRetry: (id, result) => void told.retries.push([id, result.outcome]),
    onProgress: (id, progress) => void told.progress.push([id, progress]),
  });
  return follower;
}

function resultOf(taskId: string, outcome: Outcome, attempt = 1): AttemptResult {
  const metrics = { spawnMs: 1, executionMs: 1, teardownMs: 1, totalMs: 3 };
  const common = { taskId, outcome, attempt, branch: null, commit: null, filesModified: [], tokensUsed: 1 };
  return { ...common, tests: null, metrics, error: null, artifacts: '/tmp/a' };
}

async function work(processor: Processor): Promise<Worker> {
  const connection = await server.connect('worker');
  const worker = new Worker(TASK_QUEUE, processor, { connection, prefix, settings: { backoffStrategy: () => 20 } });
  workers.push(worker);
  return worker;
}

/** As the worker of cellpool: the result goes into the data, then is returned or thrown as an error. */
const endWith =
  (...outcomes: Outcome[]): Processor =>
  async job => {
    const attempt = job.attemptsMade + 1;
    const result = resultOf(job.id ?? '', outcomes[job.attemptsMade] ?? 'committed', attempt);
    await job.updateData({ ...job.data, results: [...job.data.results, result] });
    if (result.outcome === 'committed' || result.outcome === 'no-changes') return result;
    throw result.outcome === 'reverted' ? new Error('reverted') : new UnrecoverableError(result.outcome);
  };

/** Bounded; under load an event may take its time. */
const until = (condition: () => boolean) => vi.waitUntil(condition, { timeout: 30_000, interval: 5 });

const never = new AbortController().signal;

describe('a follower', () => {
  test('tells each outcome once, and is done when all are told', async () => {
    await enqueue('a', 'b');
    const following = await follow('a', 'b');
    await work(endWith('committed'));
    await following.untilAllEnded(never);
    expect(told.outcomes.map(([id, { outcome }]) => [id, outcome]).sort()).toEqual([
      ['a', 'committed'],
      ['b', 'committed'],
    ]);
    expect(following.pending).toEqual([]);
    await following.lookOnce();
    expect(told.outcomes).toHaveLength(2);
  });

  test('tells of tasks that ended before it began to listen', async () => {
    await enqueue('a');
    const worker = await work(endWith('over-budget'));
    await new Promise(resolve => worker.once('failed', resolve));
    await (await follow('a')).untilAllEnded(never);
    expect(told.outcomes).toEqual([['a', resultOf('a', 'over-budget')]]);
  });

  test('is done at once when it has nothing to follow', async () => {
    await (await follow()).untilAllEnded(never);
    expect(told.outcomes).toEqual([]);
  });

  test('tells of an attempt that another one follows, and of the last one only as the outcome', async () => {
    await enqueue('a');
    const done = (await follow('a')).untilAllEnded(never);
    const attempt = endWith('reverted', 'committed');
    await work(async job => {
      if (job.attemptsMade === 1) await until(() => told.retries.length === 1);
      return attempt(job);
    });
    await done;
    expect(told.retries).toEqual([['a', 'reverted']]);
    expect(told.outcomes).toEqual([['a', resultOf('a', 'committed', 2)]]);
  });

  test('passes on progress of its tasks that has the right shape, and nothing else', async () => {
    await enqueue('other', 'a');
    const done = (await follow('a')).untilAllEnded(never);
    const cell = { cellId: 'a.1', host: 'h', port: 9000, tokensUsed: 5, startedAt: 1 };
    const progress: Progress = { stage: 'execute', attempt: 1, ...cell };
    await work(async job => {
      await job.updateProgress({ stage: 'nonsense' });
      await job.updateProgress({ ...progress });
      // Events come in their order: when this one is there, those before it have been passed by.
      if (job.id === 'a') await until(() => told.progress.length > 0);
      return resultOf(job.id ?? '', 'committed');
    });
    await done;
    expect(told.progress).toEqual([['a', progress]]);
  });

  test('goes away with its signal, and still knows what is open', async () => {
    await enqueue('a', 'b');
    const following = await follow('a', 'b');
    const enough = new AbortController();
    const done = following.untilAllEnded(enough.signal);
    await work(async job => {
      if (job.id === 'b') return new Promise(() => undefined);
      return resultOf(job.id ?? '', 'no-changes');
    });
    await until(() => told.outcomes.length === 1);
    enough.abort();
    await done;
    expect(following.pending).toEqual(['b']);
  });

  test('returns at once when its signal was aborted before', async () => {
    await enqueue('a');
    await (await follow('a')).untilAllEnded(AbortSignal.abort());
    expect(told.outcomes).toEqual([]);
  });
});

describe('what ends without an attempt still has an outcome', () => {
  test('a job that was removed from the queue counts as cancelled', async () => {
    await enqueue('a');
    const following = await follow('a');
    const done = following.untilAllEnded(never);
    await (await queue.getJob('a'))?.remove();
    await done;
    expect(told.outcomes).toMatchObject([['a', { taskId: 'a', outcome: 'cancelled', error: { code: 'CANCELLED' } }]]);
  });

  test('a job that failed without any result is told with the reason that is known', async () => {
    await enqueue('a');
    const following = await follow('a');
    await work(async () => {
      throw new UnrecoverableError('no attempt was made');
    });
    await following.untilAllEnded(never);
    expect(told.outcomes).toMatchObject([['a', { outcome: 'failed', error: { code: 'INTERNAL' } }]]);
  });

  test('a job of nonsense is told as failed, with what is wrong with it', async () => {
    await queue.add(TASK_JOB, { version: 9 }, { jobId: 'a' });
    const following = await follow('a');
    await work(async () => {
      throw new UnrecoverableError('nonsense');
    });
    await following.untilAllEnded(never);
    const [, result] = told.outcomes[0] ?? [];
    expect(result).toMatchObject({ taskId: 'a', outcome: 'failed' });
    expect(result?.error?.message).toContain('version');
  });
});
