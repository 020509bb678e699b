/** `cellpool jobs` and `show` on jobs that were put on the queue by hand. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { UnrecoverableError } from 'bullmq';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { AttemptResult } from '../../src/job/outcome.ts';
import { endedWell } from '../../src/job/outcome.ts';
import { makeArtifactFolder, writeArtifact } from '../../src/observe/artifacts.ts';
import { jsonLines } from '../support/cli.ts';
import { type CliQueue, openCliQueue } from '../support/cli-queue.ts';
import { addJob, jobOf, resultOf, untilState } from '../support/jobs.ts';
import { withResults } from '../support/pool.ts';

let setting: CliQueue;

beforeAll(async () => {
  setting = await openCliQueue();
});
afterEach(() => setting.clear());
afterAll(() => setting.close());

/** Has a worker end the task with these results. */
async function end(id: string, results: AttemptResult[], more: Parameters<typeof jobOf>[1] = {}, repository?: string) {
  const { queue, work } = setting;
  const last = results.at(-1);
  const isGood = last !== undefined && endedWell(last.outcome);
  const worker = await work(async job => {
    await withResults(job, results);
    await job.log('attempt 1: reverted: the tests failed');
    if (!isGood) throw new UnrecoverableError('given up');
    return last;
  });
  await addJob(queue, jobOf(id, more, repository));
  await untilState(queue, id, isGood ? 'completed' : 'failed');
  await worker.close();
}

describe('jobs', () => {
  test('lists the tasks by state, with attempts, outcome and why one waits', async () => {
    const { cli, queue } = setting;
    await end('done', [resultOf('done', 'committed')], { title: 'All is well' });
    await addJob(queue, jobOf('waits'));
    await addJob(queue, { ...jobOf('held'), waits: { reason: 'the budget\nis used up', since: 1 } }, 600_000);
    const { exitCode, stdout, stderr } = await cli.run(['jobs']);
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
    const lines = stdout.trimEnd().split('\n');
    expect(lines[0]).toMatch(/^TASK +STATE +ATTEMPT +OUTCOME +ENQUEUED +ENDED +TITLE +NOTE$/);
    expect(lines.slice(1).map(line => line.split(/ {2,}/).slice(0, 4))).toEqual([
      ['waits', 'waiting', '0/3', '-'],
      ['held', 'delayed', '0/3', '-'],
      ['done', 'completed', '1/3', 'committed'],
    ]);
    expect(lines[2]).toMatch(/waits: the budget is used up$/);
    expect(lines[3]).toMatch(/ago +\d+ s ago +All is well$/);
  });

  test('tells of the states that are asked for, as many as are asked for, and that there are more', async () => {
    const { cli, queue } = setting;
    for (const id of ['a', 'b', 'c']) await addJob(queue, jobOf(id));
    await addJob(queue, jobOf('later'), 600_000);
    const { stdout, stderr } = await cli.run(['jobs', '--state', 'waiting', '--limit', '2', '--json']);
    expect(jsonLines(stdout).map(({ taskId, state }) => [taskId, state])).toEqual([
      ['a', 'waiting'],
      ['b', 'waiting'],
    ]);
    expect(stderr).toBe('There are more than 2: see --limit and --state.\n');
    const all = await cli.run(['jobs', '--state', 'waiting,delayed', '--limit', '4', '--json']);
    expect([jsonLines(all.stdout).length, all.stderr]).toEqual([4, '']);
    expect((await cli.run(['jobs', '--state', 'failed'])).stdout).toBe('There are no such tasks.\n');
  });

  test('names every fault of a call', async () => {
    const { exitCode, stdout, stderr } = await setting.cli.run(['jobs', '--state', 'gone', '--limit', '0']);
    expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: '' });
    expect(stderr).toMatch(/^--state: knows running, waiting, delayed, completed, failed, not "gone"$/m);
    expect(stderr).toMatch(/^--limit: is a whole number/m);
  });

  test('what a job holds cannot reach the terminal', async () => {
    const { cli, queue } = setting;
    const data = jobOf('evil');
    await addJob(queue, { ...data, task: { ...data.task, title: '\u001b]0;owned\u0007\u202e' } });
    await queue.add('task', { '\u001b[2J': 1 }, { jobId: 'odd\u001b[1m' });
    const { stdout } = await cli.run(['jobs']);
    expect(stdout).toContain('evil');
    expect(stdout).toContain('no job of cellpool');
    expect(stdout).not.toMatch(/[^\P{Cc}\n]|\p{Cf}/u);
  });
});

