import { Worker } from 'bullmq';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { backToLine } from '../../src/job/back-to-line.ts';
import { TASK_QUEUE } from '../../src/job/names.ts';
import { openQueue } from '../../src/job/queue.ts';
import { addJob, jobOf } from '../support/jobs.ts';
import { type TestRedis, testRedis } from '../support/redis.ts';

let server: TestRedis;
beforeAll(async () => {
  server = await testRedis();
});
afterAll(() => server.close());

async function taken(priority: number) {
  const [redis, prefix] = [await server.connect('worker'), server.prefix()];
  const queue = openQueue(redis, prefix);
  const taker = new Worker(TASK_QUEUE, null, { connection: redis, prefix, autorun: false });
  onTestFinished(async () => {
    await taker.close();
    await queue.close();
  });
  for (const id of ['first', 'second']) await addJob(queue, jobOf(id, { priority }));
  const job = await taker.getNextJob('token', { block: false });
  if (job === undefined) throw new Error('nothing to take');
  return { redis, queue, taker, job };
}

test.each([0, 7])(
  'a job with priority %i is the next one again, its attempt not counted, and a worker is woken',
  async priority => {
    const { redis, queue, taker, job } = await taken(priority);
    await redis.del(queue.toKey('marker'));
    await backToLine(queue, job, 'token');
    // What an idle worker waits for.
    expect(await redis.zscore(queue.toKey('marker'), '0')).toBe('0');
    const again = await taker.getNextJob('token', { block: false });
    expect([again?.id, again?.attemptsMade]).toEqual([job.id, 0]);
  },
);

test('a job whose lock is another’s stays where it is, and nobody is woken for it', async () => {
  const { redis, queue, job } = await taken(7);
  await redis.del(queue.toKey('marker'));
  await expect(backToLine(queue, job, 'of somebody else')).rejects.toThrow();
  expect(await queue.getJobState(job.id ?? '')).toBe('active');
  expect(await redis.exists(queue.toKey('marker'))).toBe(0);
});
