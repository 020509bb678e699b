/** What a person may put on the landing queue, of tasks that have ended in every way. */
import type { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { DEFAULTS } from '../../src/config.ts';
import type { TaskJob } from '../../src/job/job.ts';
import { type LandingQueue, landingIdOf } from '../../src/job/landing.ts';
import type { AttemptResult } from '../../src/job/outcome.ts';
import type { TaskQueue } from '../../src/job/queue.ts';
import { endLanding } from '../../src/job/stored-landing.ts';
import { cancelTasks } from '../../src/producer/cancel.ts';
import { landTasks } from '../../src/producer/land-tasks.ts';
import { LandingLine } from '../../src/redis/landing-line.ts';
import { addJob, holdJobs, jobOf, resultOf, untilState } from '../support/jobs.ts';
import { committedAs, openQueues, type Queues } from '../support/landings.ts';
import { type TestRedis, testRedis } from '../support/redis.ts';

let server: TestRedis;
let pool: Queues;
let prefix: string;
let redis: Redis;
let queue: TaskQueue;
let landings: LandingQueue;

beforeAll(async () => {
  server = await testRedis();
});
afterAll(() => server.close());

beforeEach(async () => {
  pool = await openQueues(server);
  ({ prefix, redis, queue, landings } = pool);
});

afterEach(async () => {
  await pool.close();
});

async function ended(data: TaskJob, result: AttemptResult): Promise<void> {
  const { id } = data.task;
  await addJob(queue, data);
  const worker = holdJobs(await server.connect('worker'), prefix, async job => {
    await job.updateData({ ...data, results: [...data.results, result] });
    return result;
  });
  await untilState(queue, id, 'completed');
  await worker.close();
}

const land = async (id: string, wanted: Parameters<typeof landTasks>[2] = {}) =>
  (await landTasks({ redis, prefix, retention: DEFAULTS.retention }, [id], wanted))[0];

test('nothing lands on the branch of a task, and who asks for it is told what to say instead', async () => {
  await ended(jobOf('b', { base: 'cellpool/a', dependsOn: ['a'], test: 'true' }), committedAs('1', 'b'));
  const reason = 'cellpool/a is the branch of a task, on which nothing lands: say with --land-on where it is to go';
  expect(await land('b')).toMatchObject({ taskId: 'b', how: 'refused', reason });
  expect(await land('b', { landOn: 'cellpool/c' })).toMatchObject({ how: 'refused' });
  expect(await landings.getJobCounts()).toMatchObject({ waiting: 0 });
  expect(await land('b', { landOn: 'main' })).toMatchObject({ taskId: 'b', how: 'queued' });
});

const returned = {
  ...{ times: 1, commit: '1'.repeat(40), tip: 'e'.repeat(40), target: 'main' },
  ...{ why: 'conflict' as const, message: 'a.txt' },
};

test('work that came back and was not done anew can be landed as it is, and be kept from it again', async () => {
  const results = [{ ...committedAs('1', 'a'), host: 'there' }];
  const data = { ...jobOf('a', { land: 'merge', test: 'true' }), results, kept: 1, returned };
  await ended(data, resultOf('a', 'no-changes'));
  expect(await land('a')).toMatchObject({ taskId: 'a', how: 'queued' });
  const commit = '1'.repeat(40);
  const landing = await landings.getJob(landingIdOf({ taskId: 'a', commit }));
  expect(landing?.data).toMatchObject({ branch: 'cellpool/a', commit, target: 'main', returns: 1, host: 'there' });
  expect(await land('a')).toMatchObject({ taskId: 'a', how: 'waiting' });
  const [cancelled] = await cancelTasks({ redis, prefix }, ['a'], { waitMs: 0 });
  expect(cancelled).toEqual({ taskId: 'a', how: 'kept-back', outcome: 'no-changes' });
  expect(await land('a')).toMatchObject({ taskId: 'a', how: 'queued' });
});

test('a task that never committed has no branch to land', async () => {
  await ended(jobOf('a', { test: 'true' }), resultOf('a', 'no-changes'));
  expect(await land('a')).toMatchObject({ how: 'refused', reason: expect.stringContaining('no branch to land') });
});

test('what waits for one target is not sent to another, and what has landed on one may land on another as well', async () => {
  await ended(jobOf('a', { test: 'true' }), committedAs('1', 'a'));
  expect(await land('a', { landOn: 'main' })).toMatchObject({ how: 'queued' });
  expect(await land('a', { landOn: 'release' })).toMatchObject({
    ...{ how: 'refused', reason: 'it waits to land on main, not on release: cancel that first' },
  });
  const id = landingIdOf({ taskId: 'a', commit: '1'.repeat(40) });
  const line = new LandingLine(redis, { prefix });
  const data = (await landings.getJob(id))?.data;
  await line.take([id], 'token');
  const fate = { kind: 'landed' as const, message: '', commit: 'f'.repeat(40), batch: ['a'], flaky: false, at: 1 };
  await line.write(id, 'token', { ...(data as object), fate });
  await endLanding(landings, id, 'token', fate);
  expect(await land('a', { landOn: 'main' })).toMatchObject({ how: 'landed' });
  expect(await land('a', { landOn: 'release' })).toMatchObject({ how: 'queued' });
  expect((await landings.getJob(id))?.data).toMatchObject({ target: 'release' });
});
