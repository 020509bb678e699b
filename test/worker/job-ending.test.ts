/** In which order a job's end is told: dying between any two steps must neither lose the work nor repeat it. */
import { join } from 'node:path';
import { UnrecoverableError, WaitingError } from 'bullmq';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { TaskJob } from '../../src/job/job.ts';
import type { Outcome } from '../../src/job/outcome.ts';
import { retryTasks } from '../../src/producer/retry.ts';
import { Tally } from '../../src/redis/tally.ts';
import type { JobContext } from '../../src/worker/held-job.ts';
import { conclude } from '../../src/worker/job-ending.ts';
import { processJob } from '../../src/worker/process-job.ts';
import { jobOf, resultOf } from '../support/jobs.ts';
import { type TestRedis, testRedis } from '../support/redis.ts';
import { makeRepository } from '../support/repository.ts';
import { jobSetting } from './job-setting.ts';

let server: TestRedis;
beforeAll(async () => {
  server = await testRedis();
});
afterAll(() => server.close());

const outcomesIn = async ({ tally }: JobContext) => {
  const { outcomes } = await tally.totals();
  return Object.entries(outcomes).filter(([, times]) => times > 0);
};

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

test('an attempt begun again replaces its own result, and never one of before the last retry', async () => {
  const { held, dataOf } = await begun();
  const before = resultOf('a', 'reverted');
  const ended = async (outcome: Outcome, data: TaskJob) => {
    await conclude({ ...held, data }, resultOf('a', outcome), { next: 'give-up', why: null }).catch(() => undefined);
    return (await dataOf('a')).results.map(one => one.outcome);
  };
  expect(await ended('stalled', { ...held.data, results: [before] })).toEqual(['stalled']);
  expect(await ended('stalled', { ...held.data, results: [before], kept: 1 })).toEqual(['reverted', 'stalled']);
  expect(await ended('failed', await dataOf('a'))).toEqual(['reverted', 'failed']);
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

test('an attempt is counted when its result stands in the job, and once, however often a worker dies after that', async () => {
  const { held } = await begun();
  const result = { ...resultOf('a', 'committed'), tokensUsed: 9 };
  await conclude(held, result, { next: 'done' });
  await conclude(held, result, { next: 'done' });
  expect(await outcomesIn(held.context)).toEqual([['committed', 1]]);
  expect((await held.context.tally.totals()).tokens).toBe(9);
  // The next attempt has a folder of its own.
  const again = { ...resultOf('a', 'reverted', 2), artifacts: '/tmp/b' };
  await expect(conclude(held, again, { next: 'retry', afterMs: 1 })).rejects.toThrow('reverted');
  expect(await outcomesIn(held.context)).toEqual([
    ['committed', 1],
    ['reverted', 1],
  ]);
});

test('attempts without a folder are told apart by when their task was put on the queue, and their number', async () => {
  const { held } = await begun();
  const result = { ...resultOf('a', 'cancelled'), artifacts: '' };
  const end = (attempt: number) =>
    conclude(held, { ...result, attempt }, { next: 'give-up', why: null }).catch(error => error);
  for (const attempt of [1, 1, 2]) expect(await end(attempt)).toBeInstanceOf(UnrecoverableError);
  expect(await outcomesIn(held.context)).toEqual([['cancelled', 2]]);
});

test('an attempt that goes back uncounted, or is not ours any more, is not counted', async () => {
  const { held, redis, key } = await begun();
  const back = conclude(held, resultOf('a', 'cancelled'), { next: 'requeue', afterMs: 0 });
  await expect(back).rejects.toBeInstanceOf(WaitingError);
  await redis.del(`${key}:lock`);
  await expect(conclude(held, resultOf('a', 'committed'), { next: 'done' })).rejects.toMatchObject({ code: 'FENCED' });
  expect(await outcomesIn(held.context)).toEqual([]);
});

test('a tally that cannot be written makes no failure of what is done, and is told in the log', async () => {
  const { held, dataOf } = await begun();
  const gone = await server.connect('producer');
  gone.disconnect();
  const lines: { msg?: string }[] = [];
  const log = pino({}, { write: (line: string) => void lines.push(JSON.parse(line)) });
  const result = resultOf('a', 'committed');
  const uncounted = { ...held, context: { ...held.context, log, tally: new Tally(gone, { prefix: 'gone' }) } };
  expect(await conclude(uncounted, result, { next: 'done' })).toEqual(result);
  expect((await dataOf('a')).results).toEqual([result]);
  expect(lines).toMatchObject([{ msg: 'the attempt could not be counted' }]);
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

test('a task that is retried keeps the result of an attempt of the same number', async () => {
  const setting = await jobSetting(server);
  const repository = makeRepository(join(setting.folder, 'repository'));
  const { redis, prefix, context } = setting;
  let { job, token }: Awaited<ReturnType<typeof setting.takeAgain>> = await setting.take(
    jobOf('a', { base: 'nowhere' }, repository),
  );
  for (const results of [1, 2, 3]) {
    const ended = await processJob(context, job, token, new AbortController().signal).catch(error => error);
    expect(ended).toBeInstanceOf(UnrecoverableError);
    const all = (await setting.dataOf('a')).results;
    expect(all.map(({ attempt, outcome }) => `${attempt} ${outcome}`)).toEqual(Array(results).fill('1 failed'));
    await job.moveToFailed(ended, token);
    expect(await retryTasks({ redis, prefix }, ['a'])).toMatchObject([{ how: 'queued' }]);
    ({ job, token } = await setting.takeAgain('a'));
  }
});
