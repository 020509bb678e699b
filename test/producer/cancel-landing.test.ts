import type { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import type { Fate } from '../../src/job/fate.ts';
import { type LandingJob, type LandingQueue, landingIdOf } from '../../src/job/landing.ts';
import type { TaskQueue } from '../../src/job/queue.ts';
import { cancelTasks } from '../../src/producer/cancel.ts';
import { LandingLine } from '../../src/redis/landing-line.ts';
import { addJob, holdJobs, jobOf, untilState } from '../support/jobs.ts';
import { addLanding, committedAs, LANDED, openQueues, type Queues } from '../support/landings.ts';
import { type TestRedis, testRedis } from '../support/redis.ts';

let server: TestRedis;
let pool: Queues;
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
  pool = await openQueues(server);
  ({ prefix, redis, queue, landings } = pool);
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
  await pool.close();
});

const cancel = async () => (await cancelTasks({ redis, prefix }, ['a'], { waitMs: 0 }))[0];

test('a branch that waits for its landing will not land, for a reason that is told, and its task keeps its outcome', async () => {
  expect(await cancel()).toEqual({ taskId: 'a', how: 'kept-back', outcome: 'committed' });
  expect(await landings.getJobCounts()).toMatchObject({ waiting: 0, active: 0 });
  expect((await landings.getJob(landingIdOf(landing)))?.data).toMatchObject({
    ...{ taskId: 'a', fate: { kind: 'refused', why: 'cancelled', message: expect.stringContaining('stays') } },
  });
  expect(await queue.getJobState('a')).toBe('completed');
  expect(await cancel()).toEqual({ taskId: 'a', how: 'ended', outcome: 'committed' });
});

test('one that a lander is at is left to it', async () => {
  const [id, line] = [landingIdOf(landing), new LandingLine(redis, { prefix })];
  expect(await line.take([id], 'token')).toEqual([id]);
  expect(await cancel()).toEqual({ taskId: 'a', how: 'landing', outcome: 'committed' });
  expect(await landings.getJobState(id)).toBe('active');
});

test('one that has its fate keeps it', async () => {
  const fate: Fate = { ...LANDED, batch: ['a'], flaky: false, at: 1 };
  await (await landings.getJob(landingIdOf(landing)))?.updateData({ ...landing, fate });
  expect(await cancel()).toEqual({ taskId: 'a', how: 'ended', outcome: 'committed' });
  expect(await redis.exists(landings.toKey(landingIdOf(landing)))).toBe(1);
});
