import { join } from 'node:path';
import { DelayedError } from 'bullmq';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import type { TaskJob } from '../../src/job/job.ts';
import { openQueue, type TaskQueue } from '../../src/job/queue.ts';
import { cancelTasks } from '../../src/producer/cancel.ts';
import { retryTasks } from '../../src/producer/retry.ts';
import { WorkerList } from '../../src/redis/worker-list.ts';
import { processJob } from '../../src/worker/process-job.ts';
import type { WorkerPool } from '../../src/worker/worker.ts';
import { addJob, jobOf, resultOf, untilState } from '../support/jobs.ts';
import { type TestRedis, testRedis } from '../support/redis.ts';
import { makeRepository, tempFolder } from '../support/repository.ts';
import { jobSetting } from './job-setting.ts';
import { startPoolWithoutCells } from './pool-setting.ts';

let server: TestRedis;
let prefix: string;
let queue: TaskQueue;
let folder: string;
let repository: string;
const pools: WorkerPool[] = [];
const BOUND = { timeout: 30_000, interval: 10 };

beforeAll(async () => {
  server = await testRedis();
});
afterAll(() => server.close());

beforeEach(async () => {
  prefix = server.prefix();
  folder = tempFolder('labels');
  repository = makeRepository(join(folder, 'repository'));
  queue = openQueue(await server.connect('producer'), prefix);
});
afterEach(async () => {
  await Promise.all(pools.splice(0).map(pool => pool.stop()));
  await queue.close();
});

/** Starts a worker on a host of its own; returns what it works on, in this order. */
async function startPool(host: string, ...labels: string[]): Promise<string[]> {
  const worked: string[] = [];
  const onResult = ({ taskId }: { taskId: string }) => void worked.push(taskId);
  pools.push(await startPoolWithoutCells(server, { prefix, folder, host, settings: { labels }, onResult }));
  return worked;
}

/** A task that fails when it is begun, for want of its base branch. */
const failing = (id: string, labels: string[] = []) => jobOf(id, { base: 'nowhere', labels }, repository);
const dataOf = async (id: string) => (await queue.getJob(id))?.data as TaskJob;
const reasonOf = async (id: string) => (await dataOf(id)).waits?.reason;
const untilAside = (...ids: string[]) =>
  vi.waitUntil(async () => {
    const data = await Promise.all(ids.map(dataOf));
    const states = await Promise.all(ids.map(id => queue.getJobState(id)));
    return data.every(({ waits }) => waits?.code === 'LABELS_MISSING') && states.every(state => state === 'delayed');
  }, BOUND);
const untilFailed = (...ids: string[]) => Promise.all(ids.map(id => untilState(queue, id, 'failed')));

