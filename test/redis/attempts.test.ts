/** What an attempt asks of Redis before it begins, and tells it at its end, each in one round trip. */
import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Attempts } from '../../src/redis/attempts.ts';
import { Budgets, usedUp } from '../../src/redis/budget.ts';
import { Cooldowns } from '../../src/redis/cooldown.ts';
import { Fence } from '../../src/redis/fence.ts';
import { cooldownKeys, taskKeys } from '../../src/redis/keys.ts';
import { Slots } from '../../src/redis/slots.ts';
import { passTime } from './cooldown-time.ts';
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

test('whether a budget is used up is the same to the script and to whoever reads its answer', async () => {
  const amount = fc.option(fc.integer({ min: 1, max: 6 }), { nil: undefined });
  const limits = fc.record({ dayTokens: amount, fleetTokens: amount, dayUsd: amount, fleetUsd: amount });
  const usage = fc.record({ tokens: fc.integer({ min: 0, max: 7 }), usd: fc.integer({ min: 0, max: 14 }) });
  await fc.assert(
    fc.asyncProperty(limits, usage, async (limit, { tokens, usd }) => {
      const { attempts, asked, budgets, redis, prefix } = setting();
      const set = Object.fromEntries(Object.entries(limit).filter(([, value]) => value !== undefined));
      if (Object.keys(set).length > 0) await budgets.set(set);
      await budgets.add({ taskId: 'b', number: '1' }, { tokens, usd: usd / 2 });
      const answer = await attempts.begin(asked);
      expect(answer.begun === null, JSON.stringify({ prefix, limit })).toBe(usedUp(answer.budgets) !== null);
      expect(redis.status).toBe('ready');
    }),
    { numRuns: 60 },
  );
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

test('an attempt that is to wait for its provider is told so, and has not begun, however often', async () => {
  const { attempts, asked, cooldowns, fence } = setting();
  await cooldowns.report('p/m', { kind: 'busy', reason: 'overloaded' });
  for (let time = 0; time < 20; time++) {
    const { slot, begun, turn } = await attempts.begin(asked);
    expect(turn).toMatchObject({ kind: 'busy', reason: 'overloaded' });
    expect(turn?.waitMs).toBeGreaterThan(0);
    expect(slot?.granted).toBe(true);
    expect(begun).toBeNull();
  }
  expect((await fence.begin({ taskId: 'a', enqueuedAt: 1 })).unended).toBe(0);
});

describe('the attempt of a task that is cancelled', () => {
  type Setting = ReturnType<typeof setting>;
  test.each<[string, (setting: Setting) => Promise<unknown>]>([
    ['its provider is in a cool-down', ({ cooldowns }) => cooldowns.report('p/m', { kind: 'busy', reason: 'no' })],
    ['a budget is used up', ({ budgets }) => budgets.set({ dayTokens: 0 })],
    ['the fleet has no slot', ({ slots }) => slots.set({ cells: 0 })],
  ])('begins at once though %s, and takes no slot', async (_, prepare) => {
    const one = setting();
    await prepare(one);
    await one.redis.set(taskKeys(one.prefix, 'a').cancel, '1');
    const { slot, turn, begun } = await one.attempts.begin(one.asked);
    expect(begun).toMatchObject({ unended: 0, cancelled: true });
    expect([slot, turn]).toEqual([null, null]);
    expect((await one.slots.list()).slots).toEqual([]);
  });

  test('leaves the one turn to try a provider to others', async () => {
    const { attempts, asked, cooldowns, redis, prefix } = setting();
    await cooldowns.report('p/m', { kind: 'busy', reason: 'overloaded' });
    await passTime(redis, prefix, 'p/m', 20_000);
    await redis.set(taskKeys(prefix, 'a').cancel, '1');
    expect((await attempts.begin(asked)).begun?.cancelled).toBe(true);
    expect((await cooldowns.ask('p/m')).waitMs).toBe(0);
  });

  test('is another one when the mark is for another enqueuing, or is no text', async () => {
    const { attempts, asked, redis, prefix } = setting();
    const { cancel } = taskKeys(prefix, 'a');
    await redis.set(cancel, '2');
    expect((await attempts.begin(asked)).begun?.cancelled).toBe(false);
    await redis.del(cancel);
    await redis.hset(cancel, 'no', 'text');
    expect((await attempts.begin(asked)).begun?.cancelled).toBe(false);
  });
});

test('what stands under the key of the fence and is none keeps nobody from beginning', async () => {
  const { attempts, asked, redis, prefix } = setting();
  await redis.set(taskKeys(prefix, 'a').fence, 'no hash');
  expect((await attempts.begin(asked)).begun).toMatchObject({ unended: 0, cancelled: false });
});

describe('a call that is sent again, because its reply was lost', () => {
  /** The connection is the real one, and only sends each call again, with what happens `between` the two. */
  function sentTwice(redis: Redis, between: () => Promise<unknown>): Redis {
    return Object.create(redis, {
      evalsha: {
        value: async (...args: Parameters<Redis['evalsha']>) => {
          await redis.evalsha(...args);
          await between();
          return await redis.evalsha(...args);
        },
      },
    });
  }

  type Case = [string, (one: ReturnType<typeof setting>) => Promise<unknown>, object];
  test.each<Case>([
    ['a budget was used up', ({ budgets }) => budgets.set({ dayTokens: 0 }), { slot: { granted: true } }],
    ['its slot ran out, and others took it', takeSlot, { slot: { granted: false }, turn: { waitMs: 0 } }],
    [
      'its provider said that it is busy',
      ({ cooldowns }) => cooldowns.report('p/m', { kind: 'busy', reason: 'no' }),
      { slot: { granted: true }, turn: { kind: 'busy' } },
    ],
  ])('says that the attempt has begun though meanwhile %s', async (_, between, told) => {
    const one = setting();
    const { attempts, asked, fence, redis, prefix } = one;
    // So that Redis has the script.
    const first = await attempts.begin({ ...asked, owner: { ...asked.owner, taskId: 'before' } });
    await one.slots.release([{ ...asked.owner, taskId: 'before' }]);
    const again = new Attempts(
      sentTwice(redis, () => between(one)),
      { prefix },
    );
    const beginning = await again.begin(asked);
    expect(first.begun).not.toBeNull();
    expect(beginning).toMatchObject({ ...told, begun: { unended: 0, cancelled: false } });
    if (beginning.begun !== null) await fence.end('a', beginning.begun);
    expect((await fence.begin({ taskId: 'a', enqueuedAt: 1 })).unended).toBe(0);
  });

  async function takeSlot({ slots, owner }: ReturnType<typeof setting>): Promise<void> {
    await slots.set({ cells: 1 });
    await slots.release([owner]);
    expect(await slots.acquire({ ...owner, taskId: 'other' }, null)).toMatchObject({ granted: true });
  }

  test('still has the one turn to try its provider, which nobody else gets', async () => {
    const { attempts, asked, cooldowns, redis, prefix, owner } = setting();
    await attempts.begin({ ...asked, owner: { ...owner, taskId: 'before' } });
    await cooldowns.report('p/m', { kind: 'busy', reason: 'overloaded' });
    await passTime(redis, prefix, 'p/m', 20_000);
    const again = new Attempts(
      sentTwice(redis, async () => undefined),
      { prefix },
    );
    const { begun, turn } = await again.begin(asked);
    expect(turn?.waitMs).toBe(0);
    expect(begun?.unended).toBe(0);
    expect((await cooldowns.ask('p/m')).waitMs).toBeGreaterThan(0);
    expect(await redis.hget(cooldownKeys(prefix, 'p/m').cooldown, 'probeBy')).toMatch(/^[0-9a-f-]{36}$/);
  });
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
