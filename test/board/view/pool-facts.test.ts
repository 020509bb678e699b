import { afterAll, beforeAll, expect, test } from 'vitest';
import { readPool } from '../../../src/board/view/pool-facts.ts';
import { CellMemory } from '../../../src/redis/cell-memory.ts';
import { Cooldowns } from '../../../src/redis/cooldown.ts';
import { cellKeys, endedKeys, hostsKey } from '../../../src/redis/keys.ts';
import { Tally } from '../../../src/redis/tally.ts';
import { addJob, jobOf, resultOf, untilState } from '../../support/jobs.ts';
import { cellRecord, enterCell, enterWorker, jobOfQueue, progressOf } from '../../support/pool.ts';
import { type TestRedis, testRedis } from '../../support/redis.ts';
import { makePool } from './support.ts';

let redis: TestRedis;
beforeAll(async () => {
  redis = await testRedis();
});
afterAll(() => redis.close());

const NOTHING = { hours: 0, latest: 0 };

test('a pool that nobody has used yet is empty, and has its hours all the same', async () => {
  const pool = await makePool(redis);
  const facts = await readPool(pool, { hours: 3, latest: 10 });
  expect(facts).toMatchObject({ prefix: pool.prefix, workers: [], cells: [], cooldowns: [], latest: [] });
  expect(facts.queues).toEqual([
    { name: 'tasks', paused: false, waiting: 0, running: 0, delayed: 0, completed: 0, failed: 0 },
  ]);
  const present = Math.floor(facts.at / 3_600_000) * 3_600_000;
  const hours = facts.hours.map(({ from }) => from);
  // The hour may have changed since the pool was read.
  expect([present, present + 3_600_000]).toContain(hours.at(-1));
  expect(hours.map(from => from - (hours[0] ?? 0))).toEqual([0, 3_600_000, 7_200_000]);
});

test('a cell is told with what its record and its job say', async () => {
  const pool = await makePool(redis);
  await addJob(pool.queue, jobOf('fix', { title: 'Fix it', tokenBudget: 1_000, model: 'a/b' }));
  const job = await jobOfQueue(pool.queue, 'fix');
  const site = pool.site('one');
  const record = { ...cellRecord('fix', 1, site), attempt: 2, job: { token: 't', enqueuedAt: job.timestamp } };
  await job.updateProgress(progressOf(record, 345));
  await enterCell(site, record);
  await new CellMemory(pool.redis, pool).write('one', new Map([[record.cellId, 4_096]]));
  const { cells } = await readPool(pool, NOTHING);
  expect(cells).toEqual([
    {
      ...{ cellId: 'fix.00000001', host: 'one', workerId: 'one.w', taskId: 'fix', title: 'Fix it' },
      ...{ repository: '/repo', attempt: 2, stage: 'execute', startedAt: record.createdAt },
      ...{ tokensUsed: 345, tokenBudget: 1_000, model: 'a/b', memoryBytes: 4_096, port: 9_001 },
      ...{ isolation: 'process', artifacts: record.artifacts, lastSignAt: expect.any(Number), abandoned: false },
    },
  ]);
});

test('a cell on a repository that was named by URL is told with the URL, not with the cache of its host', async () => {
  const pool = await makePool(redis);
  const url = 'https://example.org/app.git';
  await addJob(pool.queue, jobOf('fix', {}, url));
  const job = await jobOfQueue(pool.queue, 'fix');
  const site = pool.site('one');
  const ofCell = cellRecord('fix', 1, site);
  await enterCell(site, { ...ofCell, repository: '/home/remotes/abc', job: { token: 't', enqueuedAt: job.timestamp } });
  const { cells } = await readPool(pool, NOTHING);
  expect(cells.map(({ repository }) => repository)).toEqual([url]);
});

test('the cells of all hosts are told, by host and start, whether a worker of theirs lives or not', async () => {
  const pool = await makePool(redis);
  for (const [host, task, mark] of [
    ['two', 'c', 3],
    ['one', 'b', 2],
    ['one', 'a', 1],
  ] as const) {
    await enterCell(pool.site(host), cellRecord(task, mark, pool.site(host)));
  }
  await enterWorker(pool.site('two'), ['c']);
  const { cells, workers } = await readPool(pool, NOTHING);
  expect(cells.map(({ host, taskId }) => [host, taskId])).toEqual([
    ['one', 'a'],
    ['one', 'b'],
    ['two', 'c'],
  ]);
  expect(workers.map(({ host, running, concurrency }) => [host, running, concurrency])).toEqual([['two', 1, 4]]);
});

test('a job that was put on the queue anew lends nothing to a cell of the one before', async () => {
  const pool = await makePool(redis);
  await addJob(pool.queue, jobOf('fix', { title: 'Another' }));
  const job = await jobOfQueue(pool.queue, 'fix');
  const site = pool.site('one');
  const record = { ...cellRecord('fix', 1, site), job: { token: 't', enqueuedAt: job.timestamp - 1 } };
  await job.updateProgress(progressOf(record, 345));
  await enterCell(site, record);
  const { cells } = await readPool(pool, NOTHING);
  expect(cells).toMatchObject([{ taskId: 'fix', title: null, tokensUsed: 0, tokenBudget: null, model: null }]);
});

test('tokens that the job tells of another cell are not those of this one', async () => {
  const pool = await makePool(redis);
  await addJob(pool.queue, jobOf('fix'));
  const job = await jobOfQueue(pool.queue, 'fix');
  const site = pool.site('one');
  await job.updateProgress(progressOf(cellRecord('fix', 9, site), 345));
  await enterCell(site, cellRecord('fix', 1, site));
  expect((await readPool(pool, NOTHING)).cells).toMatchObject([{ cellId: 'fix.00000001', tokensUsed: 0 }]);
});

