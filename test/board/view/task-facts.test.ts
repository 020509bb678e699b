import { afterAll, beforeAll, expect, test } from 'vitest';
import { readTask } from '../../../src/board/view/task-facts.ts';
import { addJob, jobOf, untilState } from '../../support/jobs.ts';
import { cellRecord, enterCell, jobOfQueue, progressOf } from '../../support/pool.ts';
import { type TestRedis, testRedis } from '../../support/redis.ts';
import { makePool } from './support.ts';

let redis: TestRedis;
beforeAll(async () => {
  redis = await testRedis();
});
afterAll(() => redis.close());

test('a task that waits is told with all that it asks for', async () => {
  const pool = await makePool(redis);
  const task = { title: 'Page', test: 'npm test', base: 'develop', tokenBudget: 9, timeoutMs: 8, dependsOn: ['api'] };
  const data = jobOf('page', { ...task, model: 'a/b', attempts: 2 });
  await addJob(pool.queue, { ...data, plan: { ...data.plan, setup: 'npm ci' } });
  expect(await readTask(pool, 'page')).toEqual({
    ...{ taskId: 'page', title: 'Page', repository: '/repo', state: 'waiting', attempt: 0, attempts: 2, outcome: null },
    ...{ enqueuedAt: expect.any(Number), endedAt: null, waitsFor: null, fault: null, prompt: 'do it', base: 'develop' },
    ...{ test: 'npm test', setup: 'npm ci', model: 'a/b', timeoutMs: 8, tokenBudget: 9, dependsOn: ['api'] },
    ...{ tokensUsed: 0, cell: null, results: [], log: [], lands: null, landings: [] },
  });
});

test('the model of a task that names none is that of its plan', async () => {
  const pool = await makePool(redis);
  const data = jobOf('plain');
  await addJob(pool.queue, { ...data, plan: { ...data.plan, opencode: { model: 'c/d' } } });
  expect((await readTask(pool, 'plain'))?.model).toBe('c/d');
});

test('one that runs is told with its cell, and the tokens of all attempts together', async () => {
  const pool = await makePool(redis);
  await addJob(pool.queue, { ...jobOf('runs'), spent: { tokens: 100, executionMs: 5 } });
  await pool.work(() => new Promise(() => undefined));
  await untilState(pool.queue, 'runs', 'active');
  const job = await jobOfQueue(pool.queue, 'runs');
  const site = pool.site('one');
  // The first was left by a worker that died, and the second could not be removed.
  const [dead, left, live] = [1, 3, 2].map(mark => cellRecord('runs', mark, site));
  if (dead === undefined || left === undefined || live === undefined) throw new Error('no records');
  for (const record of [dead, live]) await enterCell(site, record);
  await enterCell(site, { ...left, abandoned: true });
  await enterCell(site, cellRecord('other', 4, site));
  await job.updateProgress(progressOf(live, 23));
  await job.log('attempt 1: put back uncounted: the disk was full');
  expect(await readTask(pool, 'runs')).toMatchObject({
    ...{ state: 'running', attempt: 1, tokensUsed: 123, cell: { cellId: live.cellId, tokensUsed: 23 } },
    log: ['attempt 1: put back uncounted: the disk was full'],
  });
});

test('one that has ended is told with the results of its attempts', async () => {
  const pool = await makePool(redis);
  const results = await pool.end(['bad'], 'reverted');
  expect(await readTask(pool, 'bad')).toMatchObject({
    ...{ state: 'failed', attempt: 1, outcome: 'reverted', endedAt: expect.any(Number), cell: null, results },
  });
  await pool.end(['good'], 'committed');
  expect(await readTask(pool, 'good')).toMatchObject({ state: 'completed', attempt: 1, outcome: 'committed' });
});

test('one that has ended while a cell of it is still entered has no cell at work', async () => {
  const pool = await makePool(redis);
  await pool.end(['done'], 'committed');
  await enterCell(pool.site('one'), cellRecord('done', 1, pool.site('one')));
  expect((await readTask(pool, 'done'))?.cell).toBeNull();
});

test('why one is delayed is told: what its worker said, its last attempt, or its time', async () => {
  const pool = await makePool(redis);
  const minutes = 600_000;
  await addJob(pool.queue, { ...jobOf('held'), waits: { reason: 'the budget is used up', since: 1 } }, minutes);
  await addJob(pool.queue, jobOf('later'), minutes);
  expect((await readTask(pool, 'held'))?.waitsFor).toBe('the budget is used up');
  expect((await readTask(pool, 'later'))?.waitsFor).toBe('its time');
});

test('what is no job of ours is told with what is wrong with it', async () => {
  const pool = await makePool(redis);
  await pool.queue.add('task', { version: 1, task: { id: 'odd' } }, { jobId: 'odd' });
  expect(await readTask(pool, 'odd')).toMatchObject({ state: 'waiting', fault: expect.any(String), prompt: '' });
  await pool.redis.lpush(`${pool.queue.toKey('odd')}:logs`, '\u001b[2J');
  await pool.redis.hset(pool.queue.toKey('odd'), 'data', '[[[');
  expect(await readTask(pool, 'odd')).toMatchObject({ fault: expect.any(String), log: ['\u001b[2J'] });
});

test('there is no task of an id that is not known, or cannot be one', async () => {
  const pool = await makePool(redis);
  for (const id of ['nobody', '', '12', 'meta', '../x', 'a:b', 'a b', 'x'.repeat(101)]) {
    expect(await readTask(pool, id)).toBeNull();
  }
});
