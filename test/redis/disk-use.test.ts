import type { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { DiskUses } from '../../src/redis/disk-use.ts';
import { diskKeys } from '../../src/redis/keys.ts';
import { redisForFile } from './support.ts';

let server: Awaited<ReturnType<typeof redisForFile>>;
let redis: Redis;
beforeAll(async () => {
  server = await redisForFile();
  redis = server.client();
});
afterAll(() => server.close());

let prefixes = 0;
function fresh() {
  prefixes += 1;
  const prefix = `disk-${prefixes}`;
  return { uses: new DiskUses(redis, { prefix }), keys: diskKeys(prefix) };
}

const use = (more = {}) => ({ artifactsBytes: 1, mirrorsBytes: 2, cellsBytes: 3, at: Date.now(), ...more });

test('each host is told as it was measured last', async () => {
  const { uses } = fresh();
  const [first, second] = [use(), use({ artifactsBytes: 9 })];
  await uses.write('two', first);
  await uses.write('one', use());
  await uses.write('one', second);
  expect([...(await uses.list())]).toEqual([
    ['one', second],
    ['two', first],
  ]);
});

test('a host that nobody has measured for a day is gone, and so is nonsense', async () => {
  const { uses, keys } = fresh();
  const fresh1 = use();
  await uses.write('here', fresh1);
  await uses.write('gone', use({ at: Date.now() - 90_000_000 }));
  await redis.hset(keys.uses, { text: 'no JSON', shape: '{"at": 5}' });
  expect(await uses.list()).toEqual(new Map([['here', fresh1]]));
  expect(await redis.hkeys(keys.uses)).toEqual(['here']);
});

test('of all who ask for a state folder of a host one gets the turn, and the next one when its time is over', async () => {
  const { uses, keys } = fresh();
  const asked = await Promise.all([1, 2, 3].map(() => uses.takeTurn('here', '/home', 60_000)));
  expect(asked.filter(Boolean)).toHaveLength(1);
  expect(await uses.takeTurn('here', '/other', 60_000)).toBe(true);
  expect(await uses.takeTurn('there', '/home', 60_000)).toBe(true);
  const turns = await redis.keys(`${keys.turn}*`);
  expect(turns).toHaveLength(3);
  for (const turn of turns) expect(await redis.pttl(turn)).toBeGreaterThan(0);
  await redis.del(turns);
  expect(await uses.takeTurn('here', '/home', 60_000)).toBe(true);
});
