/** Workers that share the slots of a fleet: they take no job without one, and keep the queue's order. */
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { WaitingError } from 'bullmq';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Settings } from '../../src/config.ts';
import { addJobs } from '../../src/job/add-jobs.ts';
import { openQueue, type TaskQueue } from '../../src/job/queue.ts';
import type { TaskInput } from '../../src/job/task.ts';
import { repositoryMark } from '../../src/redis/fair-share.ts';
import { lineKeys, slotKeys } from '../../src/redis/fleet-keys.ts';
import { type SlotOwner, Slots } from '../../src/redis/slots.ts';
import { WorkerList } from '../../src/redis/worker-list.ts';
import { processJob } from '../../src/worker/process-job.ts';
import type { WorkerPool } from '../../src/worker/worker.ts';
import { addJob, jobOf as jobWith } from '../support/jobs.ts';
import { type TestRedis, testRedis } from '../support/redis.ts';
import { makeRepository, tempFolder } from '../support/repository.ts';
import { jobSetting } from './job-setting.ts';
import { startPoolWithoutCells } from './pool-setting.ts';

let server: TestRedis;
let prefix: string;
let queue: TaskQueue;
let slots: Slots;
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
  folder = tempFolder('fleet');
  repository = makeRepository(join(folder, 'repository'));
  const redis = await server.connect('producer');
  queue = openQueue(redis, prefix);
  slots = new Slots(redis, { prefix });
});
afterEach(async () => {
  await Promise.all(pools.splice(0).map(pool => pool.stop()));
  await queue.close();
});

/** A task that fails when it is begun, for want of its base branch. */
const failing = (id: string, more: Partial<TaskInput> = {}) => jobWith(id, { base: 'nowhere', ...more }, repository);

interface Told {
  order: string[];
  held: (string | null)[];
}

async function startPool(settings: Partial<Settings> = {}): Promise<Told> {
  const told: Told = { order: [], held: [] };
  const pool = await startPoolWithoutCells(server, {
    ...{ prefix, folder, settings: { concurrency: 4, ...settings } },
    onResult: ({ taskId }) => told.order.push(taskId),
    onHeld: why => told.held.push(why),
  });
  pools.push(pool);
  return told;
}

const stranger = (taskId: string): SlotOwner => ({
  ...{ host: 'far', home: '/home', taskId, attempt: 1, repository: '/repo' },
  worker: { id: 'far.1', pid: 1, startTime: '1', bootId: 'b', pidNamespace: 'n' },
});

/** Resolves when the worker has asked anew: what stands in its name, and what it does not have, is gone then. */
async function untilLooked(): Promise<void> {
  const redis = await server.connect('producer');
  const [worker] = await new WorkerList(redis, { prefix }).list();
  const ghost = `test|${worker?.id}|ghost`;
  const { leased } = slotKeys(prefix);
  await redis.zadd(leased, Date.now() + 30_000, ghost);
  await vi.waitUntil(async () => (await redis.zscore(leased, ghost)) === null, BOUND);
}

const states = (...ids: string[]) => Promise.all(ids.map(id => queue.getJobState(id)));
/** Next to be taken first. */
const line = async () => (await queue.getWaiting()).map(({ id }) => id);

describe('while the fleet is full', () => {
  test('a worker takes no job, and takes them in their order when there is room', async () => {
    await slots.set({ cells: 1 });
    await slots.acquire(stranger('x'), null);
    for (const id of ['a', 'b', 'c']) await addJob(queue, failing(id));
    const before = await line();
    const told = await startPool();
    expect(told.held).toEqual(["the fleet's cap of 1 cell is reached (cellpool fleet)"]);
    await untilLooked();
    expect(await line()).toEqual(before);
    for (const id of ['a', 'b', 'c']) {
      expect(await queue.getJob(id)).toMatchObject({ attemptsMade: 0, attemptsStarted: 0 });
    }

    await slots.release([stranger('x')]);
    await vi.waitUntil(async () => (await states('a', 'b', 'c')).every(state => state === 'failed'), BOUND);
    expect(told.order).toEqual(['a', 'b', 'c']);
    expect(told.held.at(1)).toBe(null);
    await vi.waitUntil(async () => (await slots.list()).slots.length === 0, BOUND);
  });

  test('a cap that is raised lets them go on, and one that is taken away too', async () => {
    await slots.set({ cells: 0 });
    await addJob(queue, failing('a'));
    await startPool();
    await untilLooked();
    expect(await states('a')).toEqual(['waiting']);
    await slots.set({ cells: 1 });
    await vi.waitUntil(async () => (await states('a'))[0] === 'failed', BOUND);
    await slots.set({ cells: 0 });
    await untilLooked();
    // A worker that waits at the queue may still take this one, and puts it back.
    await addJob(queue, failing('b'));
    await untilLooked();
    await vi.waitUntil(async () => (await states('b'))[0] === 'waiting', BOUND);
    await untilLooked();
    expect(await states('b')).toEqual(['waiting']);
    expect((await queue.getJob('b'))?.attemptsMade).toBe(0);
    await slots.set({ cells: null });
    await vi.waitUntil(async () => (await states('b'))[0] === 'failed', BOUND);
    expect((await queue.getJob('b'))?.attemptsMade).toBe(1);
  });

  test.each([
    ['without a priority', {}, 'waiting'],
    ['with a priority', { priority: 3 }, 'prioritized'],
  ])(
    'a job %s that was taken all the same goes back to the head of its line, as if nothing had been',
    async (_, more, state) => {
      const setting = await jobSetting(server);
      await new Slots(setting.redis, { prefix: setting.prefix }).set({ cells: 0 });
      const { job, token } = await setting.take(jobWith('a', more, repository));
      for (const id of ['b', 'c']) await addJob(setting.queue, jobWith(id, more, repository));
      const before = await setting.dataOf('a');
      const processing = processJob(setting.context, job, token, new AbortController().signal);
      await expect(processing).rejects.toBeInstanceOf(WaitingError);
      expect(await setting.queue.getJobState('a')).toBe(state);
      expect(await setting.dataOf('a')).toEqual(before);
      expect((await setting.takeAgain('a')).job.attemptsMade).toBe(0);
      expect(setting.results).toEqual([]);
    },
  );
});

