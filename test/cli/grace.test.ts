/** How much time running attempts get once a command is told to stop; test/cli/stop.test.ts has the second signal. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { CliHome, jsonLines } from '../support/cli.ts';
import { discardedOnSlowDisk } from '../support/discarded.ts';
import { HangingOpencode } from '../support/hanging-opencode.ts';

let cli: CliHome;
let repository: string;
let opencode: HangingOpencode;
let env: Record<string, string>;

beforeEach(() => {
  cli = new CliHome();
  repository = cli.repository();
  opencode = new HangingOpencode(cli.folder);
  env = { OPENCODE_BIN: opencode.path };
  return () => cli.remove();
});

const task = () => ['--id', 'a', '--prompt', 'do it', '--repo', repository, '--attempts', '1'];
const jobState = () =>
  cli.look(async queue => {
    const job = await queue.getJob('a');
    return { state: await queue.getJobState('a'), attemptsMade: job?.attemptsMade };
  });

describe('a worker', () => {
  test('lets an attempt end within the grace period, and ends with 0', async () => {
    await cli.run(['enqueue', ...task()]);
    const worker = cli.start(['worker', '--concurrency', '1'], { env });
    await opencode.begun(1);
    worker.signal('SIGTERM');
    await worker.says('Letting 1 running attempts end, for at most 30.0 s');
    opencode.open();
    const { exitCode, stderr } = await worker.ended;
    expect(exitCode).toBe(0);
    expect(stderr).toContain('Stopped: 1 attempt came to an end, 0 handed back.');
    expect(await jobState()).toEqual({ state: 'failed', attemptsMade: 1 });
    await cli.expectNothingLeft(repository);
  });

  test('hands the job back, uncounted, when the grace period is over, and ends with 130', async () => {
    await cli.run(['enqueue', ...task()]);
    const worker = cli.start(['worker', '--concurrency', '1', '--grace', '0.2'], { env });
    await opencode.begun(1);
    worker.signal('SIGTERM');
    const { exitCode, stderr } = await worker.ended;
    expect(exitCode).toBe(130);
    expect(stderr).toContain('The grace period is over: stopping 1 attempt');
    expect(stderr).toContain('Stopped: 0 attempts came to an end, 1 handed back.');
    expect(await jobState()).toEqual({ state: 'waiting', attemptsMade: 0 });
    await cli.expectNothingLeft(repository);
  });

  test('with nothing at work ends at once, with 0', async () => {
    const worker = cli.start(['worker', '--grace', '600'], { env });
    await worker.says('Working with');
    worker.signal('SIGTERM');
    expect(await worker.ended).toMatchObject({ exitCode: 0 });
  });

  test('ends soon when folders that take minutes wait to be removed, and leaves them to any reaper', async () => {
    const { names, slow } = discardedOnSlowDisk(cli.home);
    const worker = cli.start(['worker', '--grace', '0'], { env: { ...env, ...slow } });
    await worker.says('Working with');
    const discarded = join(cli.home, 'discarded');
    expect(readdirSync(discarded).filter(name => /^\d+-/.test(name))).toHaveLength(names.length);
    worker.signal('SIGTERM');
    expect(await worker.ended).toMatchObject({ exitCode: 0 });
    expect(readdirSync(discarded).sort()).toEqual(names);
    expect((await cli.run(['reap'])).stdout).toContain(`${names.length} leftovers removed.`);
    expect(readdirSync(discarded)).toEqual([]);
  }, 120_000);
});

describe('run', () => {
  test('hands the job back when the grace period is over, and ends with 130', async () => {
    const run = cli.start(['run', ...task(), '--grace', '0.2'], { env });
    await opencode.begun(1);
    run.signal('SIGINT');
    const { exitCode, stderr } = await run.ended;
    expect(exitCode).toBe(130);
    expect(stderr).toContain('1 tasks are still queued');
    expect(await jobState()).toEqual({ state: 'waiting', attemptsMade: 0 });
    await cli.expectNothingLeft(repository);
  });

  test('that was stopped when all its tasks were at work tells their outcomes and the exit code of these', async () => {
    const run = cli.start(['run', ...task(), '--json'], { env });
    await opencode.begun(1);
    run.signal('SIGINT');
    await run.says('Letting 1 running');
    opencode.open();
    const { exitCode, stdout } = await run.ended;
    expect(exitCode).toBe(1);
    expect(jsonLines(stdout)).toMatchObject([{ taskId: 'a', outcome: 'failed' }]);
  });
});
