import type { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { InvalidInput } from '../../src/errors.ts';
import { workerKeys } from '../../src/redis/keys.ts';
import { type WorkerEntry, WorkerList } from '../../src/redis/worker-list.ts';
import { redisForFile } from './support.ts';

let server: Awaited<ReturnType<typeof redisForFile>>;
let redis: Redis;
beforeAll(async () => {
  server = await redisForFile();
  redis = server.client();
});
afterAll(() => server.close());

let prefixes = 0;
function newList(): { workers: WorkerList; keys: ReturnType<typeof workerKeys> } {
  prefixes += 1;
  const prefix = `workers-${prefixes}`;
  return { workers: new WorkerList(redis, { prefix }), keys: workerKeys(prefix) };
}

const entry = (id: string, more: Partial<WorkerEntry> = {}): WorkerEntry => ({
  id,
  host: 'here',
  pid: 7,
  startTime: '1234',
  bootId: 'boot',
  startedAt: 1_700_000_000_000,
  concurrency: 3,
  running: ['a', 'b'],
  draining: false,
  ...more,
});

/** As if the worker had last said something so long ago. */
const age = (key: string, id: string, ms: number) => redis.zincrby(key, -ms, id);
const ids = async (workers: WorkerList) => (await workers.list()).map(({ id }) => id);

test('a worker is listed as it last told, with when that was by the clock of Redis', async () => {
  const { workers } = newList();
  await workers.beat(entry('b', { running: [] }));
  await workers.beat(entry('a'));
  await workers.beat(entry('b', { running: ['c'], draining: true }));
  const now = Number((await redis.time())[0]) * 1_000;
  const listed = await workers.list();
  expect(listed.map(({ beatAt: _, ...told }) => told)).toEqual([
    entry('a'),
    entry('b', { running: ['c'], draining: true }),
  ]);
  for (const { beatAt } of listed) expect(Math.abs(beatAt - now)).toBeLessThan(10_000);
});

test('a worker that ends is off the list at once, and its mark is gone', async () => {
  const { workers, keys } = newList();
  await workers.beat(entry('a'));
  await workers.askToDrain(null);
  await workers.remove('a');
  await workers.remove('a');
  expect(await workers.list()).toEqual([]);
  expect(await redis.exists(keys.entries, keys.beats, keys.drains)).toBe(0);
});

test('a worker that was silent for more than 30 s is off the list and removed, and back with its next beat', async () => {
  const { workers, keys } = newList();
  await workers.beat(entry('a'));
  await workers.beat(entry('b'));
  await age(keys.beats, 'a', 25_000);
  expect(await ids(workers)).toEqual(['a', 'b']);
  await age(keys.beats, 'a', 6_000);
  expect(await ids(workers)).toEqual(['b']);
  expect(await redis.hexists(keys.entries, 'a')).toBe(0);
  await workers.beat(entry('a'));
  expect(await ids(workers)).toEqual(['a', 'b']);
});

test('dead workers do not pile up where nobody asks for the list', async () => {
  const { workers, keys } = newList();
  await workers.beat(entry('a'));
  await age(keys.beats, 'a', 31_000);
  await workers.beat(entry('b'));
  expect(await redis.hkeys(keys.entries)).toEqual(['b']);
});

test('a worker that died before the clock of Redis was set back is off the list', async () => {
  const { workers, keys } = newList();
  await workers.beat(entry('a'));
  await age(keys.beats, 'a', -3_600_000);
  expect(await workers.list()).toEqual([]);
});

test('a worker asked to drain learns it from every beat that follows; others, and later ones, do not', async () => {
  const { workers } = newList();
  await workers.beat(entry('a'));
  await workers.beat(entry('b', { host: 'there' }));
  expect(await workers.askToDrain('here')).toEqual(['a']);
  expect(await workers.beat(entry('a'))).toEqual({ drain: true });
  expect(await workers.beat(entry('a', { draining: true }))).toEqual({ drain: true });
  expect(await workers.beat(entry('b', { host: 'there' }))).toEqual({ drain: false });
  expect(await workers.beat(entry('c'))).toEqual({ drain: false });
});

test('asking all hosts marks every worker, and asking where there is none marks nobody', async () => {
  const { workers } = newList();
  expect(await workers.askToDrain(null)).toEqual([]);
  await workers.beat(entry('a'));
  await workers.beat(entry('b', { host: 'there' }));
  expect(await workers.askToDrain('elsewhere')).toEqual([]);
  expect(await workers.askToDrain(null)).toEqual(['a', 'b']);
});

test('a worker that was off the list after it had been asked drains all the same', async () => {
  const { workers, keys } = newList();
  await workers.beat(entry('a'));
  await workers.askToDrain(null);
  await age(keys.beats, 'a', 60_000);
  expect(await workers.list()).toEqual([]);
  expect(await workers.beat(entry('a'))).toEqual({ drain: true });
});

test('a mark for a worker that never came back is gone after a day', async () => {
  const { workers, keys } = newList();
  await workers.beat(entry('a'));
  await workers.askToDrain(null);
  await age(keys.drains, 'a', 90_000_000);
  await workers.beat(entry('b'));
  expect(await redis.zcard(keys.drains)).toBe(0);
});

test('nonsense in Redis is passed over, and hides nobody', async () => {
  const { workers, keys } = newList();
  await workers.beat(entry('good'));
  const nonsense: Record<string, string> = {
    'no-json': '{',
    null: 'null',
    'other-id': JSON.stringify(entry('good')),
    'no-pid': JSON.stringify({ ...entry('no-pid'), pid: -1 }),
    'bad-task': JSON.stringify(entry('bad-task', { running: ['../x'] })),
    __proto__x: JSON.stringify({ id: '__proto__x' }),
  };
  for (const [id, text] of Object.entries(nonsense)) {
    await redis.hset(keys.entries, id, text);
    await redis.zadd(keys.beats, Date.now(), id);
  }
  await redis.hset(keys.entries, 'no-beat', JSON.stringify(entry('no-beat')));
  await redis.zadd(keys.beats, Date.now(), 'no-entry');
  expect(await ids(workers)).toEqual(['good']);
  expect(await workers.askToDrain(null)).toEqual(['good']);
  expect(await redis.hexists(keys.entries, 'no-beat')).toBe(0);
});

test('a prefix that would break the keys is refused', () => {
  expect(() => new WorkerList(redis, { prefix: 'a{b}' })).toThrow(InvalidInput);
});
