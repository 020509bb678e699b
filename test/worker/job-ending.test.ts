/** In which order a job's end is told: dying between any two steps must neither lose the work nor repeat it. */
import { UnrecoverableError, WaitingError } from 'bullmq';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { conclude } from '../../src/worker/job-ending.ts';
import { jobOf, resultOf } from '../support/jobs.ts';
import { type TestRedis, testRedis } from '../support/redis.ts';
import { jobSetting } from './job-setting.ts';

let server: TestRedis;
beforeAll(async () => {
  server = await testRedis();
});
afterAll(() => server.close());

/** A job in a worker's hands whose attempt has begun. */
async function begun() {
  const setting = await jobSetting(server);
  const { context, queue } = setting;
  const taken = await setting.take(jobOf('a'));
  const task = { taskId: 'a', enqueuedAt: taken.job.timestamp };
  const held = { ...taken, context, attempt: 1, begun: await context.fence.begin(task) };
  /** Whether the fence takes the attempt for one whose worker died; asking begins another one. */
  const neverEnded = async () => (await context.fence.begin(task)).unended > 0;
  return { ...setting, held, neverEnded, key: queue.toKey('a') };
}

test('an attempt is said to have ended once its result stands in the job', async () => {
  const { held, neverEnded, dataOf, results } = await begun();
  const result = resultOf('a', 'committed');
  expect(await conclude(held, result, { next: 'done' })).toEqual(result);
  expect((await dataOf('a')).results).toEqual([result]);
  expect(results).toEqual([result]);
  expect(await neverEnded()).toBe(false);
});

test('an attempt whose result could not be written counts as one that never ended, so that its commit is looked for', async () => {
  const { held, neverEnded, dataOf, results, redis, key } = await begun();
  await redis.del(`${key}:lock`);
  const ended = conclude(held, resultOf('a', 'committed'), { next: 'done' });
  await expect(ended).rejects.toMatchObject({ code: 'FENCED', message: expect.stringContaining('no longer ours') });
  expect((await dataOf('a')).results).toEqual([]);
  expect(results).toEqual([]);
  expect(await neverEnded()).toBe(true);
});

test('an attempt that goes back uncounted is said to have ended, and the job waits again', async () => {
  const { held, neverEnded, dataOf, queue, results } = await begun();
  const back = conclude(held, resultOf('a', 'cancelled'), { next: 'requeue', afterMs: 0 });
  await expect(back).rejects.toBeInstanceOf(WaitingError);
  expect(await queue.getJobState('a')).toBe('waiting');
  expect((await dataOf('a')).results).toEqual([]);
  expect(results).toEqual([]);
  expect(await neverEnded()).toBe(false);
});

test('it is said before somebody else can take the job', async () => {
  const { held, neverEnded, redis, queue } = await begun();
  await redis.set(queue.toKey('wait'), 'no list');
  const back = conclude(held, resultOf('a', 'cancelled'), { next: 'requeue', afterMs: 0 });
  await expect(back).rejects.toThrow('WRONGTYPE');
  expect(await neverEnded()).toBe(false);
});

test('neither a log that cannot be written nor a listener that throws makes a failure of what is done', async () => {
  const { held, dataOf, redis, key } = await begun();
  await redis.set(`${key}:logs`, 'no list');
  const onResult = () => {
    throw new Error('the listener is broken');
  };
  const unheard = { ...held, context: { ...held.context, onResult } };
  const result = resultOf('a', 'committed');
  expect(await conclude(unheard, result, { next: 'done' })).toEqual(result);
  expect((await dataOf('a')).results).toEqual([result]);
  await expect(conclude(unheard, result, { next: 'give-up', why: null })).rejects.toBeInstanceOf(UnrecoverableError);
});
