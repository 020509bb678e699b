/** The line of finished branches on real Redis, beside BullMQ's own view of it. */
import type { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type LandingQueue, openLandingQueue } from '../../src/job/landing.ts';
import { openQueue } from '../../src/job/queue.ts';
import { LandingLine } from '../../src/redis/landing-line.ts';
import { type TestRedis, testRedis } from '../support/redis.ts';

let server: TestRedis;
let redis: Redis;
let prefix: string;
let queue: LandingQueue;
let line: LandingLine;

beforeAll(async () => {
  server = await testRedis();
});
afterAll(() => server.close());
beforeEach(async () => {
  redis = await server.connect('producer');
  prefix = server.prefix();
  queue = openLandingQueue(redis, prefix);
  line = new LandingLine(redis, { prefix });
  for (const jobId of ['a', 'b', 'c']) await queue.add('landing', { of: jobId }, { jobId });
});
afterEach(() => queue.close());

const waiting = async () => (await line.look())?.map(({ id }) => id) ?? 'paused';
const job = async (id: string) => (await queue.getJob(id)) ?? expect.fail(`there is no job ${id}`);

test('shows what waits in the order in which it came, with what it holds; nonsense as nothing', async () => {
  await redis.hset(queue.toKey('b'), 'data', 'no JSON');
  expect(await line.look()).toEqual([
    { id: 'a', data: { of: 'a' } },
    { id: 'b', data: undefined },
    { id: 'c', data: { of: 'c' } },
  ]);
});

test('says that its queue is paused, or that of the tasks', async () => {
  await queue.pause();
  expect(await waiting()).toBe('paused');
  await queue.resume();
  const tasks = openQueue(redis, prefix);
  await tasks.pause();
  expect(await waiting()).toBe('paused');
  await tasks.resume();
  expect(await waiting()).toEqual(['a', 'b', 'c']);
  await tasks.close();
});

describe('what is taken', () => {
  test('is active to BullMQ, and had by one of many who take it at once', async () => {
    const takers = Array.from({ length: 10 }, (_, at) => line.take(['a', 'c', 'unknown'], `token-${at}`));
    const taken = (await Promise.all(takers)).flat();
    expect(taken.sort()).toEqual(['a', 'c']);
    expect(await waiting()).toEqual(['b']);
    expect(await queue.getJobState('a')).toBe('active');
    expect((await job('a')).processedOn).toBeGreaterThan(0);
  });

  test('is ended by BullMQ with the same token, and with no other', async () => {
    await line.take(['a', 'b'], 'mine');
    await (await job('a')).moveToCompleted('done', 'mine', false);
    await expect((await job('b')).moveToFailed(new Error('no'), 'other', false)).rejects.toThrow();
    await (await job('b')).moveToFailed(new Error('no'), 'mine', false);
    expect([await queue.getJobState('a'), await queue.getJobState('b')]).toEqual(['completed', 'failed']);
  });

  test('is in its old place again when its lock has run out, and is told to be lost', async () => {
    await line.take(['a', 'b'], 'mine');
    expect(await line.renew(['a', 'b'], 'mine')).toBe(true);
    for (const id of ['a', 'b']) await redis.del(`${queue.toKey(id)}:lock`);
    expect(await waiting()).toEqual(['a', 'b', 'c']);
    expect(await line.renew(['a', 'b'], 'mine')).toBe(false);
    await expect(line.write('a', 'mine', {})).rejects.toMatchObject({ code: 'FENCED' });
    expect((await job('a')).data).toEqual({ of: 'a' });
  });

  test('stays where it is while its lock holds, whoever looks', async () => {
    await line.take(['a'], 'mine');
    expect(await waiting()).toEqual(['b', 'c']);
    await line.write('a', 'mine', { of: 'a', more: true });
    expect((await job('a')).data).toEqual({ of: 'a', more: true });
    await expect(line.write('b', 'mine', {})).rejects.toMatchObject({ code: 'FENCED' });
  });
});