describe('a task that asks for labels', () => {
  test('is worked by a worker that has them all, and by no other', async () => {
    const plain = await startPool('plain');
    const half = await startPool('half', 'gpu');
    const full = await startPool('full', 'eu', 'fast', 'gpu');
    const [both, one] = [
      ['b1', 'b2', 'b3'],
      ['o1', 'o2', 'o3'],
    ];
    for (const id of both) await addJob(queue, failing(id, ['gpu', 'eu']));
    for (const id of one) await addJob(queue, failing(id, ['gpu']));
    await addJob(queue, failing('any'));
    await untilFailed(...both, ...one, 'any');
    expect(plain.filter(id => id !== 'any')).toEqual([]);
    expect(half.filter(id => both.includes(id))).toEqual([]);
    expect(full).toEqual(expect.arrayContaining(both));
    expect([...plain, ...half, ...full].sort()).toEqual([...both, ...one, 'any'].sort());
  });

  test('is out of the way of those behind it where nobody has them, keeps its attempts, and says why it waits', async () => {
    const ids = Array.from({ length: 30 }, (_, index) => `gpu-${index}`);
    for (const id of ids) await addJob(queue, failing(id, ['gpu']));
    await addJob(queue, failing('any'));
    const worked = await startPool('plain');
    await untilFailed('any');
    await untilAside(...ids);
    expect(worked).toEqual(['any']);
    expect(await reasonOf('gpu-0')).toBe('no worker has the label gpu');
    expect((await queue.getJob('gpu-0'))?.attemptsMade).toBe(0);
    // A minute at least: nobody keeps trying.
    const delayed = await queue.getJob('gpu-29');
    expect((delayed?.delay ?? 0) + (delayed?.timestamp ?? 0)).toBeGreaterThan(Date.now() + 30_000);
  });

  test('is worked as soon as a worker starts that has them, before what was queued after it', async () => {
    await addJob(queue, failing('a', ['gpu']));
    await startPool('plain');
    await untilAside('a');
    const worked = await startPool('full', 'gpu');
    await untilFailed('a');
    expect(worked).toEqual(['a']);
  });

  test('says which workers have them', async () => {
    const setting = await jobSetting(server);
    const list = new WorkerList(setting.redis, { prefix: setting.prefix });
    const entry = { pid: 1, startTime: '', bootId: '', startedAt: 1, concurrency: 1, running: [], draining: false };
    await list.beat({ ...entry, id: 'w2', host: 'build-7', labels: ['eu', 'gpu'] });
    await list.beat({ ...entry, id: 'w3', host: 'build-8', labels: ['gpu'] });
    const { job, token } = await setting.take(jobOf('a', { labels: ['gpu', 'eu'] }, repository));
    const processing = processJob(setting.context, job, token, new AbortController().signal);
    await expect(processing).rejects.toBeInstanceOf(DelayedError);
    expect((await setting.dataOf('a')).waits).toMatchObject({
      code: 'LABELS_MISSING',
      reason: 'it asks for a worker with the labels eu, gpu, as on build-7',
    });
  });

  test('that had waited for long comes back later and later, ten minutes at most', async () => {
    const setting = await jobSetting(server);
    const delays: number[] = [];
    for (const minutes of [0, 5, 100]) {
      const waits = { reason: 'r', code: 'LABELS_MISSING', since: Date.now() - minutes * 60_000 };
      const id = `a-${minutes}`;
      const { job, token } = await setting.take({ ...jobOf(id, { labels: ['gpu'] }, repository), waits });
      const processing = processJob(setting.context, job, token, new AbortController().signal);
      await expect(processing).rejects.toBeInstanceOf(DelayedError);
      expect((await setting.dataOf(id)).waits?.since).toBe(waits.since);
      delays.push(((await setting.queue.getJob(id))?.delay ?? 0) / 60_000);
    }
    // A fifth may be added at random.
    for (const [index, least] of [1, 5, 10].entries()) {
      expect(delays[index]).toBeGreaterThan(least * 0.99);
      expect(delays[index]).toBeLessThan(least * 1.21);
    }
  });

  test('can be cancelled while it waits, and called no more', async () => {
    await addJob(queue, failing('a', ['gpu']));
    await startPool('plain');
    await untilAside('a');
    const redis = await server.connect('producer');
    expect(await cancelTasks({ redis, prefix }, ['a'])).toMatchObject([{ taskId: 'a', how: 'removed' }]);
    const worked = await startPool('full', 'gpu');
    await addJob(queue, failing('b', ['gpu']));
    await untilFailed('b');
    expect(worked).toEqual(['b']);
  });

  test('that is retried while it waits is set aside again', async () => {
    await addJob(queue, failing('a', ['gpu']));
    await startPool('plain');
    await untilAside('a');
    const redis = await server.connect('producer');
    expect(await retryTasks({ redis, prefix }, ['a'])).toMatchObject([{ taskId: 'a', how: 'promoted' }]);
    await untilAside('a');
    const worked = await startPool('full', 'gpu');
    await untilFailed('a');
    expect(worked).toEqual(['a']);
  });

  test('and was done already is told as done by whoever takes it', async () => {
    const setting = await jobSetting(server);
    const results = [resultOf('a', 'committed')];
    const { job, token } = await setting.take({ ...jobOf('a', { labels: ['gpu'] }, repository), results });
    const processing = processJob(setting.context, job, token, new AbortController().signal);
    expect(await processing).toMatchObject({ outcome: 'committed' });
  });
});

test('a worker tells its labels to the list of workers', async () => {
  await startPool('full', 'eu', 'gpu');
  const list = new WorkerList(await server.connect('producer'), { prefix });
  expect(await list.list()).toMatchObject([{ host: 'full', labels: ['eu', 'gpu'] }]);
});
