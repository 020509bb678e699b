/** `cellpool land` on finished branches of a real repository: no agent, but real merges and real tests. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import type { TaskJob } from '../../src/job/job.ts';
import { LANDING_JOB, type LandingQueue, landingOf, landingOptions, openLandingQueue } from '../../src/job/landing.ts';
import type { TaskInput } from '../../src/job/task.ts';
import { jsonLines } from '../support/cli.ts';
import { type CliQueue, openCliQueue, PREFIX } from '../support/cli-queue.ts';
import { addJob, jobOf, resultOf, untilState } from '../support/jobs.ts';
import { commitAll, git, makeRepository, tempFolder, writeFiles } from '../support/repository.ts';

let setting: CliQueue;
let landings: LandingQueue;
let top: string;

beforeAll(async () => {
  setting = await openCliQueue();
  landings = openLandingQueue(setting.redis, PREFIX);
});
beforeEach(async () => {
  top = makeRepository(join(tempFolder('land'), 'source'), { 'a.txt': 'a\n', 'test.sh': '[ ! -e red.txt ]\n' });
  git(top, 'switch', '--quiet', '--detach');
  // As a worker ends a task whose attempt has committed.
  await setting.work(async job => {
    const data = job.data as TaskJob;
    const { id } = data.task;
    const result = { ...resultOf(id, 'committed'), branch: `cellpool/${id}`, commit: tipOf(`cellpool/${id}`) };
    const ended = { ...data, results: [result] };
    await job.updateData(ended);
    const landing = landingOf(ended, result, job.timestamp);
    if (landing !== null) await landings.add(LANDING_JOB, landing, landingOptions(landing));
    return result;
  });
});
afterEach(() => setting.clear());
afterAll(async () => {
  await landings.close();
  await setting.close();
});

const tipOf = (branch: string) => git(top, 'rev-parse', branch);
const subjects = (branch = 'main') => git(top, 'log', '--first-parent', '--format=%s', branch).split('\n');

/** The queue's own Redis is the test's, and stays. */
function expectNothingLeft(): void {
  for (const name of ['cells', 'discarded', 'landings', 'registry']) {
    const folder = join(setting.cli.home, name);
    expect(existsSync(folder) ? readdirSync(folder) : []).toEqual([]);
  }
}

async function finished(id: string, files: Record<string, string>, more: Partial<TaskInput> = {}): Promise<string> {
  git(top, 'switch', '--quiet', '--detach', 'main');
  writeFiles(top, files);
  const commit = commitAll(top, id);
  git(top, 'branch', `cellpool/${id}`, commit);
  const data = jobOf(id, { land: 'merge', test: 'sh test.sh', ...more }, top);
  await addJob(setting.queue, { ...data, plan: { ...data.plan, testMs: 60_000, landing: { returns: 0 } } });
  await untilState(setting.queue, id, 'completed');
  return commit;
}

