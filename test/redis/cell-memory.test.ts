import type { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { CellMemory } from '../../src/redis/cell-memory.ts';
import { cellKeys } from '../../src/redis/keys.ts';
import { CellRegistry } from '../../src/redis/registry.ts';
import { redisForFile, temporaryFolder } from './support.ts';

let server: Awaited<ReturnType<typeof redisForFile>>;
let redis: Redis;
beforeAll(async () => {
  server = await redisForFile();
  redis = server.client();
});
afterAll(() => server.close());

let prefixes = 0;
/** Hosts with these cells in their registries. */
async function hosts(cells: Record<string, string[]>) {
  prefixes += 1;
  const prefix = `memory-${prefixes}`;
  for (const [host, ids] of Object.entries(cells)) {
    const { records } = cellKeys(prefix, host);
    for (const id of ids) await redis.hset(records, id, '{}');
  }
  return { prefix, memory: new CellMemory(redis, { prefix }) };
}

test('the memory of the cells of all hosts is told as it was last seen', async () => {
  const { memory } = await hosts({ one: ['a.00000001', 'b.00000002'], two: ['c.00000003'] });
  await memory.write('one', new Map([['a.00000001', 5]]));
  await memory.write(
    'one',
    new Map([
      ['a.00000001', 700_000_000.4],
      ['b.00000002', 6],
    ]),
  );
  await memory.write('two', new Map([['c.00000003', 7]]));
  await memory.write('two', new Map());
  expect([...(await memory.read(['one', 'two', 'three']))].sort()).toEqual([
    ['a.00000001', 700_000_000],
    ['b.00000002', 6],
    ['c.00000003', 7],
  ]);
  expect(await memory.read([])).toEqual(new Map());
});

test('a cell that is gone has no entry, however late somebody comes with it, and takes that of others along', async () => {
  const { prefix, memory } = await hosts({ one: ['a.00000001', 'b.00000002'] });
  await memory.write('one', new Map([['a.00000001', 5]]));
  const { records } = cellKeys(prefix, 'one');
  await redis.hdel(records, 'a.00000001');
  await memory.write('one', new Map([['b.00000002', 6]]));
  expect(await memory.read(['one'])).toEqual(new Map([['b.00000002', 6]]));
  await redis.hdel(records, 'b.00000002');
  await memory.write('one', new Map([['b.00000002', 6]]));
  expect(await memory.read(['one'])).toEqual(new Map());
});

test('the registry erases the entry with its cell', async () => {
  const { prefix, memory } = await hosts({ one: ['a.00000001'] });
  await memory.write('one', new Map([['a.00000001', 5]]));
  await new CellRegistry(redis, { prefix, host: 'one', home: temporaryFolder() }).erase('a.00000001');
  expect(await redis.exists(cellKeys(prefix, 'one').memory)).toBe(0);
});

test('nonsense that somebody else has written is passed over, and does not stay in the way', async () => {
  const { prefix, memory } = await hosts({ one: ['a.00000001'], two: ['b.00000002'] });
  await redis.hset(cellKeys(prefix, 'one').memory, { 'a.00000001': 'much', 'x.00000009': '-1' });
  await redis.set(cellKeys(prefix, 'two').memory, 'no hash');
  expect(await memory.read(['one', 'two'])).toEqual(new Map());
  await memory.write('two', new Map([['b.00000002', 6]]));
  expect(await memory.read(['one', 'two'])).toEqual(new Map([['b.00000002', 6]]));
});
