/** What an attempt asks of Redis before it begins, and tells it at its end, each in one round trip. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Attempts } from '../../src/redis/attempts.ts';
import { Budgets, usedUp } from '../../src/redis/budget.ts';
import { Cooldowns } from '../../src/redis/cooldown.ts';
import { Fence } from '../../src/redis/fence.ts';
import { taskKeys } from '../../src/redis/keys.ts';
import { Slots } from '../../src/redis/slots.ts';
import { redisForFile } from './support.ts';

let server: Awaited<ReturnType<typeof redisForFile>>;
beforeAll(async () => {
  server = await redisForFile();
});
afterAll(() => server.close());

function setting() {
  const redis = server.client();
  const prefix = `p-${randomUUID()}`;
  const worker = { id: 'w', pid: 1, startTime: '1', bootId: 'b', pidNamespace: 'n' };
  const owner = { host: 'h', home: '/home', worker, taskId: 'a', attempt: 1, repository: '/r' };
  return {
    ...{ redis, prefix, owner, attempts: new Attempts(redis, { prefix }), fence: new Fence(redis, { prefix }) },
    ...{ budgets: new Budgets(redis, { prefix }), slots: new Slots(redis, { prefix }) },
    ...{ cooldowns: new Cooldowns(redis, { prefix }), asked: { owner, hostCap: null, enqueuedAt: 1, model: 'p/m' } },
  };
}

test('an attempt that nothing keeps back has a slot, has begun, and may ask its provider', async () => {
  const { attempts, asked, slots, fence } = setting();
  const { budgets, slot, begun, turn } = await attempts.begin(asked);
  expect(usedUp(budgets)).toBeNull();
  expect(slot).toMatchObject({ granted: true, toPass: null, view: { used: 1, usedOnHost: 1 } });
  expect(begun).toMatchObject({ unended: 0, cancelled: false });
  expect(turn).toEqual({ waitMs: 0, kind: null, reason: null });
  expect((await slots.list()).slots.map(({ taskId }) => taskId)).toEqual(['a']);
  expect((await fence.begin({ taskId: 'a', enqueuedAt: 1 })).unended).toBe(1);
});

test.each([
  ['tokens', { dayTokens: 5 }],
  ['dollars', { fleetUsd: 0.5 }],
])('with a budget of %s used up no slot is taken and nothing begun; with some left there is', async (_unit, limit) => {
  const { attempts, asked, budgets, slots, fence } = setting();
  await budgets.set(limit);
  await budgets.add({ taskId: 'b', number: '1' }, { tokens: 4, usd: 0.499 });
  const before = await attempts.begin(asked);
  expect(usedUp(before.budgets)).toBeNull();
  expect(before.slot?.granted).toBe(true);
  await slots.release([asked.owner]);
  await budgets.add({ taskId: 'b', number: '1' }, { tokens: 5, usd: 0.5 });
  const after = await attempts.begin(asked);
  expect(usedUp(after.budgets)).not.toBeNull();
  expect(after).toMatchObject({ slot: null, begun: null, turn: null });
  expect((await slots.list()).slots).toEqual([]);
  expect((await fence.begin({ taskId: 'a', enqueuedAt: 1 })).unended).toBe(1);
});

test('without a slot nothing is begun', async () => {
  const { attempts, asked, slots, owner, fence } = setting();
  await slots.set({ cells: 1 });
  await slots.acquire({ ...owner, taskId: 'other' }, null);
  expect(await attempts.begin(asked)).toMatchObject({ slot: { granted: false }, begun: null, turn: null });
  expect((await fence.begin({ taskId: 'a', enqueuedAt: 1 })).unended).toBe(0);
});

test('an attempt that is to wait for its provider is told so, and has begun', async () => {
  const { attempts, asked, cooldowns } = setting();
  await cooldowns.report('p/m', { kind: 'busy', reason: 'overloaded' });
  const { begun, turn } = await attempts.begin(asked);
  expect(turn).toMatchObject({ kind: 'busy', reason: 'overloaded' });
  expect(turn?.waitMs).toBeGreaterThan(0);
  expect(begun?.unended).toBe(0);
});

test('an attempt has ended when the data of its job is written, and not when the job is not ours', async () => {
  const { attempts, fence, redis, prefix } = setting();
  const { job, lock } = taskKeys(prefix, 'a');
  await redis.hset(job, 'data', '{}');
  await redis.set(lock, 'token');
  const ended = async (token: string) => {
    const begun = { ...(await fence.begin({ taskId: 'a', enqueuedAt: 1 })), unended: 0 };
    await attempts.end({ taskId: 'a', token, data: { by: token }, outcome: '', begun });
  };
  await ended('token');
  expect(await redis.hget(job, 'data')).toBe('{"by":"token"}');
  await expect(ended('of another')).rejects.toMatchObject({ code: 'FENCED' });
  expect(await redis.hget(job, 'data')).toBe('{"by":"token"}');
  expect((await fence.begin({ taskId: 'a', enqueuedAt: 1 })).unended).toBe(1);
});