describe('land', () => {
  test('lands what waits, says so, and leaves nothing behind', async () => {
    await finished('one', { 'one.txt': '1\n' });
    await finished('two', { 'two.txt': '2\n' });
    const { exitCode, stdout, stderr } = await setting.cli.run(['land']);
    const id = tipOf('main').slice(0, 12);
    expect(stdout.split('\n')).toEqual([`one landed on main as ${id}`, `two landed on main as ${id}`, '']);
    // Their tests run on this machine: how far they are kept from it is said as a worker says it.
    expect(stderr).toMatch(/^Cells are (not )?isolated/m);
    expect(exitCode).toBe(0);
    expect(subjects()).toEqual(['Land one, two', 'first']);
    expectNothingLeft();
  });

  test('has nothing to do where nothing waits', async () => {
    expect(await setting.cli.run(['land'])).toMatchObject({ exitCode: 0, stdout: '' });
  });

  test('lands the branch of a task that did not ask for it, where it is told to', async () => {
    git(top, 'branch', 'release', 'main');
    await finished('one', { 'one.txt': '1\n' }, { land: 'none' });
    const { exitCode, stdout } = await setting.cli.run(['land', 'one', '--land-on', 'release', '--json']);
    expect(jsonLines(stdout)).toMatchObject([
      { event: 'asked', taskId: 'one', how: 'queued' },
      { event: 'fate', taskId: 'one', target: 'release', fate: 'landed', commit: tipOf('release') },
    ]);
    expect(exitCode).toBe(0);
    expect(subjects('main')).toEqual(['first']);
    const again = await setting.cli.run(['land', 'one', '--land-on', 'release']);
    expect(again).toMatchObject({ exitCode: 0, stdout: 'one has landed before\n' });
  });

  test('says of each task that cannot land why, and ends with 1', async () => {
    await finished('untested', { 'one.txt': '1\n' }, { land: 'none', test: undefined });
    const { exitCode, stdout } = await setting.cli.run(['land', 'untested', 'unknown']);
    expect(stdout).toBe(
      'untested cannot land: it has no test command, and what lands is what its tests let through\n' +
        'unknown cannot land: there is no such task\n',
    );
    expect(exitCode).toBe(1);
  });

  test('refuses what turns its target red, and tries it anew when a person asks for it', async () => {
    const commit = await finished('bad', { 'red.txt': '1\n' });
    const first = await setting.cli.run(['land', '--json']);
    expect(jsonLines(first.stdout)).toMatchObject([{ taskId: 'bad', fate: 'refused', why: 'red', commit: null }]);
    expect(first.exitCode).toBe(1);
    git(top, 'switch', '--quiet', 'main');
    writeFiles(top, { 'test.sh': 'true\n' });
    commitAll(top, 'better tests');
    git(top, 'switch', '--quiet', '--detach');
    expect(await setting.cli.run(['land', 'bad'])).toMatchObject({ exitCode: 0 });
    expect(subjects()).toEqual(['Land bad', 'better tests', 'first']);
    expect(tipOf('main^2')).toBe(commit);
  });

  test('touches no working copy: it says what is to be done, and ends with 1', async () => {
    await finished('one', { 'one.txt': '1\n' });
    git(top, 'switch', '--quiet', 'main');
    writeFiles(top, { 'a.txt': 'edited\n' });
    const { exitCode, stderr } = await setting.cli.run(['land']);
    expect(exitCode).toBe(1);
    expect(stderr).toContain(`branch main is checked out in ${top}`);
    expect(stderr).toContain('Switch that working copy to another branch');
    expect(git(top, 'status', '--porcelain').trim()).toBe('M a.txt');
    expectNothingLeft();
  });

  test('in a paused pool says so, and ends with 1', async () => {
    await finished('one', { 'one.txt': '1\n' });
    await setting.cli.run(['pause']);
    const { exitCode, stdout, stderr } = await setting.cli.run(['land']);
    expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: '' });
    expect(stderr).toContain('The pool is paused, so nothing lands: cellpool resume.');
    await setting.cli.run(['resume']);
    expect(await setting.cli.run(['land'])).toMatchObject({ exitCode: 0 });
  });

  test('is stopped in the middle of a test run, which comes to nothing and is done by the next call', async () => {
    const begun = join(setting.cli.folder, 'begun');
    await finished('one', { 'one.txt': '1\n' }, { test: `[ -e '${begun}' ] || { : >'${begun}'; exec sleep 60; }` });
    const landing = setting.cli.start(['land']);
    await vi.waitUntil(() => existsSync(begun), { timeout: 60_000, interval: 20 });
    landing.signal('SIGINT');
    expect(await landing.ended).toMatchObject({ exitCode: 130, signal: null, stdout: '' });
    expectNothingLeft();
    expect(await setting.cli.run(['land'])).toMatchObject({ exitCode: 0 });
    expect(subjects()).toEqual(['Land one', 'first']);
  });

  test('with --watch goes on until it is stopped', async () => {
    const watching = setting.cli.start(['land', '--watch']);
    await watching.says('Landing what comes.');
    await finished('one', { 'one.txt': '1\n' });
    await vi.waitUntil(() => watching.shown().includes('one landed on main'), { timeout: 60_000, interval: 20 });
    watching.signal('SIGINT');
    expect(await watching.ended).toMatchObject({ exitCode: 0, signal: null });
    expectNothingLeft();
  });

  test('ends with 2 on bad input, before anything is done', async () => {
    const { exitCode, stderr } = await setting.cli.run(['land', '../x', '--batch', '0']);
    expect(exitCode).toBe(2);
    expect(stderr).toContain('--batch:');
    expect(stderr).toContain('id 1:');
    expect(await setting.cli.run(['land', '--land-on', 'main'])).toMatchObject({ exitCode: 2 });
  });
});
