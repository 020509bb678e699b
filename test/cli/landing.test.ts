/** `cellpool landing`, and what `show`, `ps` and `stats` say of landings, on jobs that were put there by hand. */
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import type { LandingJob, LandingQueue } from '../../src/job/landing.ts';
import { openLandingQueue } from '../../src/job/landing.ts';
import { Tally } from '../../src/redis/tally.ts';
import { jsonLines } from '../support/cli.ts';
import { type CliQueue, openCliQueue, PREFIX } from '../support/cli-queue.ts';
import { addJob, jobOf, resultOf, untilState } from '../support/jobs.ts';
import { withResults } from '../support/pool.ts';
import {
  addLanding,
  commitOf,
  endLanding,
  fateOf,
  held,
  landingJobOf,
  landWith,
  noteTarget,
} from '../support/shown-landings.ts';

let setting: CliQueue;
let queue: LandingQueue;

beforeAll(async () => {
  setting = await openCliQueue();
  queue = openLandingQueue(setting.redis, PREFIX);
});
afterEach(() => setting.clear());
afterAll(async () => {
  await queue.close();
  await setting.close();
});

async function end(...jobs: LandingJob[]): Promise<void> {
  const client = setting.redis.duplicate({ maxRetriesPerRequest: null });
  for (const job of jobs) await endLanding(client, PREFIX, queue, job);
  client.disconnect();
}

const told = (text: string) =>
  text
    .trimEnd()
    .split('\n')
    .map(line => line.split(/ {2,}/));

