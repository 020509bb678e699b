/** `cellpool retry` on jobs that were put on the queue by hand; test/producer/retry.test.ts has the details. */
import { UnrecoverableError } from 'bullmq';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { jsonLines } from '../support/cli.ts';
import { type CliQueue, openCliQueue } from '../support/cli-queue.ts';
import { addJob, jobOf, resultOf, untilState } from '../support/jobs.ts';

let setting: CliQueue;

beforeAll(async () => {
  setting = await openCliQueue();
});
afterEach(() => setting.clear());
afterAll(() => setting.close());

/** One that ended well and two that failed, with nobody there to take anything up. */
async function prepare(): Promise<void> {
  const { queue, work } = setting;
  await addJob(queue, jobOf('good'));
  for (const id of ['bad', 'worse']) await addJob(queue, { ...jobOf(id), results: [resultOf(id, 'reverted')] });
  const worker = await work(async job => {
    if (job.id === 'good') return resultOf('good', 'committed');
    throw new UnrecoverableError('reverted');
  });
  await untilState(queue, 'good', 'completed');
  for (const id of ['bad', 'worse']) await untilState(queue, id, 'failed');
  await worker.close(true);
}

describe('retry', () => {
  test('queues what failed, refuses what ended well with the way to do it, and names what is not known', async () => {
    await prepare();
    const { exitCode, stdout } = await setting.cli.run(['retry', 'bad', 'good', 'nobody']);
    expect(exitCode).toBe(1);
    expect(stdout).toMatch(/^bad is queued again; it had ended reverted\.$/m);
    expect(stdout).toMatch(/^good has ended well \(committed\); `cellpool enqueue --again` works it anew\.$/m);
    expect(stdout).toMatch(/^nobody is not known/m);
    expect(await setting.queue.getJobState('bad')).toBe('waiting');
    const again = await setting.cli.run(['retry', 'bad', '--json']);
    expect(again.exitCode).toBe(0);
    expect(jsonLines(again.stdout)).toEqual([{ taskId: 'bad', how: 'waiting', outcome: 'reverted' }]);
  });

  test('--failed queues all that failed, and says so when there is none', async () => {
    await prepare();
    const { exitCode, stdout } = await setting.cli.run(['retry', '--failed', '--json']);
    expect(exitCode).toBe(0);
    expect(
      jsonLines<{ taskId: string }>(stdout)
        .map(({ taskId }) => taskId)
        .sort(),
    ).toEqual(['bad', 'worse']);
    expect(await setting.cli.run(['retry', '--failed'])).toMatchObject({
      exitCode: 0,
      stdout: '',
      stderr: 'No task has failed.\n',
    });
  });

  test.each([
    ['neither ids nor --failed', [], 'id: name the tasks, or say --failed'],
    ['both', ['a', '--failed'], '--failed: goes without ids'],
    ['an id that cannot be one', ['wait'], 'id 1: may not be "wait"'],
  ])('refuses %s', async (_, args, fault) => {
    const { exitCode, stdout, stderr } = await setting.cli.run(['retry', ...args]);
    expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: '' });
    expect(stderr).toContain(fault);
  });
});