describe('show', () => {
  const failed = (artifacts: string, host: string): AttemptResult => ({
    ...resultOf('fix', 'reverted'),
    ...{ tokensUsed: 900, costUsd: 0.0125, filesModified: ['src/a.ts', 'src/b.ts'], artifacts, host },
    tests: { passed: false, exitCode: 1, durationMs: 2_000 },
    stages: [
      { stage: 'spawn', startedAt: 1, ms: 1_500 },
      { stage: 'test', startedAt: 2, ms: 2_000 },
    ],
    error: {
      code: 'TESTS_FAILED',
      message: `the tests failed (exit code 1): ${'line\n'.repeat(30)}expected 1 to be 2`,
    },
  });
  const committed: AttemptResult = {
    ...resultOf('fix', 'committed', 2),
    ...{ branch: 'cellpool/fix', commit: 'c77507b22e0123456789', filesModified: ['src/a.ts'] },
    ...{
      tests: { passed: true, exitCode: 0, durationMs: 10 },
      artifacts: '/far/artifacts/fix/2-0123abcd',
      host: 'far',
    },
  };

  test('tells prompt, plan and every attempt, how to see and take the branch, and where the artifacts are', async () => {
    const { cli } = setting;
    const folder = await makeArtifactFolder(cli.home, 'fix', '1-0123abcd');
    await writeArtifact(folder, 'transcript.json', {});
    writeFileSync(join(folder, 'test.log'), `${'ok\n'.repeat(90)}not ok\n  expected 3\u001b[2J to be 4\n`);
    const task = { title: 'Fix it', test: 'npm test', base: 'develop', dependsOn: ['api'], model: 'a/b' };
    await end('fix', [failed(folder, 'cli-test'), committed], { ...task, prompt: 'Line one\nLine two' }, "/re po's");
    const { exitCode, stdout, stderr } = await cli.run(['show', 'fix']);
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
    for (const line of [
      /^fix: Fix it$/,
      /^ {2}state +completed, attempt 2 of 3, last ended committed$/,
      /^ {2}repository +\/re po's, base develop$/,
      /^ {2}test +npm test$/,
      /^ {2}model +a\/b$/,
      /^ {2}depends on +api$/,
      /^ {2}limits +30 min 00 s and 50000 tokens an attempt, 3 attempts$/,
      /^Prompt$/,
      /^ {2}Line two$/,
      /^Attempt 1: reverted, on cli-test, 3 ms, 900 tokens, \$0\.0125$/,
      /^ {2}stages +spawn 1\.5 s, test 2\.0 s$/,
      /^ {2}tests +failed \(1\), 2\.0 s$/,
      /^ {2}files +src\/a\.ts, src\/b\.ts$/,
      /^ {2}error +TESTS_FAILED: the tests failed \(exit code 1\): line$/,
      /^ {2}test log +ok$/,
      /^ {14}not ok\n {16}expected 3 to be 4$/,
      /transcript\.json \(3 B\), test\.log \(302 B\)$/,
      /^ {2}read +cellpool logs fix --attempt 1$/,
      /^Attempt 2: committed, on far, 3 ms, 1 tokens$/,
      /^ {2}branch +cellpool\/fix at c77507b22e$/,
      /^ {2}look +git -C '\/re po'\\''s' diff develop\.\.\.cellpool\/fix$/,
      /^ {2}take +git -C '\/re po'\\''s' merge cellpool\/fix$/,
      /^ {2}artifacts +its artifacts are on host far, in \/far\/artifacts\/fix\/2-0123abcd$/,
      /^ {2}attempt 1: reverted: the tests failed$/,
    ]) {
      expect(stdout).toMatch(new RegExp(line.source, 'm'));
    }
    expect(stdout).toContain(join(cli.home, 'artifacts', 'fix', '1-0123abcd'));
    // Of a long test log the end is told, and it is told once.
    expect(stdout.match(/ok$/gm)?.length).toBe(30 - 1);
    expect(stdout).not.toContain('expected 1 to be 2');
  });

  test('of a long error whose test log is not here its beginning and its end are told', async () => {
    await end('fix', [failed('/far/artifacts/fix/1-0123abcd', 'far')]);
    const { stdout } = await setting.cli.run(['show', 'fix']);
    expect(stdout).toMatch(/^ {2}error +TESTS_FAILED: the tests failed \(exit code 1\): line$/m);
    expect(stdout).toMatch(/^ +expected 1 to be 2$/m);
    expect(stdout.match(/^ *line$/gm)?.length).toBeLessThan(12);
  });

  test('with --json tells the same as one object', async () => {
    await end('fix', [failed('', 'far')]);
    const { exitCode, stdout } = await setting.cli.run(['show', 'fix', '--json']);
    expect(exitCode).toBe(0);
    const [task, ...others] = jsonLines<{ results: AttemptResult[] }>(stdout);
    expect(others).toEqual([]);
    expect(task).toMatchObject({ taskId: 'fix', state: 'failed', outcome: 'reverted', prompt: 'do it', cell: null });
    expect(task?.results).toMatchObject([{ error: { code: 'TESTS_FAILED' } }]);
  });

  test('ends with 1 for a task that is not known, and with 2 for what cannot be one', async () => {
    const unknown = await setting.cli.run(['show', 'nobody']);
    expect([unknown.exitCode, unknown.stdout]).toEqual([1, '']);
    expect(unknown.stderr).toMatch(/^cellpool: nobody is not known: there is no such job\n/);
    const bad = await setting.cli.run(['show', '../x']);
    expect([bad.exitCode, bad.stdout]).toEqual([2, '']);
    expect(bad.stderr).toMatch(/^id 1: is made of letters/);
  });

  test('a job that is none of ours is told as such, and what it holds cannot reach the terminal', async () => {
    const { cli, queue } = setting;
    await queue.add('task', { version: 1, task: { '\u001b[2J': 1 } }, { jobId: 'odd' });
    const odd = await cli.run(['show', 'odd']);
    expect(odd.exitCode).toBe(0);
    expect(odd.stdout).toMatch(/^ {2}fault +this is no job of cellpool: /m);
    const message = '\u001b[31mred\u001b[0m\u0007\r\nsecond \u202eline';
    await end('evil', [{ ...failed('', 'h\u001b[1m'), error: { code: 'X\u001b', message } }], {
      prompt: 'a\u001b]52;c;x\u0007\tb\r\nc',
    });
    const evil = await cli.run(['show', 'evil']);
    expect(evil.stdout).toContain('Attempt 1: reverted');
    expect(odd.stdout + evil.stdout).not.toMatch(/[^\P{Cc}\n\t]|\p{Cf}/u);
  });
});
