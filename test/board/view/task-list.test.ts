import { afterAll, beforeAll, expect, test } from 'vitest';
import { type ListedState, listTasks } from '../../../src/board/view/task-list.ts';
import { InvalidInput } from '../../../src/errors.ts';
import { endedKeys } from '../../../src/redis/keys.ts';
import { addJob, jobOf, resultOf, untilState } from '../../support/jobs.ts';
import { withResults } from '../../support/pool.ts';
import { type TestRedis, testRedis } from '../../support/redis.ts';
import { makePool, type Pool } from './support.ts';

let redis: TestRedis;
beforeAll(async () => {
  redis = await testRedis();
});
afterAll(() => redis.close());

/** All pages of so many tasks each. */
async function walk(pool: Pool, limit: number, states?: ListedState[]) {
  const pages: string[][] = [];
  let after: string | undefined;
  for (;;) {
    const { tasks, next } = await listTasks(pool, { limit, after, ...(states === undefined ? {} : { states }) });
    pages.push(tasks.map(({ taskId }) => taskId));
    if (next === null) return pages;
    after = next;
  }
}

/** One that runs, four in line, one that is delayed, five that have ended. */
async function fill(pool: Pool): Promise<string[]> {
  await pool.end(['e-1', 'e-2', 'e-3'], 'committed');
  await pool.end(['e-4', 'e-5'], 'failed');
  await addJob(pool.queue, jobOf('runs'));
  await pool.work(() => new Promise(() => undefined));
  await untilState(pool.queue, 'runs', 'active');
  await addJob(pool.queue, jobOf('p-2', { priority: 2 }));
  await addJob(pool.queue, jobOf('p-1', { priority: 1 }));
  for (const id of ['w-1', 'w-2']) await addJob(pool.queue, jobOf(id));
  await addJob(pool.queue, jobOf('later'), 600_000);
  return ['runs', 'w-1', 'w-2', 'p-1', 'p-2', 'later', 'e-5', 'e-4', 'e-3', 'e-2', 'e-1'];
}

test('tasks come as they run, then in line, then delayed, then as they ended last, on pages of any size', async () => {
  const pool = await makePool(redis);
  const all = await fill(pool);
  expect(await walk(pool, 100)).toEqual([all]);
  for (const limit of [1, 2, 3, 4, 5, 10, 11]) {
    const pages = await walk(pool, limit);
    expect(pages.flat()).toEqual(all);
    expect(pages.slice(0, -1).every(page => page.length === limit)).toBe(true);
  }
});

test('only the states that are asked for are told of, each task in the state that it is in', async () => {
  const pool = await makePool(redis);
  const all = await fill(pool);
  const { tasks } = await listTasks(pool, { limit: 100 });
  const states = Object.fromEntries(tasks.map(({ taskId, state }) => [taskId, state]));
  expect(states).toMatchObject({ runs: 'running', 'w-1': 'waiting', 'p-1': 'waiting', later: 'delayed' });
  expect(states).toMatchObject({ 'e-1': 'completed', 'e-5': 'failed' });
  for (const wanted of [['running'], ['waiting'], ['delayed', 'failed'], ['completed']] as ListedState[][]) {
    const expected = all.filter(id => wanted.some(state => state === states[id]));
    for (const limit of [1, 100]) expect((await walk(pool, limit, wanted)).flat()).toEqual(expected);
  }
});

test('tasks that ended in the same millisecond are told once each, on pages of any size', async () => {
  const pool = await makePool(redis);
  await pool.end(['a', 'b', 'c'], 'committed');
  await pool.end(['d', 'e'], 'failed');
  const { completed, failed } = endedKeys(pool.prefix);
  for (const id of ['a', 'b', 'c']) await pool.redis.zadd(completed, 1_700_000_000_000, id);
  for (const id of ['d', 'e']) await pool.redis.zadd(failed, 1_700_000_000_000, id);
  for (const limit of [1, 2, 3, 4, 5]) expect((await walk(pool, limit)).flat()).toEqual(['e', 'd', 'c', 'b', 'a']);
});

