/** `cellpool cancel` on jobs that were put on the queue by hand; test/producer/cancel.test.ts has the races. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { Control } from '../../src/redis/control.ts';
import { jsonLines } from '../support/cli.ts';
import { type CliQueue, openCliQueue, PREFIX } from '../support/cli-queue.ts';
import { addJob, jobOf, untilState } from '../support/jobs.ts';

let setting: CliQueue;

beforeAll(async () => {
  setting = await openCliQueue();
});
afterEach(() => setting.clear());
afterAll(() => setting.close());

const hold = () => new Promise(() => undefined);

describe('cancel', () => {
  test('tells of every task what became of it, with 1 when there is no such job', async () => {
    const { cli, queue, redis, work } = setting;
    await addJob(queue, jobOf('runs'));
    await work(hold);
    await untilState(queue, 'runs', 'active');
    await addJob(queue, jobOf('waits'));
    const args = ['cancel', 'nobody', 'waits', 'runs', '--wait', '0.2', '--json'];
    const { exitCode, stdout, stderr } = await cli.run(args);
    expect({ exitCode, stderr }).toEqual({ exitCode: 1, stderr: '' });
    expect(jsonLines(stdout).sort((a, b) => String(a.taskId).localeCompare(String(b.taskId)))).toEqual([
      { taskId: 'nobody', how: 'unknown', outcome: null },
      { taskId: 'runs', how: 'asked', outcome: null },
      { taskId: 'waits', how: 'removed', outcome: null },
    ]);
    const enqueuedAt = (await queue.getJob('runs'))?.timestamp ?? 0;
    expect(await new Control(redis, { prefix: PREFIX }).marked([{ taskId: 'runs', enqueuedAt }])).toEqual(['runs']);
  });

  test('says it in words, and ends with 0 when all that was asked for is done', async () => {
    const { cli, queue, work } = setting;
    await addJob(queue, jobOf('runs'));
    await work(hold);
    await untilState(queue, 'runs', 'active');
    await addJob(queue, jobOf('waits'));
    const { exitCode, stdout } = await cli.run(['cancel', 'waits', 'runs', '--no-wait']);
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/^waits is off the queue\.$/m);
    expect(stdout).toMatch(/^runs still runs; its worker has been told/m);
  });

  test('names every fault of a call, and cancels nothing', async () => {
    const { cli, queue } = setting;
    await addJob(queue, jobOf('a'));
    const { exitCode, stdout, stderr } = await cli.run(['cancel', 'a', '12', '--wait', 'long', '../b']);
    expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: '' });
    expect(stderr).toMatch(/^--wait: is a number of seconds .* not "long"$/m);
    expect(stderr).toMatch(/^id 2: may not be digits only/m);
    expect(stderr).toMatch(/^id 3: is made of letters/m);
    expect(await queue.getJobState('a')).toBe('waiting');
  });

  test('stops waiting at Ctrl-C, with 130; the task stays marked', async () => {
    const { cli, queue, redis, work } = setting;
    await addJob(queue, jobOf('runs'));
    await work(hold);
    await untilState(queue, 'runs', 'active');
    const running = cli.start(['cancel', 'runs', '--wait', '600']);
    const control = new Control(redis, { prefix: PREFIX });
    const enqueuedAt = (await queue.getJob('runs'))?.timestamp ?? 0;
    await expect.poll(() => control.marked([{ taskId: 'runs', enqueuedAt }]), { timeout: 30_000 }).toEqual(['runs']);
    running.signal('SIGINT');
    expect((await running.ended).exitCode).toBe(130);
  });
});
