/** Writing to a job that may have gone to another worker meanwhile, on a real queue. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { openQueue, TASK_JOB, type TaskQueue } from '../../src/job/queue.ts';
import { JobData } from '../../src/redis/job-data.ts';
import { type TestRedis, testRedis } from '../support/redis.ts';

let server: TestRedis;
let prefix: string;
let queue: TaskQueue;

beforeAll(async () => {
  server = await testRedis();
});
afterAll(() => server.close());

beforeEach(async () => {
  prefix = server.prefix();
  queue = openQueue(await server.connect('producer'), prefix);
});

const dataOf = async (id: string) => (await queue.getJob(id))?.data;

test('the data of a job that is ours is replaced', async () => {
  const redis = await server.connect('producer');
  await queue.add(TASK_JOB, { a: 1 }, { jobId: 'ours' });
  await redis.set(`${queue.toKey('ours')}:lock`, 'token', 'PX', 10_000);
  await new JobData(redis, { prefix }).write('ours', 'token', { b: 'ü' });
  expect(await dataOf('ours')).toEqual({ b: 'ü' });
  await queue.close();
});

test('a job that another worker has, that nobody has, or that is gone keeps what it holds', async () => {
  const redis = await server.connect('producer');
  const jobs = new JobData(redis, { prefix });
  for (const id of ['taken', 'free']) await queue.add(TASK_JOB, { a: 1 }, { jobId: id });
  await redis.set(`${queue.toKey('taken')}:lock`, 'of another', 'PX', 10_000);
  await redis.set(`${queue.toKey('gone')}:lock`, 'token', 'PX', 10_000);
  for (const id of ['taken', 'free', 'gone']) {
    await expect(jobs.write(id, 'token', { b: 2 })).rejects.toMatchObject({ code: 'FENCED' });
  }
  expect(await dataOf('taken')).toEqual({ a: 1 });
  expect(await dataOf('free')).toEqual({ a: 1 });
  expect(await redis.exists(queue.toKey('gone'))).toBe(0);
  await queue.close();
});
