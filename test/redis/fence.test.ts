import type { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { InvalidInput } from '../../src/errors.ts';
import { Fence } from '../../src/redis/fence.ts';
import { taskKeys } from '../../src/redis/keys.ts';
import { redisForFile, serverPid } from './support.ts';

const WEEK_MS = 7 * 86_400_000;
const LOCK_MS = 30_000;
const enqueuedAt = 1_700_000_000_000;

let server: Awaited<ReturnType<typeof redisForFile>>;
let redis: Redis;
let fence: Fence;
beforeAll(async () => {
  server = await redisForFile();
  redis = server.client();
  fence = new Fence(redis, { prefix: 'fence' });
});
afterAll(() => server.close());

let tasks = 0;
const newTask = () => {
  tasks += 1;
  return `task-${tasks}`;
};
const keys = (taskId: string) => taskKeys('fence', taskId);
const begin = (taskId: string) => fence.begin({ taskId, enqueuedAt });
const hold = (taskId: string, token: string) => redis.set(keys(taskId).lock, token, 'PX', LOCK_MS);
const permit = (taskId: string, number: string, token = 'mine') =>
  fence.permit({ taskId, number, token, lockMs: LOCK_MS });
const fenced = (why: RegExp) => ({ code: 'FENCED', message: expect.stringMatching(why) });

test('the latest attempt whose worker holds the lock is permitted, and its lock is extended', async () => {
  const task = newTask();
  const { number } = await begin(task);
  await redis.set(keys(task).lock, 'mine', 'PX', 5_000);
  await permit(task, number);
  expect(await redis.pttl(keys(task).lock)).toBeGreaterThan(5_000);
});

test('an attempt is refused once a newer one has begun, though its own worker still holds the lock', async () => {
  const task = newTask();
  const older = await begin(task);
  await hold(task, 'mine');
  const newer = await begin(task);
  await expect(permit(task, older.number)).rejects.toMatchObject(fenced(/newer attempt/));
  await permit(task, newer.number);
});

test('an attempt whose lock is gone, or another worker’s, is refused, and that lock is left as it is', async () => {
  const task = newTask();
  const { number } = await begin(task);
  await expect(permit(task, number)).rejects.toMatchObject(fenced(/lock was lost/));
  await redis.set(keys(task).lock, 'theirs', 'PX', 5_000);
  await expect(permit(task, number)).rejects.toMatchObject(fenced(/lock was lost/));
  expect(await redis.pttl(keys(task).lock)).toBeLessThanOrEqual(5_000);
});

test('an attempt that Redis has forgotten is refused', async () => {
  const task = newTask();
  const { number } = await begin(task);
  await hold(task, 'mine');
  await redis.del(keys(task).fence);
  await expect(permit(task, number)).rejects.toMatchObject(fenced(/forgotten/));
});

test('attempts that never ended are counted in a row, until one ends', async () => {
  const task = newTask();
  const unended = [await begin(task), await begin(task), await begin(task)];
  expect(unended.map(one => one.unended)).toEqual([0, 1, 2]);
  await fence.end(task, { number: unended[1]?.number ?? '', unended: 0 });
  const fourth = await begin(task);
  expect(fourth.unended).toBe(3);
  await fence.end(task, fourth);
  // It has not looked for what they did.
  const fifth = await begin(task);
  expect(fifth.unended).toBe(3);
  await fence.end(task, { ...fifth, unended: 0 });
  expect((await begin(task)).unended).toBe(0);
});

test('a call that is sent again, because its reply was lost, is one attempt', async () => {
  const task = newTask();
  // No server loses a reply when it is asked to: the connection is the real one, and only sends each call again.
  const sentTwice: Redis = Object.create(redis, {
    evalsha: {
      value: async (...args: Parameters<Redis['evalsha']>) => {
        await redis.evalsha(...args);
        return await redis.evalsha(...args);
      },
    },
  });
  await begin(task);
  const second = await new Fence(sentTwice, { prefix: 'fence' }).begin({ taskId: task, enqueuedAt });
  expect(second.unended).toBe(1);
  await hold(task, 'mine');
  await permit(task, second.number);
  expect((await begin(task)).unended).toBe(2);
});

test('a mark cancels the enqueuing it was made for, and no other', async () => {
  const task = newTask();
  expect((await begin(task)).cancelled).toBe(false);
  await redis.set(keys(task).cancel, String(enqueuedAt));
  expect((await begin(task)).cancelled).toBe(true);
  expect((await fence.begin({ taskId: task, enqueuedAt: enqueuedAt + 1 })).cancelled).toBe(false);
});

test('numbers rise though Redis’s clock was set back, and nonsense in the key hurts nothing', async () => {
  const task = newTask();
  const ahead = String(BigInt(Date.now()) * 1_000n + 86_400_000_000n);
  await redis.hset(keys(task).fence, 'number', ahead);
  expect((await begin(task)).number).toBe(String(BigInt(ahead) + 1n));

  for (const nonsense of ['', 'x', '-5', 'inf', 'nan', '1e300', '9007199254740993']) {
    await redis.hset(keys(task).fence, { number: nonsense, unended: nonsense });
    const { number, unended } = await begin(task);
    expect(number).toMatch(/^\d{16}$/);
    expect(unended).toBe(0);
    expect((await begin(task)).unended).toBe(1);
  }
});

test('a fence is forgotten a week after its last use', async () => {
  const task = newTask();
  const { number } = await begin(task);
  expect(await redis.pttl(keys(task).fence)).toBeGreaterThan(WEEK_MS - 60_000);
  await redis.pexpire(keys(task).fence, 60_000);
  await fence.end(task, { number, unended: 0 });
  expect(await redis.pttl(keys(task).fence)).toBeGreaterThan(WEEK_MS - 60_000);
});

test('without an answer of Redis there is no permit, and nobody waits for ever', async () => {
  const task = newTask();
  const { number } = await begin(task);
  await hold(task, 'mine');
  const pid = await serverPid(redis);
  process.kill(pid, 'SIGSTOP');
  try {
    await expect(permit(task, number)).rejects.toMatchObject(fenced(/within 2000 ms/));
  } finally {
    process.kill(pid, 'SIGCONT');
  }
});

test('an error of Redis is a refusal that does not tell the token', async () => {
  const task = newTask();
  await redis.set(keys(task).fence, 'not a hash');
  const error = await permit(task, '1', 'tok-en').catch((reason: unknown) => reason);
  expect(error).toMatchObject(fenced(/WRONGTYPE/));
  expect(JSON.stringify(error)).not.toContain('tok-en');
});

test('what cannot be a task id, a prefix or a lock time is refused', async () => {
  for (const bad of ['', 'a:b', '12', 'wait', '../x']) await expect(begin(bad)).rejects.toThrow(InvalidInput);
  await expect(new Fence(redis, { prefix: 'a b' }).begin({ taskId: 'a', enqueuedAt })).rejects.toThrow(InvalidInput);
  for (const lockMs of [0, -1, 1.5, Number.NaN]) {
    await expect(fence.permit({ taskId: 'a', number: '1', token: 't', lockMs })).rejects.toThrow(InvalidInput);
  }
});
