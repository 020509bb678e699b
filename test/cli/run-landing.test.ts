/** What `cellpool run` says of tasks that had committed before and were to land; no cell is made for them. */
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { Fate } from '../../src/job/fate.ts';
import type { TaskJob } from '../../src/job/job.ts';
import { landingIdOf, openLandingQueue } from '../../src/job/landing.ts';
import type { AttemptResult } from '../../src/job/outcome.ts';
import { LandingTargets } from '../../src/redis/landing-targets.ts';
import { jsonLines } from '../support/cli.ts';
import { type CliQueue, openCliQueue, PREFIX } from '../support/cli-queue.ts';
import { resultOf, untilState } from '../support/jobs.ts';
import { addLanding, committedAs, LANDED, REFUSED, type Verdict } from '../support/landings.ts';
import { commitAll, git, writeFiles } from '../support/repository.ts';

let pool: CliQueue;
let repository: string;
let flags: string[];

beforeAll(async () => {
  pool = await openCliQueue();
  repository = pool.cli.repository({ 'a.txt': 'a\n' });
  const tasks = pool.cli.tasksFile('tasks.jsonl', [{ id: 'a', prompt: 'do it' }]);
  flags = [tasks, '--repo', repository, '--test', 'true', '--land', 'merge'];
});
afterEach(() => pool.clear());
afterAll(() => pool.close());

/** The task has committed, and this has become of its landing; null: nothing yet. */
async function settled(verdict: Verdict | null, commit = '1'.repeat(40)): Promise<void> {
  const landings = openLandingQueue(pool.redis, PREFIX);
  try {
    await pool.cli.run(['enqueue', ...flags]);
    await pool.work(async job => {
      const data = job.data as TaskJob;
      const result = { ...committedAs('1', 'a'), commit };
      await job.updateData({ ...data, results: [result] });
      const landing = await addLanding(landings, data, result, job.timestamp);
      if (verdict === null) return result;
      const fate: Fate = { ...verdict, batch: ['a'], flaky: false, at: Date.now() };
      await (await landings.getJob(landingIdOf(landing)))?.updateData({ ...landing, fate });
      return result;
    });
    await untilState(pool.queue, 'a', 'completed');
  } finally {
    await landings.close();
  }
}

test('a task that has landed is told with the commit by which its target has it', async () => {
  await settled(LANDED);
  const ended = await pool.cli.run(['run', ...flags, '--json']);
  const landing = { target: 'main', state: 'landed', commit: 'f'.repeat(40), message: 'landed' };
  expect(jsonLines<AttemptResult>(ended.stdout)).toEqual([{ ...committedAs('1', 'a'), landing }]);
  expect(ended.stderr).toContain('a landed on main as ffffffffff');
  expect(ended.exitCode).toBe(0);
});

test('one that was refused stays committed, and the command ends with 1 and says why', async () => {
  await settled(REFUSED);
  const { exitCode, stdout } = await pool.cli.run(['run', ...flags]);
  expect(stdout).toMatch(/^a +committed .* refused$/m);
  expect(stdout).toContain('1 tasks: 1 committed; 1 refused');
  expect(stdout).toContain('a: not on main: expected 3, found 4');
  expect(exitCode).toBe(1);
});

test('it is said before all else when nothing will land, as somebody works on the target', async () => {
  await settled(LANDED);
  const { stderr } = await pool.cli.run(['run', ...flags]);
  expect(stderr.split('\n')[0]).toContain(`main is checked out in ${repository}: nothing lands on it`);
});

test('one whose landing waits for a person is not waited for: the command ends with 1, and says what to do', async () => {
  git(repository, 'switch', '--quiet', '-c', 'cellpool/a');
  writeFiles(repository, { 'b.txt': 'b\n' });
  const commit = commitAll(repository, 'Do it');
  git(repository, 'switch', '--quiet', 'main');
  await settled(null, commit);
  const reason = `main is checked out at ${repository}`;
  const lander = { host: 'h', worker: 'w', trying: [], held: { code: 'x', reason, forPerson: true, since: 1 } };
  const say = () =>
    new LandingTargets(pool.redis, { prefix: PREFIX }).write('m', {
      ...{ repository, target: 'main', ...lander, at: Date.now() },
    });
  const saying = setInterval(() => void say(), 1_000);
  const ended = await pool.cli.run(['run', ...flags, '--json']).finally(() => clearInterval(saying));
  const [result] = jsonLines<AttemptResult>(ended.stdout);
  expect(result).toMatchObject({ outcome: 'committed', landing: { target: 'main', state: 'waiting', commit: null } });
  expect(result?.landing?.message).toMatch(/main is checked out .*`cellpool land`/);
  expect(ended.stderr).toContain('a waits for landing on main');
  expect(ended.stderr).not.toContain('still queued');
  expect(ended.exitCode).toBe(1);
});

test('a person who stops waiting for a landing is told that it has not come yet, and ends the command with 130', async () => {
  await settled(null);
  const landings = openLandingQueue(pool.redis, PREFIX);
  // No lander takes anything up.
  await landings.pause();
  await landings.close();
  const running = pool.cli.start(['run', ...flags, '--json']);
  await running.says('a waits for landing on main');
  running.signal('SIGINT');
  const { exitCode, stdout } = await running.ended;
  expect(jsonLines<AttemptResult>(stdout)).toMatchObject([{ outcome: 'committed', landing: { state: 'waiting' } }]);
  expect(exitCode).toBe(130);
});

test('one that a person cancels meanwhile is told as refused, and ends the command with 1', async () => {
  await settled(null);
  const landings = openLandingQueue(pool.redis, PREFIX);
  // No lander takes anything up.
  await landings.pause();
  await landings.close();
  const running = pool.cli.start(['run', ...flags, '--json']);
  await running.says('a waits for landing on main');
  expect(await pool.cli.run(['cancel', 'a'])).toMatchObject({ exitCode: 0 });
  const { exitCode, stdout } = await running.ended;
  const landing = { state: 'refused', message: 'a person has cancelled it; branch cellpool/a stays' };
  expect(jsonLines<AttemptResult>(stdout)).toMatchObject([{ outcome: 'committed', landing }]);
  expect(exitCode).toBe(1);
});

test('one that came back and changed nothing then has not gone well: its work is on no target', async () => {
  await pool.cli.run(['enqueue', ...flags]);
  await pool.work(async job => {
    const returned = { times: 1, commit: '1'.repeat(40), tip: '2'.repeat(40), target: 'main', why: 'conflict' };
    const results = [committedAs('1', 'a'), resultOf('a', 'no-changes')];
    await job.updateData({ ...job.data, results, kept: 1, returned: { ...returned, message: 'a.txt' } });
    return results[1];
  });
  await untilState(pool.queue, 'a', 'completed');
  const { exitCode, stdout } = await pool.cli.run(['run', ...flags]);
  expect(stdout).toMatch(/^a +no-changes .* refused$/m);
  expect(stdout).toContain('branch cellpool/a still holds that work at 111111111111');
  expect(exitCode).toBe(1);
});
