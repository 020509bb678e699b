import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { type CellRecord, isCellId } from '../../src/redis/cell-record.ts';
import { cellKeys } from '../../src/redis/keys.ts';
import { CellRegistry } from '../../src/redis/registry.ts';
import { BOUND } from '../support/bound.ts';
import { redisForFile, temporaryFolder } from './support.ts';

let server: Awaited<ReturnType<typeof redisForFile>>;
let redis: Redis;
beforeAll(async () => {
  server = await redisForFile();
  redis = server.client();
});
afterAll(() => server.close());

let hosts = 0;
function fresh() {
  hosts += 1;
  const [host, home, prefix] = [`host-${hosts}`, temporaryFolder(), 'registry'];
  const folder = join(home, 'registry');
  const file = (name: string) => join(folder, name);
  const record = (cellId = 'task.0123abcd', more: Partial<CellRecord> = {}): CellRecord => ({
    version: 1,
    cellId,
    host,
    home,
    worker: { id: 'w', pid: 7, startTime: '1234', bootId: 'boot', pidNamespace: 'pid:[1]' },
    taskId: 'task',
    attempt: 1,
    job: { token: 'token', enqueuedAt: 1_700_000_000_000 },
    repository: '/repository',
    mirror: '/mirror',
    artifacts: '/artifacts',
    workspace: '/workspace',
    isolation: 'process',
    port: null,
    server: null,
    stage: 'spawn',
    abandoned: false,
    createdAt: 1_700_000_000_001,
    ...more,
  });
  const open = () => new CellRegistry(redis, { prefix, host, home });
  return { cells: open(), open, record, file, folder, keys: cellKeys(prefix, host) };
}

test('a cell that is registered stands in Redis and on disk as it was told, and anybody of the host finds it', async () => {
  const { cells, open, record, file, keys } = fresh();
  await cells.register(record());
  const entry = { cellId: 'task.0123abcd', record: record(), fault: null, onDisk: true, inRedis: true };
  expect(await open().list()).toEqual([{ ...entry, beatAt: expect.any(Number) }]);
  expect(JSON.parse(readFileSync(file('task.0123abcd.json'), 'utf8'))).toEqual(record());
  expect(JSON.parse((await redis.hget(keys.records, 'task.0123abcd')) ?? '')).toEqual(record());
});

test('what became known of a cell stands in both places; of a cell that is not ours nothing is entered', async () => {
  const { cells, open, record } = fresh();
  await cells.register(record());
  const news = { port: { port: 9_000, token: '5' }, server: { pid: 8, startTime: '99' } };
  await cells.update('task.0123abcd', news);
  await open().update('task.0123abcd', { abandoned: true });
  await cells.update('other.0123abcd', news);
  expect((await cells.list()).map(entry => entry.record)).toEqual([record('task.0123abcd', news)]);
});

test('a cell that was made ahead belongs to no task until it is given one, which both places say then', async () => {
  const { cells, record } = fresh();
  const ahead = record('warm.0123abcd', { taskId: null, attempt: 0, stage: 'warm' });
  await cells.register(ahead);
  expect((await cells.list()).map(entry => entry.record)).toEqual([ahead]);
  const given = { taskId: 'task', attempt: 2, job: { token: 't', enqueuedAt: 5 }, stage: 'spawn' as const };
  await cells.update('warm.0123abcd', given);
  expect((await cells.list()).map(entry => [entry.record, entry.onDisk, entry.inRedis])).toEqual([
    [{ ...ahead, ...given }, true, true],
  ]);
});

test('a place in which a lander runs tests is entered without a task, attempt or port', async () => {
  const { cells, record } = fresh();
  const place = record('landing.0123abcd', { taskId: null, attempt: 0, stage: 'landing', port: null, server: null });
  await cells.register(place);
  expect((await cells.list()).map(entry => [entry.record, entry.onDisk, entry.inRedis])).toEqual([[place, true, true]]);
});

test('the stage is told in Redis', async () => {
  const { cells, record, keys } = fresh();
  await cells.register(record());
  cells.stage('task.0123abcd', 'execute');
  cells.stage('other.0123abcd', 'execute');
  await vi.waitFor(async () => {
    expect(JSON.parse((await redis.hget(keys.records, 'task.0123abcd')) ?? '')).toMatchObject({ stage: 'execute' });
  }, BOUND);
  expect(await redis.hlen(keys.records)).toBe(1);
});

test('either copy alone is enough to find a cell by', async () => {
  const { cells, record, file, keys } = fresh();
  await cells.register(record('disk.00000001'));
  await cells.register(record('redis.00000002'));
  await redis.hdel(keys.records, 'disk.00000001');
  await redis.hdel(keys.beats, 'disk.00000001');
  rmSync(file('redis.00000002.json'));
  expect(await cells.list()).toMatchObject([
    { cellId: 'disk.00000001', onDisk: true, inRedis: false, beatAt: null, fault: null },
    { cellId: 'redis.00000002', onDisk: false, inRedis: true, beatAt: expect.any(Number), fault: null },
  ]);
});

