/** A worker whose cells have ended: their folders are removed behind, and its own end does not hang on that. */
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, onTestFinished, test, vi } from 'vitest';
import { metricsText } from '../../src/board/metrics.ts';
import { openQueue, type TaskQueue } from '../../src/job/queue.ts';
import { ownIdentity } from '../../src/os/identity.ts';
import { WorkerList } from '../../src/redis/worker-list.ts';
import { nameOfOwn } from '../../src/worker/owned-folders.ts';
import type { WorkerPool } from '../../src/worker/worker.ts';
import { addJob, jobOf } from '../support/jobs.ts';
import { readPrometheus } from '../support/prometheus.ts';
import { type TestRedis, testRedis } from '../support/redis.ts';
import { makeRepository, tempFolder } from '../support/repository.ts';
import { viewContext } from '../support/view.ts';
import { startPoolWithoutCells } from './pool-setting.ts';

/** What is below `discarded` is not removed before this is called. */
let open: () => void;
let opened: Promise<void>;

vi.mock('../../src/os/remove-tree.ts', async importActual => {
  const actual = await importActual<typeof import('../../src/os/remove-tree.ts')>();
  const removeTree = async (path: string | Buffer) => {
    if (path.includes('/discarded/')) await opened;
    await actual.removeTree(path);
  };
  return { ...actual, removeTree };
});

const BOUND = { timeout: 30_000, interval: 20 };
let server: TestRedis;
let prefix: string;
let folder: string;
let queue: TaskQueue;

beforeAll(async () => {
  server = await testRedis();
});
afterAll(() => server.close());
beforeEach(async () => {
  prefix = server.prefix();
  folder = tempFolder('teardown');
  queue = openQueue(await server.connect('producer'), prefix);
  onTestFinished(() => queue.close());
  opened = new Promise(resolve => {
    open = resolve;
  });
});

/** Of cells: a spare workspace that was given up goes the same way. */
const namesIn = (name: string) => {
  const path = join(folder, 'test', name);
  return existsSync(path) ? readdirSync(path).filter(one => !one.includes('-spare.')) : [];
};

async function startPool(): Promise<WorkerPool> {
  const pool = await startPoolWithoutCells(server, { prefix, folder });
  onTestFinished(async () => {
    open();
    await pool.stop();
  });
  return pool;
}

/** A pool that has ended an attempt, whose cell's folder it has not removed yet. */
async function poolWithFolder(): Promise<WorkerPool> {
  await addJob(queue, jobOf('a', { attempts: 1 }, makeRepository(join(folder, 'repository'))));
  const pool = await startPool();
  await vi.waitUntil(async () => (await queue.getJobState('a')) === 'failed', BOUND);
  await vi.waitUntil(() => pool.running.length === 0, BOUND);
  expect(namesIn('cells')).toEqual([]);
  expect(namesIn('discarded')).toEqual([expect.stringMatching(/-a\.[0-9a-f]{8}$/)]);
  return pool;
}

test("a cell's slot is free while its folder is still there, which a metric tells; the end of a drain waits for it", async () => {
  const pool = await poolWithFolder();
  const redis = await server.connect('producer');
  const context = viewContext(redis, prefix);
  const told = async () => readPrometheus((await metricsText(context)).text).get('cellpool_folders_to_remove')?.samples;
  await vi.waitUntil(async () => (await told())?.[0]?.value === 1, BOUND);
  expect(await told()).toEqual([expect.objectContaining({ labels: { host: 'test' }, value: 1 })]);

  let isOver = false;
  const drained = pool.drain().then(() => {
    isOver = true;
  });
  // It goes on saying that it lives while it waits.
  const workers = new WorkerList(redis, { prefix });
  const [before] = await workers.list();
  await vi.waitUntil(async () => ((await workers.list())[0]?.beatAt ?? 0) > (before?.beatAt ?? Infinity), BOUND);
  expect(isOver).toBe(false);
  open();
  await drained;
  expect(namesIn('discarded')).toEqual([]);
  expect(await workers.list()).toEqual([]);
});

test('a worker that is to stop leaves a folder that takes its time, also when it drains, and does not wait again', async () => {
  const pool = await poolWithFolder();
  const drained = pool.drain();
  await pool.stop();
  await drained;
  expect(namesIn('discarded')).toHaveLength(1);
  await pool.stop();
});

test('a worker takes over what a dead one was about to remove, and leaves what a living one is', async () => {
  const self = await ownIdentity();
  const living = nameOfOwn(self, 'fix-b.0000000b');
  for (const name of [nameOfOwn({ ...self, pid: 2 ** 29 }, 'fix-a.0000000a'), living]) {
    mkdirSync(join(folder, 'test', 'discarded', name, 'workspace'), { recursive: true });
  }
  open();
  await startPool();
  await vi.waitUntil(() => namesIn('discarded').length === 1, BOUND);
  expect(namesIn('discarded')).toEqual([living]);
});
