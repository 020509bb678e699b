import type { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { poolId, SourceLedger } from '../../src/redis/source-ledger.ts';
import { type TestRedis, testRedis } from '../support/redis.ts';

let server: TestRedis;
let redis: Redis;
let ledger: SourceLedger;
let prefix: string;

beforeAll(async () => {
  server = await testRedis();
});
afterAll(() => server.close());
beforeEach(async () => {
  redis = await server.connect('producer');
  prefix = server.prefix();
  ledger = new SourceLedger(redis, { prefix, identity: 'a folder' });
});
afterEach(() => redis.disconnect());

/** The first generation of an item. */
async function begun(item: string) {
  expect(await ledger.begin(item, 0, item)).toBe(true);
  return { item, generation: 1 };
}

const entry = async (item: string) => (await ledger.read([item])).get(item);

test('of many that begin the same generation one gives the task its name, and the others are told that they did not', async () => {
  const names = Array.from({ length: 20 }, (_, at) => `name-${at}`);
  const begun = await Promise.all(names.map(name => ledger.begin('a-1', 0, name)));
  expect(begun.filter(Boolean)).toHaveLength(1);
  expect(await entry('a-1')).toMatchObject({ generation: 1, taskId: names[begun.indexOf(true)] });
  expect((await ledger.live()).map(({ item }) => item)).toEqual(['a-1']);
});

test('a later generation knows nothing of the notes of the one before, and takes none of its late ones', async () => {
  const first = await begun('a-1');
  await ledger.put(first, 'end:1', 'one');
  expect(await ledger.begin('a-1', 1, 'a-1-g2')).toBe(true);
  expect(await entry('a-1')).toMatchObject({ generation: 2, taskId: 'a-1-g2', queued: false, notes: new Map() });
  expect(await ledger.put(first, 'end:2', 'late')).toBe(false);
  await ledger.lost(first, 'late');
  await ledger.queued(first);
  expect(await entry('a-1')).toMatchObject({ lost: null, queued: false });
});

test('a note is put into the outbox once for each key, and leaves it once, in order', async () => {
  const item = await begun('a-1');
  expect(await Promise.all(['claim', 'claim', 'claim'].map(key => ledger.put(item, key, 'one')))).toContain(true);
  await ledger.put(item, 'end:1', 'two');
  expect(await ledger.waiting()).toBe(2);
  // Twice: a bridge that was stopped in its turn may go on beside the next one.
  await Promise.all([1, 2].map(() => ledger.written(item, 'claim', 'one', 'written')));
  expect(await ledger.outbox()).toEqual(['two']);
  expect([...((await entry('a-1'))?.notes ?? [])]).toEqual([
    ['claim', 'written'],
    ['end:1', 'waits'],
  ]);
});

test('what is settled for good is no longer looked at, is remembered, and keeps nothing in Redis for ever', async () => {
  const item = await begun('a-1');
  await ledger.settle(item, 'released', false);
  const settledAt = (await entry('a-1'))?.settledAt;
  expect(settledAt).toBeLessThanOrEqual(await ledger.now());
  expect(await ledger.live()).toHaveLength(1);
  await ledger.settle(item, 'done', true);
  expect(await ledger.live()).toEqual([]);
  expect(await ledger.recent(5)).toMatchObject([{ item: 'a-1', generation: 1, settledAt }]);
  expect(await redis.pttl(`${prefix}:source:{${ledger.mark}}:item:a-1`)).toBeGreaterThan(86_400_000);
});

test('a new note makes unsettled what was settled', async () => {
  const item = await begun('a-1');
  await ledger.settle(item, 'released', false);
  await ledger.put(item, 'claim:1', 'again');
  expect((await entry('a-1'))?.settledAt).toBeNull();
});

test('only one bridge is in its turn, and the next one is when it has ended', async () => {
  const inside: string[] = [];
  const first = ledger.inTurn(async () => {
    inside.push('first');
    expect(await ledger.inTurn(async () => inside.push('second'))).toBeNull();
  });
  await first;
  await ledger.inTurn(async () => inside.push('third'));
  expect(inside).toEqual(['first', 'third']);
});

test('whoever was stopped in its turn is told that it may be somebody else’s', async () => {
  let isOver = false;
  await ledger.inTurn(async over => {
    const [key] = await redis.keys(`${prefix}:source:*:turn`);
    await redis.set(key ?? '', 'somebody else');
    await vi.waitUntil(() => over.aborted, { timeout: 10_000 });
    isOver = over.aborted;
  });
  expect(isOver).toBe(true);
  // And does not end theirs.
  expect(await redis.keys(`${prefix}:source:*:turn`)).toHaveLength(1);
});

test('a pool has one name, whoever asks first', async () => {
  const names = await Promise.all(Array.from({ length: 5 }, () => poolId(redis, prefix)));
  expect(new Set(names).size).toBe(1);
  expect(names[0]).toMatch(/^[0-9a-f]{6}$/);
  expect(await poolId(redis, server.prefix())).not.toBe(names[0]);
});

test('an item that could not be a task id is refused before it becomes part of a key', async () => {
  await expect(ledger.begin('a:b', 0, 'a-b')).rejects.toMatchObject({ code: 'INVALID_INPUT' });
});