test('the copy on disk counts where the two differ', async () => {
  const { cells, record, keys } = fresh();
  await cells.register(record());
  await redis.hset(keys.records, 'task.0123abcd', JSON.stringify(record('task.0123abcd', { mirror: '/elsewhere' })));
  expect((await cells.list()).map(entry => entry.record?.mirror)).toEqual(['/mirror']);
});

test('nonsense in Redis is an entry with a fault each, and hides no other', async () => {
  const { cells, record, keys } = fresh();
  await cells.register(record());
  const nonsense: Record<string, string> = {
    'a.00000001': '',
    'a.00000002': 'null',
    'a.00000003': '{"version":1}',
    'a.00000004': JSON.stringify(record('b.00000004')),
    'a.00000005': JSON.stringify(record('a.00000005', { home: 'relative' })),
    '../../etc': JSON.stringify(record('../../etc')),
    '': 'x',
  };
  await redis.hset(keys.records, nonsense);
  await redis.hset(keys.beats, 'task.0123abcd', 'no number');
  const entries = await cells.list();
  const bad = entries.filter(({ fault }) => fault !== null);
  expect(bad.map(({ cellId }) => cellId).sort()).toEqual(Object.keys(nonsense).sort());
  for (const entry of bad) expect(entry).toMatchObject({ record: null, fault: expect.stringMatching(/./) });
  expect(entries.find(({ fault }) => fault === null)).toMatchObject({ record: record(), beatAt: null });
});

test('nonsense and half-written files on disk are entries with a fault, and hide no other', async () => {
  const { cells, record, file } = fresh();
  await cells.register(record());
  writeFileSync(file('half.00000001.json'), JSON.stringify(record('half.00000001')).slice(0, 90));
  writeFileSync(file('empty.00000002.json'), '');
  writeFileSync(file('no id.json'), JSON.stringify(record('no id')));
  writeFileSync(file('task.00000003.json.1.new'), 'a write that never ended');
  mkdirSync(file('folder.00000004.json'));
  const entries = await cells.list();
  expect(entries.map(({ cellId, fault }) => [cellId, fault === null])).toEqual([
    ['empty.00000002', false],
    ['half.00000001', false],
    ['no id', false],
    ['task.0123abcd', true],
  ]);
});

test('a record that cannot be written leaves no half of it, and the good one before it as it was', async () => {
  const { cells, record, file, folder } = fresh();
  await cells.register(record());
  rmSync(file('task.0123abcd.json'));
  mkdirSync(file('task.0123abcd.json'));
  await expect(cells.update('task.0123abcd', { abandoned: true })).rejects.toThrow(/EISDIR|directory/);
  expect(readdirSync(folder)).toEqual(['task.0123abcd.json']);
});

test('erasing takes out both copies and the sign of life, of any process, twice too', async () => {
  const { cells, open, record, folder, keys } = fresh();
  await cells.register(record());
  await open().erase('task.0123abcd');
  await cells.erase('task.0123abcd');
  expect(await cells.list()).toEqual([]);
  expect(readdirSync(folder)).toEqual([]);
  expect(await redis.exists(keys.records, keys.beats)).toBe(0);
});

test('an abandoned cell stays, marked for the reaper, and its worker no longer speaks for it', async () => {
  const { cells, record, keys } = fresh();
  await cells.register(record());
  await cells.abandon('task.0123abcd');
  expect(await cells.list()).toMatchObject([{ record: { abandoned: true }, onDisk: true, inRedis: true }]);
  await redis.hset(keys.beats, 'task.0123abcd', '1');
  await cells.beat();
  expect(await redis.hget(keys.beats, 'task.0123abcd')).toBe('1');
});

test('a beat is a sign of life for the cells of this process only', async () => {
  const { cells, open, record, keys } = fresh();
  const other = open();
  await cells.register(record('mine.00000001'));
  await other.register(record('theirs.00000002'));
  await redis.hset(keys.beats, { 'mine.00000001': '1', 'theirs.00000002': '1' });
  await cells.beat();
  const beats = (await cells.list()).map(({ beatAt }) => beatAt);
  expect(beats[0]).toBeGreaterThan(1);
  expect(beats[1]).toBe(1);
});

test('an id that tries to leave the folder is no cell, and erasing it removes nothing', async () => {
  const { cells, record, folder } = fresh();
  await cells.register(record());
  const outside = join(dirname(folder), 'victim.00000001.json');
  writeFileSync(outside, 'precious');
  const ids = ['../victim.00000001', '/etc/x.00000001', '..', '', '.00000001', 'a/b.00000001', 'a.0000000G', 'a.1'];
  for (const id of ids) {
    expect(isCellId(id)).toBe(false);
    await cells.erase(id);
  }
  expect(readFileSync(outside, 'utf8')).toBe('precious');
  expect(await cells.list()).toHaveLength(1);
});

test('a registry nobody has written to is empty', async () => {
  expect(await fresh().cells.list()).toEqual([]);
});

test('a cell that is erased while it is being entered leaves no record', async () => {
  const { cells, record, folder } = fresh();
  const entering = cells.register(record());
  await cells.erase('task.0123abcd');
  await entering;
  expect(await cells.list()).toEqual([]);
  expect(readdirSync(folder)).toEqual([]);
});
