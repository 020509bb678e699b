/** A worker whose event loop stands still, once for long or again and again, keeps its jobs while others look on. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { QueueEvents } from 'bullmq';
import { afterEach, beforeEach, expect, onTestFinished, test, vi } from 'vitest';
import { loadSettings } from '../../src/config.ts';
import { TASK_QUEUE } from '../../src/job/names.ts';
import { openQueue, type TaskQueue } from '../../src/job/queue.ts';
import { silentLogger } from '../../src/observe/logger.ts';
import { openJobQueue } from '../../src/worker/job-queue.ts';
import { WorkerPool } from '../../src/worker/worker.ts';
import { HangingOpencode } from '../support/hanging-opencode.ts';
import { addJob, jobOf, untilState } from '../support/jobs.ts';
import { type TestRedis, testRedis } from '../support/redis.ts';
import { makeRepository, tempFolder } from '../support/repository.ts';

/** A lock is renewed every second and a bit, and an attempt is given up 7 s after the last renewal. */
const BLOCK_MS = 5_500;
const JOBS = 50;
/** Longer than a lock holds. */
const BUSY_MS = 20_000;

let server: TestRedis;
let prefix: string;
let queue: TaskQueue;
let events: QueueEvents;
const seen = { active: [] as string[], stalled: [] as string[] };

beforeEach(async () => {
  server = await testRedis();
  prefix = server.prefix();
  queue = openQueue(await server.connect('producer'), prefix);
  events = new QueueEvents(TASK_QUEUE, { connection: await server.connect('worker'), prefix });
  for (const kind of ['active', 'stalled'] as const) {
    seen[kind] = [];
    events.on(kind, ({ jobId }: { jobId: string }) => seen[kind].push(jobId));
  }
  await events.waitUntilReady();
});
afterEach(async () => {
  await events.close();
  await queue.close();
  await server.close();
});

function start(program: string, ...args: string[]): ChildProcess {
  const path = 'path' in server.address ? server.address.path : '';
  const child = fork(fileURLToPath(new URL(`../fixtures/${program}`, import.meta.url)), [path, prefix, ...args]);
  onTestFinished(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  });
  return child;
}

async function says(child: ChildProcess): Promise<unknown> {
  const [message] = await once(child, 'message', { signal: AbortSignal.timeout(120_000) });
  return message;
}

test('a worker that stands still for some seconds keeps its job, which began once', async () => {
  const folder = tempFolder('blocked');
  const opencode = new HangingOpencode(folder);
  await addJob(queue, jobOf('a', { attempts: 1 }, makeRepository(join(folder, 'repository'))));
  const child = start('blocked-pool.mjs', join(folder, 'home'), opencode.path);
  expect(await says(child)).toEqual({ ready: true });
  await opencode.begun(1);
  const defaults = loadSettings({
    env: { CELLPOOL_HOME: join(folder, 'other'), CELLPOOL_HOST: 'test', CELLPOOL_ISOLATION: 'process' },
  });
  const ports = { from: 31_550, to: 31_599 };
  const other = await WorkerPool.start({
    settings: { ...defaults, prefix, concurrency: 1, opencodeBin: opencode.path, ports },
    redis: await server.connect('worker'),
    log: silentLogger,
  });
  try {
    child.send({ blockMs: BLOCK_MS });
    expect(await says(child)).toEqual({ blocked: BLOCK_MS });
    opencode.open();
    await untilState(queue, 'a', 'failed');
    const job = await queue.getJob('a');
    expect(job).toMatchObject({ attemptsStarted: 1, attemptsMade: 1, stalledCounter: 0 });
    expect(job?.data).toMatchObject({ results: [{ attempt: 1, error: { code: 'SERVER_EXITED' } }] });
    expect(seen).toEqual({ active: ['a'], stalled: [] });
  } finally {
    await other.stop();
    const gone = once(child, 'exit');
    child.send('stop');
    await gone;
  }
});

test('fifty jobs in one worker that is busy without end are renewed in between', async () => {
  const ids = Array.from({ length: JOBS }, (_, index) => `job-${index + 1}`);
  for (const id of ids) await addJob(queue, jobOf(id));
  const child = start('busy-jobs.mjs', String(JOBS), '30', String(BUSY_MS));
  expect(await says(child)).toEqual({ taken: JOBS });
  // Looks for jobs whose lock has run out, and would take them.
  const other = openJobQueue({
    redis: await server.connect('worker'),
    prefix,
    concurrency: 1,
    log: silentLogger,
    work: async () => Promise.reject(new Error('taken from a worker that lives')),
  });
  void other.worker.run();
  try {
    expect(await says(child)).toEqual({ lost: [] });
    await vi.waitUntil(async () => (await queue.getCompletedCount()) === JOBS, { timeout: 30_000 });
    for (const id of ids) {
      expect(await queue.getJob(id)).toMatchObject({ attemptsStarted: 1, stalledCounter: 0 });
    }
    expect([...seen.active].sort()).toEqual([...ids].sort());
    expect(seen.stalled).toEqual([]);
  } finally {
    await other.worker.close();
    other.locks.close();
  }
});
