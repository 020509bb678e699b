import { rmSync } from 'node:fs';
import fc from 'fast-check';
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { InvalidInput } from '../../src/errors.ts';
import { type BudgetState, Budgets, usedUp } from '../../src/redis/budget.ts';
import { budgetKeys } from '../../src/redis/keys.ts';
import { compiledRooms } from '../support/compiled.ts';
import { redisForFile, startFixture } from './support.ts';

let server: Awaited<ReturnType<typeof redisForFile>>;
let redis: Redis;
let compiled: string;
beforeAll(async () => {
  server = await redisForFile();
  redis = server.client();
  compiled = await compiledRooms('redis');
});
afterAll(async () => {
  await server.close();
  rmSync(compiled, { recursive: true });
});

let prefixes = 0;
function fresh() {
  prefixes += 1;
  const prefix = `budget-${prefixes}`;
  return { prefix, budgets: new Budgets(redis, { prefix }), keys: budgetKeys(prefix, one) };
}

const one = { taskId: 'one', number: '1' };
const two = { taskId: 'two', number: '1' };
const NONE = { tokens: null, usd: null };

/** Yesterday, by what stands in Redis. */
async function dayPasses(prefix: string): Promise<void> {
  await redis.hincrby(budgetKeys(prefix).used, 'day', -1);
}

describe('what was used', () => {
  test('is nothing at first, without limits', async () => {
    const { day, fleet } = await fresh().budgets.show();
    expect(day).toMatchObject({ used: { tokens: 0, usd: 0 }, limit: NONE });
    expect(day.date).toMatch(/^\d{4}-\d\d-\d\d$/);
    expect(day.endsInMs).toBeGreaterThan(0);
    expect(day.endsInMs).toBeLessThanOrEqual(86_400_000);
    expect(fleet).toMatchObject({ used: { tokens: 0, usd: 0 }, limit: NONE });
  });

  test('is the sum of what attempts tell, each of them what it has used in all', async () => {
    const { budgets } = fresh();
    await budgets.add(one, { tokens: 100, usd: 0.25 });
    await budgets.add(two, { tokens: 7, usd: 0 });
    await budgets.add(one, { tokens: 150, usd: 0.5 });
    const { day, fleet } = await budgets.add({ ...one, number: '2' }, { tokens: 1_000, usd: 0.000001 });
    for (const { used } of [day, fleet]) expect(used).toEqual({ tokens: 1_157, usd: 0.500001 });
  });

  test('is not counted twice when it is told again, or told late', async () => {
    const { budgets } = fresh();
    for (const tokens of [100, 100, 40, 100]) await budgets.add(one, { tokens, usd: tokens / 100 });
    expect((await budgets.show()).fleet.used).toEqual({ tokens: 100, usd: 1 });
  });

  test('of a day is forgotten the next day, that of the fleet goes on', async () => {
    const { budgets, prefix } = fresh();
    await budgets.add(one, { tokens: 100, usd: 1 });
    await dayPasses(prefix);
    expect(await budgets.show()).toMatchObject({ day: { used: { tokens: 0 } }, fleet: { used: { tokens: 100 } } });
    const after = await budgets.add(one, { tokens: 120, usd: 1 });
    expect(after).toMatchObject({ day: { used: { tokens: 20, usd: 0 } }, fleet: { used: { tokens: 120, usd: 1 } } });
  });

  test('of an attempt is remembered for longer than one can be silent, and not for ever', async () => {
    const { budgets, keys } = fresh();
    await budgets.add(one, { tokens: 1, usd: 0 });
    const left = await redis.pttl(keys.counted);
    expect(left).toBeGreaterThan(24 * 3_600_000);
    expect(left).toBeLessThanOrEqual(48 * 3_600_000);
  });

  test('is counted by what can be a task only', async () => {
    await expect(fresh().budgets.add({ taskId: '../x', number: '1' }, { tokens: 1, usd: 0 })).rejects.toThrow(
      InvalidInput,
    );
  });
});

describe('limits', () => {
  test('are set, changed and taken away one by one', async () => {
    const { budgets } = fresh();
    await budgets.set({ dayTokens: 500, dayUsd: 2.5, fleetTokens: 9_000, fleetUsd: 0.01 });
    const { day, fleet } = await budgets.set({ dayTokens: 600, dayUsd: null, fleetUsd: undefined });
    expect(day.limit).toEqual({ tokens: 600, usd: null });
    expect(fleet.limit).toEqual({ tokens: 9_000, usd: 0.01 });
  });

  test('of the fleet begin its count when the first of them is set; raising one does not', async () => {
    const { budgets } = fresh();
    await budgets.add(one, { tokens: 100, usd: 1 });
    expect((await budgets.set({ fleetTokens: 1_000 })).fleet.used).toEqual({ tokens: 0, usd: 0 });
    await budgets.add(one, { tokens: 130, usd: 1 });
    expect((await budgets.set({ fleetTokens: 2_000, fleetUsd: 5 })).fleet.used.tokens).toBe(30);
    const { day, fleet } = await budgets.reset();
    expect([day.used.tokens, fleet.used.tokens, fleet.limit]).toEqual([130, 0, { tokens: 2_000, usd: 5 }]);
  });
});

