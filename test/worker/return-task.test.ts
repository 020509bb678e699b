/** A task goes back to the pool once, whoever dies or asks at the same time. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DEFAULTS } from '../../src/config.ts';
import type { Returned } from '../../src/job/job.ts';
import { lookAtTask, returnTask } from '../../src/worker/return-task.ts';
import { type TestRedis, testRedis } from '../support/redis.ts';
import { landerSetting } from './lander-setting.ts';

let server: TestRedis;
beforeAll(async () => {
  server = await testRedis();
});
afterAll(() => server.close());

const { retention } = DEFAULTS;

async function setting() {
  const at = await landerSetting(server);
  const commit = await at.finished('one', { 'one.txt': '1\n' });
  const landing = (await at.landing('one', commit)).data ?? expect.fail('it waits for no landing');
  const returned: Returned = { times: 1, commit, target: 'main', tip: 'e'.repeat(40), why: 'red', message: 'no' };
  const back = () => returnTask(at.redis, at.tasks, { landing, returned, retention });
  return { ...at, commit, landing, returned, back };
}

describe('a task whose branch could not land', () => {
  test('is on the queue anew, with its results kept, what it has spent, and why it came back', async () => {
    const at = await setting();
    const job = (await at.tasks.getJob('one')) ?? expect.fail('there is no task');
    await job.updateData({
      ...(job.data as object),
      spent: { tokens: 70, executionMs: 8 },
      waits: { reason: 'x', since: 1 },
    });
    expect(await at.back()).toBe('returned');
    const task = await at.task('one');
    expect(task).toMatchObject({ state: 'waiting', attemptsMade: 0, finishedOn: null, result: null });
    expect(task?.data).toMatchObject({ kept: 1, spent: { tokens: 70 }, returned: at.returned });
    expect(task?.data?.results).toHaveLength(1);
    expect(task?.data?.waits).toBeUndefined();
  });

  test('comes back once, however many ask at the same time', async () => {
    const at = await setting();
    const all = await Promise.all(Array.from({ length: 8 }, () => at.back()));
    expect(all.filter(how => how === 'returned').length).toBeGreaterThan(0);
    expect(new Set(all)).not.toContain('superseded');
    expect(await at.tasks.getJobCountByTypes('wait')).toBe(1);
    expect(await at.back()).toBe('returned');
    expect(await at.tasks.getJobCountByTypes('wait')).toBe(1);
  });

  test('stays where it is when somebody has put it on the queue anew, or it is forgotten', async () => {
    const at = await setting();
    await at.tasks.remove('one');
    expect(await at.back()).toBe('forgotten');
    await at.finished('one', { 'one.txt': 'anew\n' });
    expect(await lookAtTask(at.redis, at.tasks, at.landing)).toMatchObject({ how: 'superseded' });
    expect(await at.back()).toBe('superseded');
    expect(await at.task('one')).toMatchObject({ state: 'completed' });
  });

  test('waits for its worker to say that it has ended', async () => {
    const at = await setting();
    await at.redis.zrem(at.tasks.toKey('completed'), 'one');
    await at.redis.hdel(at.tasks.toKey('one'), 'finishedOn');
    await at.redis.lpush(at.tasks.toKey('active'), 'one');
    expect(await at.back()).toBe('later');
  });
});
