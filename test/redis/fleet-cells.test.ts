import type { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { FleetCells } from '../../src/redis/fleet-cells.ts';
import { cellKeys, hostsKey } from '../../src/redis/keys.ts';
import { cellRecord, enterCell } from '../support/pool.ts';
import { redisForFile, temporaryFolder } from './support.ts';

let server: Awaited<ReturnType<typeof redisForFile>>;
let redis: Redis;
beforeAll(async () => {
  server = await redisForFile();
  redis = server.client();
});
afterAll(() => server.close());

let pools = 0;
function fresh() {
  pools += 1;
  const prefix = `fleet-${pools}`;
  const home = temporaryFolder();
  return { prefix, site: (host: string) => ({ redis, prefix, host, home }), cells: new FleetCells(redis, { prefix }) };
}

const DAY_MS = 86_400_000;

test('a cell is found by anybody who reaches Redis, as long as it is entered', async () => {
  const { site, cells } = fresh();
  const record = cellRecord('task', 1, site('one'));
  const registry = await enterCell(site('one'), record);
  expect(await cells.list()).toEqual([{ host: 'one', record, beatAt: expect.any(Number) }]);
  await registry.erase(record.cellId);
  expect(await cells.list()).toEqual([]);
});

test('the host is the one that the registry names, whatever a record says', async () => {
  const { site, cells } = fresh();
  await enterCell(site('one'), { ...cellRecord('task', 1, site('one')), host: 'other' });
  expect((await cells.list()).map(({ host }) => host)).toEqual(['one']);
});

test('a host that Redis has forgotten is known again with the next beat', async () => {
  const { prefix, site, cells } = fresh();
  const registry = await enterCell(site('one'), cellRecord('task', 1, site('one')));
  await redis.del(hostsKey(prefix));
  expect(await cells.list()).toEqual([]);
  await registry.beat();
  expect(await cells.list()).toHaveLength(1);
});

test('a host without cells is forgotten after a day; one with a cell never, however long it is silent', async () => {
  const { prefix, site, cells } = fresh();
  await enterCell(site('full'), cellRecord('task', 1, site('full')));
  const registry = await enterCell(site('empty'), cellRecord('task', 2, site('empty')));
  await registry.erase('task.00000002');
  const hosts = hostsKey(prefix);
  await redis.zadd(hosts, Date.now() - DAY_MS / 2, 'empty', Date.now() - 30 * DAY_MS, 'full');
  await cells.list();
  expect(await redis.zrange(hosts, '0', '-1')).toEqual(['full', 'empty']);
  await redis.zadd(hosts, Date.now() - 2 * DAY_MS, 'empty');
  expect((await cells.list()).map(({ host }) => host)).toEqual(['full']);
  expect(await redis.zrange(hosts, '0', '-1')).toEqual(['full']);
});

test('keys of another type than ours are passed over', async () => {
  const { prefix, site, cells } = fresh();
  await enterCell(site('one'), cellRecord('task', 1, site('one')));
  await redis.zadd(hostsKey(prefix), 1, 'wrong');
  await redis.set(cellKeys(prefix, 'wrong').records, 'text');
  await redis.set(cellKeys(prefix, 'wrong').beats, 'text');
  expect((await cells.list()).map(({ host }) => host)).toEqual(['one']);
});