describe('landing', () => {
  test('tells what is tried, what waits and why, and what became of the others', async () => {
    const others = ['fix', 'a', 'b'];
    await end(landingJobOf('fix', { fate: fateOf('landed', { batch: others, flaky: true }) }));
    await end(landingJobOf('back', { fate: fateOf('returned', { message: 'a.txt\nb.txt' }) }));
    await end(landingJobOf('bad', { fate: fateOf('refused', { why: 'red' }) }));
    for (const id of ['tried', 'next']) await addLanding(queue, landingJobOf(id));
    await addLanding(queue, landingJobOf('far', { target: 'dev', repository: 'https://example.org/app.git' }));
    const client = setting.redis.duplicate({ maxRetriesPerRequest: null });
    const worker = landWith(client, PREFIX, () => new Promise(() => undefined));
    await vi.waitUntil(async () => (await queue.getActiveCount()) === 1, { timeout: 30_000, interval: 10 });
    await noteTarget(setting.redis, PREFIX, { held: held('main is checked out\nin /repo', true) });
    const { exitCode, stdout, stderr } = await setting.cli.run(['landing']);
    await worker.close(true);
    client.disconnect();
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
    const [head, ...rows] = told(stdout);
    expect(head).toEqual(['TASK', 'STATE', 'TARGET', 'REPOSITORY', 'COMMIT', 'IN LINE', 'ENDED', 'NOTE']);
    const place = ['main', '/repo', 'aaaaaaaaaa'];
    const ago = expect.stringMatching(/^\d+ s ago$/);
    expect(rows).toEqual([
      ['tried', 'trying', ...place, ago, '-', 'is being tried on main'],
      ['next', 'waiting', ...place, ago, '-', 'waits to land on main, held: main is checked out in /repo'],
      ['far', 'waiting', 'dev', 'https://example.org/app.git', 'aaaaaaaaaa', ago, '-', 'waits to land on dev'],
      ['bad', 'refused', ...place, ago, ago, expect.stringContaining('stays on its branch: tests fail with it')],
      [
        'back',
        'returned',
        ...place,
        ago,
        ago,
        expect.stringContaining('is worked anew: it conflicts with what is there'),
      ],
      [
        'fix',
        'landed',
        ...place,
        ago,
        ago,
        expect.stringContaining('landed on main by ffffffffff, with a, b; tests failed'),
      ],
    ]);
    expect(stdout).not.toContain('a.txt');
  });

  test('of tasks that are named tells nothing but theirs, and why they did not land', async () => {
    await end(
      landingJobOf('bad', { fate: fateOf('refused', { why: 'red', message: 'not ok 7\n  expected 3 to be 4' }) }),
    );
    await end(landingJobOf('other', { fate: fateOf('refused', { message: 'nobody asks' }) }));
    await addLanding(queue, landingJobOf('waits'));
    await noteTarget(setting.redis, PREFIX, { held: held('main is checked out', true) });
    const { exitCode, stdout } = await setting.cli.run(['landing', 'bad', 'waits']);
    expect(exitCode).toBe(0);
    expect(stdout).toContain('\nbad: not ok 7 expected 3 to be 4\n');
    expect(stdout).toContain('\nwaits: Nothing lands on main of /repo for now: main is checked out. It stays so until');
    expect(stdout).not.toContain('nobody asks');
    expect((await setting.cli.run(['landing', 'nobody'])).stdout).toBe('None of these is to land, and none was.\n');
  });

  test('with --json tells each on a line of its own, as many of the ended as are asked for', async () => {
    const fate = fateOf('refused', { message: 'not ok 7\nat line 3' });
    await end(landingJobOf('old', { fate: fateOf('landed') }), landingJobOf('bad', { fate }));
    await addLanding(queue, landingJobOf('waits'));
    await noteTarget(setting.redis, PREFIX, { held: held('not now') });
    const { exitCode, stdout, stderr } = await setting.cli.run(['landing', '--json', '--limit', '1']);
    expect([exitCode, stderr]).toEqual([0, 'More than 1 have ended: see --limit.\n']);
    const place = { target: 'main', repository: '/repo', commit: commitOf('a') };
    expect(jsonLines(stdout)).toMatchObject([
      {
        taskId: 'waits',
        ...place,
        branch: 'cellpool/waits',
        state: 'waiting',
        held: { reason: 'not now' },
        fate: null,
      },
      { taskId: 'bad', ...place, branch: 'cellpool/bad', state: 'refused', held: null, fate },
    ]);
    expect((await setting.cli.run(['landing', '--json', 'nobody'])).stdout).toBe('');
  });

  test('of a pool in which nothing lands says so', async () => {
    const { exitCode, stdout } = await setting.cli.run(['landing']);
    expect([exitCode, stdout]).toEqual([0, 'Nothing is to land, and nothing was.\n']);
  });

  test('names every fault of a call, and without Redis ends with 3', async () => {
    const bad = await setting.cli.run(['landing', '../x', 'fix', '--limit', 'many']);
    expect([bad.exitCode, bad.stdout]).toEqual([2, '']);
    expect(bad.stderr).toMatch(/^--limit: is a whole number/m);
    expect(bad.stderr).toMatch(/^id 1: is made of letters/m);
    const away = await setting.cli.run(['landing'], { env: { REDIS_URL: 'redis://127.0.0.1:1' } });
    expect([away.exitCode, away.stdout]).toEqual([3, '']);
  });

  test('what a job or a lander has put there cannot reach the terminal', async () => {
    const evil = '\u001b]0;owned\u0007\u202e\u001b[2J';
    const texts = { repository: `/${evil}`, branch: evil, title: evil };
    const fate = fateOf('refused', { message: `${evil}\n${evil}`, batch: [evil], commit: evil });
    await end(landingJobOf('evil', { ...texts, fate }));
    await addLanding(queue, landingJobOf('evil', { ...texts, commit: commitOf('b') }));
    await queue.add('landing', { [evil]: 1 }, { jobId: `odd${evil}` });
    await noteTarget(setting.redis, PREFIX, { repository: `/${evil}`, target: 'main', held: held(evil, true) });
    for (const args of [['landing'], ['landing', 'evil'], ['ps']]) {
      const { exitCode, stdout } = await setting.cli.run(args);
      expect([args, exitCode, stdout.length > 50]).toEqual([args, 0, true]);
      expect(stdout).not.toMatch(/[^\P{Cc}\n]|\p{Cf}/u);
    }
  });
});