test('nonsense in registry, index and jobs hides no cell', async () => {
  const pool = await makePool(redis);
  const site = pool.site('one');
  await enterCell(site, cellRecord('good', 1, site));
  const keys = cellKeys(pool.prefix, 'one');
  await pool.redis.hset(keys.records, { 'bad.00000002': '{', 'odd.00000003': 'null', '../x': '[]' });
  await pool.redis.hset(keys.beats, 'good.00000001', 'never');
  await pool.redis.zadd(hostsKey(pool.prefix), 1, '', 2, 'a b', 3, '{x}', 4, 'wrong');
  await pool.redis.set(cellKeys(pool.prefix, 'wrong').records, 'no hash');
  await pool.redis.set(pool.queue.toKey('good'), 'no hash either');
  expect((await readPool(pool, NOTHING)).cells).toMatchObject([
    { cellId: 'good.00000001', title: null, tokenBudget: null, lastSignAt: null },
  ]);
});

test('the attempts that were counted are told by their hour', async () => {
  const pool = await makePool(redis);
  const tally = new Tally(pool.redis, pool);
  await tally.add({ ...resultOf('a', 'committed'), tokensUsed: 20, costUsd: 0.5 });
  await tally.add({ ...resultOf('b', 'reverted'), tokensUsed: 3 });
  const { hours } = await readPool(pool, { hours: 2, latest: 0 });
  // The hour may have changed in between.
  const sum = (of: (hour: (typeof hours)[number]) => number) => hours.reduce((all, hour) => all + of(hour), 0);
  expect(sum(({ outcomes }) => outcomes.committed ?? 0)).toBe(1);
  expect(sum(({ outcomes }) => outcomes.reverted ?? 0)).toBe(1);
  expect([sum(({ tokens }) => tokens), sum(({ costUsd }) => costUsd)]).toEqual([23, 0.5]);
});

test('the queue is told with all that stands on it, and whether it is paused', async () => {
  const pool = await makePool(redis);
  await pool.end(['done-1', 'done-2'], 'committed');
  await pool.end(['bad'], 'failed');
  await addJob(pool.queue, jobOf('runs'));
  await pool.work(() => new Promise(() => undefined));
  await untilState(pool.queue, 'runs', 'active');
  await pool.queue.pause();
  for (const id of ['w-1', 'w-2']) await addJob(pool.queue, jobOf(id));
  await addJob(pool.queue, jobOf('first', { priority: 1 }));
  await addJob(pool.queue, jobOf('later'), 60_000);
  expect((await readPool(pool, NOTHING)).queues).toEqual([
    { name: 'tasks', paused: true, waiting: 3, running: 1, delayed: 1, completed: 2, failed: 1 },
  ]);
});

test('cool-downs are told with their reason and end', async () => {
  const pool = await makePool(redis);
  await new Cooldowns(pool.redis, pool).report('a/b', { kind: 'busy', reason: 'overloaded', retryAfterMs: 60_000 });
  const { cooldowns, at } = await readPool(pool, NOTHING);
  expect(cooldowns).toEqual([{ name: 'a/b', kind: 'busy', reason: 'overloaded', until: expect.any(Number) }]);
  expect(cooldowns[0]?.until).toBeGreaterThan(at);
});

test('the latest ended tasks come first, whether they ended well or not', async () => {
  const pool = await makePool(redis);
  await pool.end(['one'], 'committed', { title: 'First' });
  await pool.end(['two'], 'reverted');
  const [third] = await pool.end(['three'], 'no-changes');
  const { latest } = await readPool(pool, { hours: 0, latest: 2 });
  expect(latest.map(({ taskId, failed, result }) => [taskId, failed, result?.outcome])).toEqual([
    ['three', false, 'no-changes'],
    ['two', true, 'reverted'],
  ]);
  expect(latest[0]).toEqual({
    ...{ taskId: 'three', title: null, repository: '/repo', endedAt: expect.any(Number), failed: false, result: third },
  });
});

test('an ended job that holds nonsense is told with as little as can be read of it', async () => {
  const pool = await makePool(redis);
  await pool.end(['odd'], 'committed');
  await pool.redis.hset(pool.queue.toKey('odd'), { data: '{', returnvalue: '"x"' });
  await pool.redis.zadd(endedKeys(pool.prefix).failed, Date.now() + 1_000, 'gone');
  const { latest } = await readPool(pool, { hours: 0, latest: 10 });
  expect(latest).toEqual([
    { taskId: 'odd', title: null, repository: '', endedAt: expect.any(Number), failed: false, result: null },
  ]);
});

test('only as many jobs are read as are told of, however many have ended', async () => {
  const pool = await makePool(redis);
  await pool.end(
    Array.from({ length: 60 }, (_, index) => `done-${index}`),
    'committed',
  );
  const site = pool.site('one');
  for (const mark of [1, 2, 3]) await enterCell(site, cellRecord(`runs-${mark}`, mark, site));
  // A connection of its own, so that nothing else is counted that the file's other clients do meanwhile.
  await pool.redis.config('RESETSTAT');
  await readPool(pool, { hours: 24, latest: 5 });
  const calls = await pool.redis.info('commandstats');
  const count = (command: string) => Number(new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(calls)?.[1] ?? 0);
  expect(count('hmget')).toBe(5 + 3);
  expect(count('zrevrange')).toBe(3);
  expect([count('keys'), count('scan')]).toEqual([0, 0]);
});