describe('a worker', () => {
  test('has a slot while it works on a task, and none afterwards', async () => {
    const seen: string[] = [];
    const opencodeBin = join(folder, 'opencode-that-waits');
    writeFileSync(opencodeBin, '#!/bin/sh\n[ "$1" = --version ] && echo 1.0.0 && exit 0\nsleep 1\nexit 7\n');
    chmodSync(opencodeBin, 0o755);
    await addJob(queue, jobWith('a', { attempts: 1 }, repository));
    await startPool({ opencodeBin });
    await vi.waitUntil(async () => {
      const held = (await slots.list()).slots;
      seen.push(...held.map(({ taskId, attempt, host, repository: of }) => `${taskId} ${attempt} ${host} ${of}`));
      return held.length > 0;
    }, BOUND);
    expect(seen[0]).toBe(`a 1 test ${repository}`);
    await vi.waitUntil(async () => (await states('a'))[0] === 'failed', BOUND);
    await vi.waitUntil(async () => (await slots.list()).slots.length === 0, BOUND);
  });

  test('shares the cap of its host with the others there, and not with those of other hosts', async () => {
    const opencodeBin = join(folder, 'opencode-that-waits');
    writeFileSync(opencodeBin, '#!/bin/sh\n[ "$1" = --version ] && echo 1.0.0 && exit 0\nsleep 0.3\nexit 7\n');
    chmodSync(opencodeBin, 0o755);
    const ids = ['a', 'b', 'c', 'd', 'e', 'f'];
    for (const id of ids) await addJob(queue, jobWith(id, { attempts: 1 }, repository));
    const most = new Map<string, number>();
    await Promise.all(
      ['one', 'one', 'two'].map((host, index) =>
        startPool({ host, hostConcurrency: 1, opencodeBin, home: join(folder, `home-${index}`) }),
      ),
    );
    await vi.waitUntil(async () => {
      const held = (await slots.list()).slots.map(({ host }) => host);
      for (const host of held) most.set(host, Math.max(most.get(host) ?? 0, held.filter(one => one === host).length));
      return (await states(...ids)).every(state => state === 'failed');
    }, BOUND);
    expect(Object.fromEntries(most)).toEqual({ one: 1, two: 1 });
  });
});

test('the tasks of one repository are worked beside the backlog of another that came first', async () => {
  const other = makeRepository(join(folder, 'other'));
  const opencodeBin = join(folder, 'opencode-that-waits');
  writeFileSync(opencodeBin, '#!/bin/sh\n[ "$1" = --version ] && echo 1.0.0 && exit 0\nsleep 0.2\nexit 7\n');
  chmodSync(opencodeBin, 0o755);
  const jobs = [
    ...Array.from({ length: 10 }, (_, index) => jobWith(`a${index}`, { attempts: 1 }, repository)),
    ...Array.from({ length: 3 }, (_, index) => jobWith(`b${index}`, { attempts: 1 }, other)),
  ];
  await addJobs(
    queue,
    jobs.map(data => ({ data, replaces: null })),
  );
  const told = await startPool({ opencodeBin, concurrency: 2 });
  await vi.waitUntil(() => told.order.length === jobs.length, BOUND);
  // By turns, they are all done with the sixth or so; in the order of the queue they would be the last.
  const last = Math.max(...[0, 1, 2].map(index => told.order.indexOf(`b${index}`)));
  expect(last).toBeLessThan(8);
  const redis = await server.connect('producer');
  const lines = [repository, other].map(name => lineKeys(prefix).lineOf(repositoryMark(name)));
  await vi.waitUntil(async () => (await redis.exists(...lines)) === 0, BOUND);
});
