import type { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { InvalidInput } from '../../src/errors.ts';
import type { AttemptResult, StageTime } from '../../src/job/outcome.ts';
import { tallyKeys } from '../../src/redis/keys.ts';
import { BUCKETS_MS, Tally } from '../../src/redis/tally.ts';
import { resultOf } from '../support/jobs.ts';
import { redisForFile } from './support.ts';

const HOUR_MS = 3_600_000;

let server: Awaited<ReturnType<typeof redisForFile>>;
let redis: Redis;
beforeAll(async () => {
  server = await redisForFile();
  redis = server.client();
});
afterAll(() => server.close());

let prefixes = 0;
function newTally(client = redis) {
  prefixes += 1;
  const prefix = `tally-${prefixes}`;
  return { tally: new Tally(client, { prefix }), keys: tallyKeys(prefix), prefix };
}

const stage = (name: StageTime['stage'], ms: number): StageTime => ({ stage: name, startedAt: 0, ms });
const attempt = (outcome: AttemptResult['outcome'], more: Partial<AttemptResult> = {}): AttemptResult => ({
  ...resultOf('a', outcome),
  ...more,
});
const hourNow = async () => Math.floor(Number((await redis.time())[0]) / 3_600);

test('what was never counted is told as nothing', async () => {
  const { tally } = newTally();
  const totals = await tally.totals();
  expect(totals).toMatchObject({ since: null, tokens: 0, costUsd: 0, outcomes: { committed: 0 }, reaped: { cell: 0 } });
  expect(totals.durations.total).toEqual({ counts: [...BUCKETS_MS.map(() => 0), 0], sumMs: 0 });
});

test('attempts are counted by outcome, with their tokens and dollars, in all and by the hour', async () => {
  const { tally } = newTally();
  await tally.add(attempt('committed', { tokensUsed: 700, costUsd: 0.1 }));
  await tally.add(attempt('committed', { tokensUsed: 1_300, costUsd: 0.2 }));
  await tally.add(attempt('reverted', { tokensUsed: 5 }));
  const counted = { outcomes: { committed: 2, reverted: 1 }, tokens: 2_005, costUsd: 0.3 };
  const totals = await tally.totals();
  expect(totals).toMatchObject(counted);
  expect(Math.abs((totals.since ?? 0) - Date.now())).toBeLessThan(60_000);
  const hours = await tally.hours(2);
  // Another hour may have begun just now.
  expect(hours.find(({ tokens }) => tokens > 0)).toMatchObject(counted);
});

test('an attempt is counted before whatever is sent next on the connection, also by a Redis that has no script', async () => {
  const { tally, keys } = newTally();
  await redis.script('FLUSH');
  const adding = tally.add(attempt('committed'));
  expect(await redis.hget(keys.totals, 'outcome:committed')).toBe('1');
  await adding;
});

test('the hours are told oldest first up to the one of now, those without an attempt too', async () => {
  const { tally, keys } = newTally();
  await tally.add(attempt('committed', { tokensUsed: 10 }));
  const now = await hourNow();
  await redis.hset(`${keys.hours}${now - 2}`, { 'outcome:stalled': '4', tokens: '9', micros: '1500000' });
  const hours = await tally.hours(4);
  const first = Number(hours[0]?.from) / HOUR_MS;
  expect(hours.map(({ from }) => from / HOUR_MS)).toEqual([first, first + 1, first + 2, first + 3]);
  expect(first + 3 - now).toBeLessThanOrEqual(1);
  const empty = { outcomes: {}, tokens: 0, costUsd: 0 };
  expect(hours.find(({ from }) => from === (now - 1) * HOUR_MS)).toEqual({ from: (now - 1) * HOUR_MS, ...empty });
  expect(hours.find(({ from }) => from === (now - 2) * HOUR_MS)).toMatchObject({
    outcomes: { stalled: 4 },
    tokens: 9,
    costUsd: 1.5,
  });
  expect(await tally.hours(0)).toHaveLength(1);
  expect(await tally.hours(10_000)).toHaveLength(192);
});

test('an hour is kept for eight days and the totals for ever', async () => {
  const { tally, keys } = newTally();
  await tally.add(attempt('committed'));
  const [hour = ''] = await redis.keys(`${keys.hours}*`);
  const left = await redis.pttl(hour);
  expect(left).toBeGreaterThan(8 * 24 * HOUR_MS - 60_000);
  expect(left).toBeLessThanOrEqual(8 * 24 * HOUR_MS);
  expect(await redis.pttl(keys.totals)).toBe(-1);
});

test('each stage is counted in the bucket that ends at or above it, and the whole life beside them', async () => {
  const { tally } = newTally();
  const metrics = { spawnMs: 0, executionMs: 0, teardownMs: 0, totalMs: 10_000_000 };
  await tally.add(attempt('committed', { metrics, stages: [stage('spawn', 500), stage('execute', 501)] }));
  await tally.add(attempt('committed', { metrics, stages: [stage('spawn', 1), stage('teardown', 0)] }));
  const { durations } = await tally.totals();
  const at = (ms: number) => (BUCKETS_MS as readonly number[]).indexOf(ms);
  const counted = (name: keyof typeof durations) =>
    durations[name].counts.flatMap((times, bucket) => (times === 0 ? [] : [[bucket, times]]));
  expect(counted('spawn')).toEqual([
    [0, 1],
    [at(500), 1],
  ]);
  expect(durations.spawn.sumMs).toBe(501);
  expect(counted('execute')).toEqual([[at(1_000), 1]]);
  expect(counted('teardown')).toEqual([[0, 1]]);
  expect(counted('test')).toEqual([]);
  // Longer than any bucket.
  expect(counted('total')).toEqual([[BUCKETS_MS.length, 2]]);
});

test('an attempt that had no cell has no durations', async () => {
  const { tally } = newTally();
  await tally.add(attempt('cancelled'));
  const { durations, outcomes } = await tally.totals();
  expect(outcomes.cancelled).toBe(1);
  expect(Object.values(durations).flatMap(({ counts }) => counts)).not.toContain(1);
});

test('what is counted twice under one name is counted once, by whichever worker', async () => {
  const { tally, prefix } = newTally();
  const other = new Tally(server.client(), { prefix });
  const one = attempt('committed', { tokensUsed: 7, stages: [stage('spawn', 1)] });
  await Promise.all([tally.add(one, 'a 1'), other.add(one, 'a 1'), tally.add(one, 'a 1')]);
  await other.add(one, 'a 2');
  const totals = await tally.totals();
  expect(totals).toMatchObject({ outcomes: { committed: 2 }, tokens: 14 });
  expect(totals.durations.spawn.counts[0]).toBe(2);
});

test('a count takes one call of Redis', async () => {
  const sent: string[] = [];
  const watched = new Proxy(redis, {
    get: (target, key) => {
      const value = Reflect.get(target, key, target);
      if (typeof value !== 'function') return value;
      return (...args: unknown[]) => {
        sent.push(String(key));
        return value.apply(target, args);
      };
    },
  });
  await newTally(watched).tally.add(attempt('committed', { stages: [stage('spawn', 1), stage('teardown', 2)] }));
  expect(sent).toEqual(['eval']);
});

test('what became of landings is counted by fate, each landing once whoever tells of it, and by no hour', async () => {
  const { tally, prefix } = newTally();
  expect((await tally.totals()).landings).toEqual({ landed: 0, returned: 0, refused: 0 });
  const other = new Tally(server.client(), { prefix });
  await Promise.all([tally.addLanding('landed', 'a.0123456789ab'), other.addLanding('landed', 'a.0123456789ab')]);
  await tally.addLanding('landed', 'b.0123456789ab');
  await tally.addLanding('refused', 'c.0123456789ab');
  await tally.add(attempt('committed'), 'd.0123456789ab');
  await tally.addLanding('returned', 'd.0123456789ab');
  expect((await tally.totals()).landings).toEqual({ landed: 2, returned: 1, refused: 1 });
  expect((await tally.hours(2)).flatMap(({ outcomes }) => Object.keys(outcomes))).toEqual(['committed']);
});

test('what dead workers left is counted by kind', async () => {
  const { tally, keys } = newTally();
  await tally.addReaped(['cell', 'lease', 'cell']);
  await tally.addReaped([]);
  expect((await tally.totals()).reaped).toEqual({
    cell: 2,
    lease: 1,
    slot: 0,
    folder: 0,
    group: 0,
    pin: 0,
    temporary: 0,
  });
  // No attempt has ended in this hour.
  expect(await redis.keys(`${keys.hours}*`)).toEqual([]);
});

test('numbers that nobody could have are counted as none', async () => {
  const { tally } = newTally();
  await tally.add(attempt('committed', { tokensUsed: -5, costUsd: Number.NaN, stages: [stage('spawn', -3)] }));
  const totals = await tally.totals();
  expect(totals).toMatchObject({ tokens: 0, costUsd: 0, outcomes: { committed: 1 } });
  expect(totals.durations.spawn).toMatchObject({ sumMs: 0 });
});

test('nonsense that somebody else has written keeps nobody from counting', async () => {
  const { tally, keys } = newTally();
  await redis.hset(keys.totals, { 'outcome:committed': 'many', tokens: '-4', micros: '1e9', since: 'ever' });
  await redis.set(`${keys.hours}${await hourNow()}`, 'no hash');
  expect(await tally.totals()).toMatchObject({ since: null, tokens: 0, costUsd: 0, outcomes: { committed: 0 } });
  await tally.add(attempt('committed', { tokensUsed: 3, costUsd: 1 }));
  expect(await tally.totals()).toMatchObject({ outcomes: { committed: 1 }, tokens: 3, costUsd: 1 });
  expect((await tally.hours(2)).some(({ outcomes }) => outcomes.committed === 1)).toBe(true);
  await redis.del(keys.totals);
  await redis.set(keys.totals, 'no hash');
  await tally.add(attempt('reverted'));
  expect(await tally.totals()).toMatchObject({ outcomes: { committed: 0, reverted: 1 } });
});

test('a prefix that would break the keys is refused', () => {
  expect(() => new Tally(redis, { prefix: 'a b' })).toThrow(InvalidInput);
});
