import type { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { openQueue, type TaskQueue } from '../../src/job/queue.ts';
import { asideKeys } from '../../src/redis/fleet-keys.ts';
import { SetAside } from '../../src/redis/set-aside.ts';
import { addJob, jobOf } from '../support/jobs.ts';
import { type TestRedis, testRedis } from '../support/redis.ts';

let server: TestRedis;
let redis: Redis;
let queue: TaskQueue;
let prefix: string;
let aside: SetAside;
beforeAll(async () => {
  server = await testRedis();
  redis = await server.connect('producer');
});
afterAll(() => server.close());
beforeEach(() => {
  prefix = server.prefix();
  queue = openQueue(redis, prefix);
  aside = new SetAside(redis, { prefix });
  return () => queue.close();
});

const HOUR = 3_600_000;

/** A task that waits, and is noted. */
async function put(id: string, labels: string[], { priority = 0, at = 1_700_000_000_000 } = {}): Promise<void> {
  await addJob(queue, jobOf(id, { labels, ...(priority === 0 ? {} : { priority }) }), HOUR);
  await aside.note({ taskId: id, labels, priority, enqueuedAt: at });
}

/** Next to be taken first. */
async function line(): Promise<(string | undefined)[]> {
  const [waiting, prioritized] = await Promise.all([queue.getWaiting(), queue.getPrioritized()]);
  return [...waiting.map(({ id }) => id), ...prioritized.map(({ id }) => id)];
}

test('a worker calls what asks for no more than it has', async () => {
  await put('gpu', ['gpu']);
  await put('both', ['gpu', 'eu']);
  await put('eu', ['eu']);
  await put('far', ['gpu', 'us']);
  expect(await aside.call(queue, ['gpu', 'eu', 'big'], 10)).toBe(3);
  expect((await line()).sort()).toEqual(['both', 'eu', 'gpu']);
  expect(await queue.getJobState('far')).toBe('delayed');
  expect(await aside.call(queue, ['gpu', 'eu', 'big'], 10)).toBe(0);
});

test('one without labels calls nothing, and neither does one without room', async () => {
  await put('gpu', ['gpu']);
  expect(await aside.call(queue, [], 10)).toBe(0);
  expect(await aside.call(queue, ['gpu'], 0)).toBe(0);
  expect(await aside.call(queue, ['gpu'], -1)).toBe(0);
  expect(await aside.call(queue, ['gpu'], 1)).toBe(1);
});

test('what is called comes before what waits, by priority and then by age, over all sets of labels', async () => {
  await addJob(queue, jobOf('waits'));
  await put('young', ['gpu'], { at: 3 });
  await put('last', ['gpu'], { priority: 9, at: 1 });
  await put('old', ['eu'], { at: 1 });
  await put('middle', ['eu', 'gpu'], { at: 2 });
  await put('first-of-nine', ['eu'], { priority: 9, at: 0 });
  expect(await aside.call(queue, ['eu', 'gpu'], 2)).toBe(2);
  expect(await line()).toEqual(['old', 'middle', 'waits']);
  expect(await aside.call(queue, ['eu', 'gpu'], 10)).toBe(3);
  expect(await line()).toEqual(['young', 'old', 'middle', 'waits', 'first-of-nine', 'last']);
});

test('a task that does not wait any more is passed over', async () => {
  await put('gone', ['gpu'], { at: 1 });
  await put('there', ['gpu'], { at: 2 });
  await (await queue.getJob('gone'))?.remove();
  expect(await aside.call(queue, ['gpu'], 5)).toBe(1);
  expect(await line()).toEqual(['there']);
});

test('two workers that call at once queue each task once', async () => {
  for (let index = 0; index < 20; index += 1) await put(`t${index}`, ['gpu'], { at: index });
  const called = await Promise.all([1, 2, 3, 4].map(() => aside.call(queue, ['gpu'], 10)));
  expect(called.reduce((sum, one) => sum + one, 0)).toBe(20);
  expect(new Set(await line()).size).toBe(20);
  expect(await redis.keys(`${prefix}:aside*`)).toEqual([]);
});

test('notes are kept for longer than a task waits, and not for ever', async () => {
  await put('gpu', ['gpu']);
  const ttl = await redis.pttl(asideKeys(prefix).tasksOf('gpu'));
  expect(ttl).toBeGreaterThan(20 * 60_000);
  expect(ttl).toBeLessThanOrEqual(HOUR);
  await redis.del(asideKeys(prefix).tasksOf('gpu'));
  expect(await aside.call(queue, ['gpu'], 5)).toBe(0);
  expect(await redis.exists(asideKeys(prefix).sets)).toBe(0);
});

test('names that are no labels, and notes that name no task, are nobody’s', async () => {
  const { sets, tasksOf } = asideKeys(prefix);
  await redis.sadd(sets, '', 'b,a', 'gpu,gpu', '../x', 'gpu');
  await redis.zadd(tasksOf('gpu'), 0, 'nonsense', 0, '1:..', 0, '1:wait');
  await put('good', ['gpu']);
  expect(await aside.call(queue, ['a', 'b', 'gpu'], 10)).toBe(1);
  expect(await line()).toEqual(['good']);
});