describe('a budget is used up', () => {
  const state = (day: [number, number | null, number, number | null], fleet: typeof day): BudgetState => {
    const of = ([tokens, tokenLimit, usd, usdLimit]: typeof day) => ({
      used: { tokens, usd },
      limit: { tokens: tokenLimit, usd: usdLimit },
    });
    return { day: { ...of(day), date: '2026-05-01', endsInMs: 1_000 }, fleet: { ...of(fleet), since: 1 } };
  };
  const free: [number, null, number, null] = [10, null, 10, null];

  test('when as much as its limit is used, and not before', () => {
    expect(usedUp(state(free, free))).toBeNull();
    expect(usedUp(state([9, 10, 0.9, 1], [9, 10, 0.9, 1]))).toBeNull();
    expect(usedUp(state([10, 10, 0, null], free))).toMatchObject({ endsInMs: 1_000 });
    expect(usedUp(state([0, null, 1, 1], free))?.reason).toContain("the day's budget of $1 is used up");
    expect(usedUp(state(free, [11, 10, 0, null]))).toMatchObject({ endsInMs: null });
    expect(usedUp(state([0, 0, 0, null], free))).not.toBeNull();
  });

  test('of day and fleet the fleet’s counts, which no day ends', () => {
    expect(usedUp(state([10, 10, 0, null], [10, 10, 0, null]))?.reason).toContain("the fleet's budget of 10 tokens");
  });
});

test('processes that spend at once spend no more than what was on its way, and every token is counted once', async () => {
  const { prefix, budgets } = fresh();
  const [limit, step, lanes] = [60_000, 70, 3];
  await budgets.set({ dayTokens: limit });
  const start = (name: string) => startFixture('spender.mjs', [compiled, server.socket, prefix, name, String(step)]);
  const spenders = ['a', 'b', 'c'].map(start);
  // Listened for from the start: a quick one may have said all before the others begin.
  const said = await Promise.all(spenders.map(one => one.line('used ')));
  const used = said.map(line => Number(line.split(' ')[1]));
  const { day, fleet } = await budgets.show();
  const sum = used.reduce((total, tokens) => total + tokens, 0);
  expect(day.used).toEqual({ tokens: sum, usd: sum / 1_000_000 });
  expect(fleet.used).toEqual(day.used);
  expect(sum).toBeGreaterThanOrEqual(limit);
  // Every lane may have had one step on its way.
  expect(sum).toBeLessThan(limit + spenders.length * lanes * step);
  for (const { child } of spenders) expect((await child).exitCode).toBe(0);
});

test('a spender that is killed takes nothing with it but what it had not told', async () => {
  const { prefix, budgets } = fresh();
  await budgets.set({ dayTokens: 30_000 });
  const start = (name: string, step: number) =>
    startFixture('spender.mjs', [compiled, server.socket, prefix, name, String(step)]);
  const victim = start('victim', 1);
  await victim.line('working');
  victim.child.kill('SIGKILL');
  await victim.child;
  const before = (await budgets.show()).day.used.tokens;
  expect(before).toBeGreaterThan(0);
  const heir = await start('heir', 90).line('used ');
  expect((await budgets.show()).day.used.tokens).toBe(before + Number(heir.split(' ')[1]));
});

test('whatever is told, in whatever order and by however many clients, the sum is that of the most of each', async () => {
  const clients = [server.client(), server.client(), server.client()];
  const told = fc.record({
    client: fc.nat(2),
    taskId: fc.constantFrom('a', 'b', 'c'),
    number: fc.constantFrom('1', '2'),
    tokens: fc.nat(1_000_000),
    micros: fc.nat(1_000_000_000),
    passes: fc.boolean(),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(told, { maxLength: 40 }), async all => {
      const { prefix, budgets } = fresh();
      const each = clients.map(client => new Budgets(client, { prefix }));
      const most = new Map<string, { tokens: number; micros: number }>();
      const sums = () => {
        const list = [...most.values()];
        const sum = (key: 'tokens' | 'micros') => list.reduce((total, amounts) => total + amounts[key], 0);
        return { tokens: sum('tokens'), usd: sum('micros') / 1_000_000 };
      };
      let yesterday = 0;
      for (const { client, taskId, number, tokens, micros, passes } of all) {
        if (passes && most.size > 0) {
          await dayPasses(prefix);
          yesterday = sums().tokens;
        }
        await each[client]?.add({ taskId, number }, { tokens, usd: micros / 1_000_000 });
        const known = most.get(`${taskId} ${number}`) ?? { tokens: 0, micros: 0 };
        most.set(`${taskId} ${number}`, {
          tokens: Math.max(known.tokens, tokens),
          micros: Math.max(known.micros, micros),
        });
      }
      const { day, fleet } = await budgets.show();
      expect(fleet.used).toEqual(sums());
      expect(day.used.tokens).toBe(sums().tokens - yesterday);
    }),
    { numRuns: 60 },
  );
});

test('nonsense in place of a budget is none, and is written over', async () => {
  const { budgets, keys } = fresh();
  const write = [
    () => redis.hset(keys.used, { dayTokens: 'x', fleetTokens: '-4', dayMicros: '1e400', since: 'nan', day: 'today' }),
    () => redis.hset(keys.limits, { dayTokens: 'many', fleetTokens: '1.5', dayMicros: '-1' }),
    () => redis.set(keys.limits, 'a string'),
    () => redis.set(keys.used, 'a string'),
    () => redis.lpush(keys.counted, 'a list'),
    () => redis.set(keys.counted, 'many more'),
  ];
  for (const nonsense of write) {
    await redis.del(keys.limits, keys.used, keys.counted);
    await nonsense();
    expect(usedUp(await budgets.show())).toBeNull();
    const { day } = await budgets.add(one, { tokens: 5, usd: 1 });
    expect(day).toMatchObject({ used: { tokens: 5, usd: 1 }, limit: NONE });
    expect((await budgets.set({ dayTokens: 5 })).day.limit.tokens).toBe(5);
  }
});