describe('show', () => {
  async function committed(id: string, more: Parameters<typeof jobOf>[1] = {}, repository = '/repo') {
    const result = { ...resultOf(id, 'committed'), branch: `cellpool/${id}`, commit: commitOf('a'), artifacts: '' };
    const worker = await setting.work(async job => {
      await withResults(job, [result]);
      return result;
    });
    await addJob(setting.queue, jobOf(id, more, repository));
    await untilState(setting.queue, id, 'completed');
    await worker.close();
  }
  const show = async (id: string) => (await setting.cli.run(['show', id])).stdout;
  const LAND = { land: 'merge', test: 'make check', landOn: 'dev' } as const;

  test('says where a task lands and what became of it; who is to take its branch is told how', async () => {
    for (const id of ['waits', 'good', 'bad', 'leaks']) await committed(id, LAND);
    await end(landingJobOf('good', { target: 'dev', fate: fateOf('landed') }));
    await end(landingJobOf('bad', { target: 'dev', fate: fateOf('refused', { message: 'not ok 7' }) }));
    await end(landingJobOf('leaks', { target: 'dev', fate: fateOf('refused', { why: 'secret' }) }));
    await addLanding(queue, landingJobOf('waits', { target: 'dev' }));
    const [waits, good, bad] = [await show('waits'), await show('good'), await show('bad')];
    expect(waits).toMatch(/^ {2}lands +on dev, by merge, once it is committed$/m);
    expect(waits).toMatch(/^ {2}landing +waits to land on dev$/m);
    expect(waits).toMatch(/^ {2}look +git -C \/repo diff main\.\.\.cellpool\/waits$/m);
    expect(waits).not.toMatch(/^ {2}take/m);
    expect(good).toMatch(/^ {2}landing +landed on dev by ffffffffff$/m);
    expect(good).not.toMatch(/^ {2}(take|look)/m);
    expect(bad).toMatch(
      /^ {2}landing +could not land on dev and stays on its branch: it conflicts with what is there$/m,
    );
    expect(bad).toMatch(/^ {2}why +not ok 7$/m);
    expect(bad).toMatch(/^ {2}take +git -C \/repo merge cellpool\/bad$/m);
    expect(await show('leaks')).toMatch(/stays on its branch: what it adds holds a secret$/m);
    expect(await show('leaks')).not.toMatch(/^ {2}take/m);
  });

  test('of a task that lands nowhere says how to merge its branch, from a remote too', async () => {
    await committed('here');
    await committed('far', {}, 'https://example.org/app.git');
    const [here, far] = [await show('here'), await show('far')];
    expect(here).toMatch(/^ {2}take +git -C \/repo merge cellpool\/here$/m);
    expect(here).not.toMatch(/^ {2}(lands|landing)/m);
    expect(far).toMatch(/^ {2}fetch +git fetch https:\/\/example\.org\/app\.git cellpool\/far /m);
    expect(far).toMatch(/^ {2}take +git merge FETCH_HEAD$/m);
  });
});

test('ps and stats tell of landings where there are any, and of nothing else where there are none', async () => {
  const silent = await setting.cli.run(['ps']);
  expect(silent.stdout).not.toMatch(/land/i);
  for (const id of ['a', 'b']) await addLanding(queue, landingJobOf(id));
  await noteTarget(setting.redis, PREFIX, { held: held('the remote is away.') });
  const tally = new Tally(setting.redis, { prefix: PREFIX });
  for (const id of ['c', 'd']) await tally.addLanding('landed', id);
  await tally.addLanding('refused', 'e');
  const ps = await setting.cli.run(['ps']);
  expect(ps.stdout).toContain('\nLanding: 2 in line, 0 being tried; 0 landed or returned, 0 refused.\n');
  expect(ps.stdout).toContain('\nNothing lands on main of /repo for now: the remote is away.\n');
  const json = jsonLines<Record<string, unknown>>((await setting.cli.run(['ps', '--json'])).stdout);
  expect(json).toMatchObject([
    { kind: 'queue', name: 'tasks' },
    { kind: 'queue', name: 'landing', waiting: 2 },
    { kind: 'target', target: 'main', held: { reason: 'the remote is away.' } },
  ]);
  const stats = await setting.cli.run(['stats']);
  expect(stats.stdout).toContain('\nBranches that were to land, since the first: 2 landed, 0 returned, 1 refused.\n');
  const total = jsonLines((await setting.cli.run(['stats', '--json'])).stdout).at(-1);
  expect(total).toMatchObject({ kind: 'total', landings: { landed: 2, returned: 0, refused: 1 } });
});
