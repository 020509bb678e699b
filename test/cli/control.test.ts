/** Commands that reach into a worker at work, with a real worker at each end. */
import { beforeEach, describe, expect, test, vi } from 'vitest';
import type { AttemptResult } from '../../src/job/outcome.ts';
import { CliHome, jsonLines, type RunningCli } from '../support/cli.ts';
import { HangingOpencode } from '../support/hanging-opencode.ts';

let cli: CliHome;
let repository: string;
let opencode: HangingOpencode;
let worker: RunningCli;

beforeEach(async () => {
  cli = new CliHome();
  repository = cli.repository();
  opencode = new HangingOpencode(cli.folder);
  const tasks = cli.tasksFile(
    'tasks.jsonl',
    ['a', 'b'].map(id => ({ id, prompt: 'do it', attempts: 1 })),
  );
  await cli.run(['enqueue', tasks, '--repo', repository]);
  worker = cli.start(['worker', '--concurrency', '1', '--grace', '0', '--json'], {
    env: { OPENCODE_BIN: opencode.path },
  });
  await opencode.begun(1);
  return async () => {
    worker.signal('SIGTERM');
    await worker.ended;
    cli.remove();
  };
});

const stateOf = (id: string) => cli.look(queue => queue.getJobState(id));

describe('cancel', () => {
  test('stops an attempt that runs, whose outcome is then cancelled, and the worker goes on with the next', async () => {
    const { exitCode, stdout } = await cli.run(['cancel', 'a', '--json']);
    expect(jsonLines(stdout)).toEqual([{ taskId: 'a', how: 'cancelled', outcome: 'cancelled' }]);
    expect(exitCode).toBe(0);
    await opencode.begun(2);
    // What it has written may still be on its way to us.
    await vi.waitUntil(() => worker.shown().includes('\n'), { timeout: 30_000 });
    expect(jsonLines<AttemptResult>(worker.shown())).toMatchObject([{ taskId: 'a', outcome: 'cancelled' }]);
    expect(await stateOf('a')).toBe('failed');
  }, 120_000);

  test('does not keep a task from being worked when it is retried', async () => {
    await cli.run(['cancel', 'a']);
    await opencode.begun(2);
    expect((await cli.run(['retry', 'a'])).stdout).toContain('a is queued again; it had ended cancelled.');
    await cli.run(['cancel', 'b']);
    await opencode.begun(3);
    expect(await stateOf('a')).toBe('active');
  }, 120_000);
});

describe('drain', () => {
  test('lets the running attempt end and the worker with it, with 0, and leaves the rest queued', async () => {
    const drain = cli.start(['drain', '--json']);
    await drain.says('Waiting for 1 worker, 1 attempt.');
    opencode.open();
    const { exitCode, stdout } = await drain.ended;
    expect(exitCode).toBe(0);
    expect(jsonLines(stdout)).toMatchObject([{ state: 'drained' }]);
    expect((await worker.ended).exitCode).toBe(0);
    expect(await Promise.all(['a', 'b'].map(stateOf))).toEqual(['failed', 'waiting']);
    await cli.expectNothingLeft(repository);
  }, 120_000);
});