test('what ends while one turns the pages of ended tasks moves nothing', async () => {
  const pool = await makePool(redis);
  await pool.end(['a', 'b', 'c', 'd'], 'committed');
  const first = await listTasks(pool, { limit: 2 });
  await pool.end(['e', 'f'], 'committed');
  const second = await listTasks(pool, { limit: 2, after: first.next ?? '' });
  expect([...first.tasks, ...second.tasks].map(({ taskId }) => taskId)).toEqual(['d', 'c', 'b', 'a']);
});

test('a task is told with its attempts, its last outcome, and why it waits', async () => {
  const pool = await makePool(redis);
  await pool.end(['done'], 'committed', { title: 'All done', attempts: 5 });
  await addJob(pool.queue, { ...jobOf('held'), waits: { reason: 'the provider is busy', since: 1 } }, 600_000);
  let isFirst = true;
  let begin: () => void = () => undefined;
  const second = new Promise<void>(resolve => {
    begin = resolve;
  });
  await pool.work(async job => {
    if (isFirst) {
      isFirst = false;
      await withResults(job, [resultOf('again', 'reverted')]);
      throw new Error('once more');
    }
    begin();
    return new Promise(() => undefined);
  });
  await addJob(pool.queue, jobOf('again'));
  await second;
  expect((await listTasks(pool, { limit: 9, states: ['running'] })).tasks).toMatchObject([
    { taskId: 'again', state: 'running', attempt: 2, attempts: 3, outcome: 'reverted', endedAt: null, waitsFor: null },
  ]);
  const { tasks } = await listTasks(pool, { limit: 9, states: ['delayed', 'completed'] });
  expect(tasks).toEqual([
    {
      ...{ taskId: 'held', title: null, repository: '/repo', state: 'delayed', attempt: 0, attempts: 3 },
      ...{
        outcome: null,
        enqueuedAt: expect.any(Number),
        endedAt: null,
        waitsFor: 'the provider is busy',
        fault: null,
      },
    },
    {
      ...{ taskId: 'done', title: 'All done', repository: '/repo', state: 'completed', attempt: 1, attempts: 5 },
      ...{ outcome: 'committed', enqueuedAt: expect.any(Number), endedAt: expect.any(Number) },
      ...{ waitsFor: null, fault: null },
    },
  ]);
});

test('a job that is none of ours is told with what is wrong with it, and hides no other', async () => {
  const pool = await makePool(redis);
  await addJob(pool.queue, jobOf('good'));
  await pool.queue.add('task', { version: 1 }, { jobId: 'odd' });
  await pool.queue.add('task', jobOf('good'), { jobId: 'twin' });
  await addJob(pool.queue, jobOf('broken'));
  await pool.redis.hset(pool.queue.toKey('broken'), 'data', '{"version":');
  await addJob(pool.queue, jobOf('wrong'));
  await pool.redis.set(pool.queue.toKey('wrong'), 'no hash');
  await addJob(pool.queue, jobOf('gone'));
  await pool.redis.del(pool.queue.toKey('gone'));
  const { tasks } = await listTasks(pool, { limit: 9 });
  expect(tasks.map(({ taskId, fault }) => [taskId, fault === null])).toEqual([
    ['good', true],
    ['odd', false],
    ['twin', false],
    ['broken', false],
    ['wrong', false],
  ]);
  expect(tasks[2]?.fault).toBe('holds the task "good"');
});

test('a page that nobody has given out is refused', async () => {
  const pool = await makePool(redis);
  for (const after of [
    '',
    'x',
    'waiting',
    'waiting.x.',
    'other.1.',
    '.1.',
    'ended.-1.a',
    `ended.${'9'.repeat(40)}.a`,
  ]) {
    await expect(listTasks(pool, { limit: 1, after })).rejects.toThrow(InvalidInput);
  }
});

test('no more than 500 tasks are read at once, and no fewer than one', async () => {
  const pool = await makePool(redis);
  await pool.queue.addBulk(
    Array.from({ length: 520 }, (_, index) => ({ name: 'task' as const, data: {}, opts: { jobId: `t-${index}` } })),
  );
  expect((await listTasks(pool, { limit: 10_000 })).tasks).toHaveLength(500);
  expect((await listTasks(pool, { limit: -5 })).tasks).toHaveLength(1);
});
