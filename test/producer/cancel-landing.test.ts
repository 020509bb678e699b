import type { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import type { Fate } from '../../src/job/fate.ts';
import { type LandingJob, type LandingQueue, landingIdOf, openLandingQueue } from '../../src/job/landing.ts';
import { openQueue, type TaskQueue } from '../../src/job/queue.ts';
import { cancelTasks } from '../../src/producer/cancel.ts';
import { LandingTargets } from '../../src/redis/landing-targets.ts';
import { addJob, holdJobs, jobOf, untilState } from '../support/jobs.ts';
import { addLanding, committedAs, LANDED } from '../support/landings.ts';
import { type TestRedis, testRedis } from '../support/redis.ts';

let server: TestRedis;
let prefix: string;
let redis: Redis;
let queue: TaskQueue;
let landings: LandingQueue;
/** The landing of task `a`, which has committed. */
let landing: LandingJob;

beforeAll(async () => {
  server = await testRedis();
});
afterAll(() => server.close());

beforeEach(async () => {
  prefix = server.prefix();
  redis = await server.connect('producer');
  queue = openQueue(redis, prefix);
  landings = openLandingQueue(redis, prefix);
  const data = jobOf('a', { test: 'true', land: 'merge' });
  await addJob(queue, data);
  const worker = holdJobs(await server.connect('worker'), prefix, async job => {
    landing = await addLanding(landings, data, committedAs('1', 'a'), job.timestamp);
    return committedAs('1', 'a');
  });
  await untilState(queue, 'a', 'completed');
  await worker.close();
});

afterEach(async () => {
  await Promise.all([queue.close(), landings.close()]);
  redis.disconnect();
});

const cancel = async () => (await cancelTasks({ redis, prefix }, ['a'], { waitMs: 0 }))[0];

test('a branch that waits for its landing is off the queue, and its task keeps its outcome', async () => {
  expect(await cancel()).toEqual({ taskId: 'a', how: 'kept-back', outcome: 'committed' });
  expect(await landings.getJobCounts()).toMatchObject({ waiting: 0, active: 0 });
  expect(await redis.exists(landings.toKey(landingIdOf(landing)))).toBe(0);
  expect(await queue.getJobState('a')).toBe('completed');
  expect(await cancel()).toEqual({ taskId: 'a', how: 'ended', outcome: 'committed' });
});

test('one that a lander is at is left to it', async () => {
  const note = { host: 'h', worker: 'w', trying: ['a'], held: null, at: Date.now() };
  await new LandingTargets(redis, { prefix }).write('m', { repository: '/repo', target: 'main', ...note });
  expect(await cancel()).toEqual({ taskId: 'a', how: 'landing', outcome: 'committed' });
  expect(await landings.getJobCounts()).toMatchObject({ waiting: 1 });
});

test('so is one that has been taken off the line', async () => {
  await redis.lrem(landings.toKey('wait'), 0, landingIdOf(landing));
  expect(await cancel()).toMatchObject({ how: 'landing' });
  expect(await redis.exists(landings.toKey(landingIdOf(landing)))).toBe(1);
});

test('one that has its fate keeps it', async () => {
  const fate: Fate = { ...LANDED, batch: ['a'], flaky: false, at: 1 };
  await (await landings.getJob(landingIdOf(landing)))?.updateData({ ...landing, fate });
  expect(await cancel()).toEqual({ taskId: 'a', how: 'ended', outcome: 'committed' });
  expect(await redis.exists(landings.toKey(landingIdOf(landing)))).toBe(1);
});
