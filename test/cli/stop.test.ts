/** How a person stops `run` and `worker`: one signal lets the running attempts end, a second one cancels them. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type ScriptedModel, startScriptedModel } from '../../src/cli/demo/scripted-model.ts';
import type { AttemptResult } from '../../src/job/outcome.ts';
import { CliHome, Gate, jsonLines, scripted } from '../support/cli.ts';
import { git } from '../support/repository.ts';

let model: ScriptedModel;

beforeAll(async () => {
  model = await startScriptedModel();
});
afterAll(() => model.close());

/** One by one, so that the second task is still queued while the first is held at its gate. */
const one = ['--concurrency', '1'];

function prepare() {
  const cli = new CliHome();
  const repository = cli.repository();
  const gate = new Gate(cli.folder, 'held');
  const gate2 = new Gate(cli.folder, 'later');
  const file = cli.tasksFile('tasks.jsonl', [
    scripted('held', [gate.step, { write: { 'held.txt': 'x\n' } }]),
    scripted('later', [gate2.step, { write: { 'later.txt': 'x\n' } }]),
  ]);
  return { cli, repository, gate, gate2, tasks: [file, '--repo', repository, ...cli.modelFlags(model)] };
}

const jobOf = (cli: CliHome, id: string) =>
  cli.look(async queue => {
    const job = await queue.getJob(id);
    const data = job?.data as { results: AttemptResult[] } | undefined;
    return { state: await queue.getJobState(id), attemptsMade: job?.attemptsMade, results: data?.results.length };
  });

describe('a worker', () => {
  let setting: ReturnType<typeof prepare>;

  beforeAll(() => {
    setting = prepare();
  });
  afterAll(() => setting.cli.remove());

  test('finds what enqueue left in the private Redis, and on SIGTERM ends the running attempt, then itself', async () => {
    const { cli, repository, gate, tasks } = setting;
    expect((await cli.run(['enqueue', ...tasks])).exitCode).toBe(0);
    const worker = cli.start(['worker', ...one, '--json']);
    await gate.reached();
    worker.signal('SIGTERM');
    await worker.says('Letting 1 running');
    gate.open();
    const { exitCode, stdout } = await worker.ended;
    expect(exitCode).toBe(0);
    expect(jsonLines<AttemptResult>(stdout)).toMatchObject([{ taskId: 'held', outcome: 'committed', attempt: 1 }]);
    expect(git(repository, 'show', '--format=', '--name-only', 'cellpool/held')).toBe('held.txt');
    expect(await jobOf(cli, 'later')).toEqual({ state: 'waiting', attemptsMade: 0, results: 0 });
    await cli.expectNothingLeft(repository);
  }, 120_000);

  test('cancels the running attempt on a second SIGTERM, hands its job back uncounted, and leaves nothing', async () => {
    const { cli, repository, gate2 } = setting;
    const worker = cli.start(['worker', ...one, '--json']);
    await gate2.reached();
    worker.signal('SIGTERM');
    await worker.says('Letting 1 running');
    worker.signal('SIGTERM');
    const { exitCode, stdout } = await worker.ended;
    expect({ exitCode, stdout }).toEqual({ exitCode: 130, stdout: '' });
    expect(await jobOf(cli, 'later')).toEqual({ state: 'waiting', attemptsMade: 0, results: 0 });
    expect(git(repository, 'branch', '--list', 'cellpool/later')).toBe('');
    await cli.expectNothingLeft(repository);
  }, 120_000);

  test('a run of the same tasks joins the job that was handed back, whose attempt has the same number', async () => {
    const { cli, repository, gate2, tasks } = setting;
    gate2.open();
    const { exitCode, stdout, stderr } = await cli.run(['run', ...tasks, ...one, '--json']);
    expect(exitCode).toBe(0);
    expect(jsonLines<AttemptResult>(stdout)).toMatchObject([
      { taskId: 'held', outcome: 'committed' },
      { taskId: 'later', outcome: 'committed', attempt: 1 },
    ]);
    expect(stderr).toContain('later is already queued: joined');
    await cli.expectNothingLeft(repository);
  }, 120_000);
});

describe('run', () => {
  let setting: ReturnType<typeof prepare>;

  beforeEach(() => {
    setting = prepare();
    return () => setting.cli.remove();
  });

  test('on SIGINT lets the running attempt end, tells its outcome, and leaves the rest queued', async () => {
    const { cli, repository, gate, tasks } = setting;
    const run = cli.start(['run', ...tasks, ...one, '--json']);
    await gate.reached();
    run.signal('SIGINT');
    await run.says('Letting 1 running');
    gate.open();
    const { exitCode, stdout, stderr } = await run.ended;
    expect(exitCode).toBe(130);
    expect(jsonLines<AttemptResult>(stdout)).toMatchObject([{ taskId: 'held', outcome: 'committed' }]);
    expect(stderr).toContain('1 tasks are still queued');
    expect(await jobOf(cli, 'later')).toEqual({ state: 'waiting', attemptsMade: 0, results: 0 });
    await cli.expectNothingLeft(repository);
  }, 120_000);

  test('on a second SIGINT stops the running attempt, and both tasks stay queued', async () => {
    const { cli, repository, gate, tasks } = setting;
    const run = cli.start(['run', ...tasks, ...one]);
    await gate.reached();
    run.signal('SIGINT');
    await run.says('Letting 1 running');
    run.signal('SIGINT');
    const { exitCode, stderr } = await run.ended;
    expect(exitCode).toBe(130);
    expect(stderr).toContain('2 tasks are still queued');
    expect(await jobOf(cli, 'held')).toEqual({ state: 'waiting', attemptsMade: 0, results: 0 });
    expect(existsSync(join(repository, 'held.txt'))).toBe(false);
    await cli.expectNothingLeft(repository);
  }, 120_000);
});
