/** Landings on the pages of the board, over a real Redis. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { LandingJob } from '../../src/job/landing.ts';
import { endJob, openBoard, openEvents, type TestBoard } from '../support/board.ts';
import { addJob, jobOf, resultOf } from '../support/jobs.ts';
import { type TestRedis, testRedis } from '../support/redis.ts';
import { addLanding, commitOf, endLanding, fateOf, held, landingJobOf, noteTarget } from '../support/shown-landings.ts';

let server: TestRedis;
beforeAll(async () => {
  server = await testRedis();
});
afterAll(() => server.close());

const textOf = (page: string) => page.replace(/<[^>]+>/g, ' ').replace(/\s+/g, ' ');

async function end({ prefix, landing }: TestBoard, ...jobs: LandingJob[]): Promise<void> {
  const redis = await server.connect('worker');
  for (const job of jobs) await endLanding(redis, prefix, landing, job);
  redis.disconnect();
}

/** A task that has committed, and was to land. */
async function committed(board: TestBoard, id: string, repository = '/repo', land?: 'merge'): Promise<void> {
  const how = land === undefined ? {} : { land, test: 'make check' };
  await addJob(board.queue, jobOf(id, how, repository));
  const result = { ...resultOf(id, 'committed'), branch: `cellpool/${id}`, commit: commitOf('a'), artifacts: '' };
  await endJob(server, board, result);
}

describe('the live page', () => {
  test('is silent about landing where nothing lands, and begins to tell of it without being asked for anew', async () => {
    const board = await openBoard(server);
    const page = await (await board.get('/')).text();
    expect(page).toContain('<div id="landing" data-part></div>');
    expect(page).not.toMatch(/landing-title|queues\/queue\/landing/);
    const events = await openEvents(`${board.url}/events`);
    await events.next();
    await addLanding(board.landing, landingJobOf('fix'));
    const { parts } = (await events.next()).data as { parts: Record<string, string> };
    expect(parts.landing).toContain('<h2 id="landing-title">Landing</h2>');
    expect(parts.queues).toContain('/queues/queue/landing');
    // Tasks are counted there, and nothing else.
    expect(parts.summary).toBeUndefined();
  });

  test('tells how many wait and the first of them, what holds them, and what became of the last ones', async () => {
    const board = await openBoard(server);
    await end(board, landingJobOf('good', { title: 'Fix the login', fate: fateOf('landed') }));
    await end(board, landingJobOf('bad', { fate: fateOf('refused', { why: 'red', message: 'not ok 7' }) }));
    for (let at = 0; at < 12; at += 1) await addLanding(board.landing, landingJobOf(`waits-${at}`));
    await noteTarget(board.redis, board.prefix, { held: held('main is checked out in /repo', true) });
    const page = await (await board.get('/')).text();
    const text = textOf(page);
    for (const said of [
      'Finished branches: 12 in line, 0 being tried.',
      'Nothing lands on main of /repo for now: main is checked out in /repo. It stays so until somebody sees to it.',
      'waits-9 waiting main of repo',
      'Fix the login landed just now main of repo ffffffffff',
      'bad refused just now main of repo – tests fail with it',
    ]) {
      expect(text).toContain(said);
    }
    expect(text).not.toContain('waits-10');
    expect(page.match(/<table /g)?.length).toBe(page.match(/<caption>/g)?.length);
    const json = (await (await board.get('/api/pool')).json()) as { landings: Record<string, unknown> };
    expect(json.landings).toMatchObject({ queue: { waiting: 12 }, targets: [{ target: 'main' }] });
    expect(JSON.stringify(json.landings)).not.toContain('opencode');
  });

  test('shows as text what was made to break out', async () => {
    const board = await openBoard(server);
    const evil = `"'></td></table><script>alert(1)</script><img src=x onerror=alert(1)>`;
    const texts = { title: evil, repository: `/${evil}` };
    const fate = fateOf('refused', { message: evil, batch: [evil], commit: evil });
    await committed(board, 'evil', '/repo', 'merge');
    await end(board, landingJobOf('evil', { ...texts, fate }));
    await addLanding(board.landing, landingJobOf('other', texts));
    await board.landing.add('landing', { [evil]: evil }, { jobId: evil });
    await noteTarget(board.redis, board.prefix, { repository: evil, target: evil, held: held(evil) });
    for (const path of ['/', '/tasks/evil']) {
      const response = await board.get(path);
      const page = await response.text();
      expect([response.status, board.said]).toEqual([200, []]);
      expect(page).toContain('&lt;script&gt;');
      expect(page).not.toMatch(/<script>|<img/);
    }
  });
});

describe('the page of a task', () => {
  test('says that its commit waits, has landed, came back or was refused, with what was said about it', async () => {
    const board = await openBoard(server);
    const page = async (id: string) => textOf(await (await board.get(`/tasks/${id}`)).text());
    for (const id of ['waits', 'landed', 'refused']) await committed(board, id, '/repo', 'merge');
    await end(board, landingJobOf('landed', { fate: fateOf('landed', { batch: ['landed', 'other'] }) }));
    await end(board, landingJobOf('refused', { fate: fateOf('refused', { message: 'conflict in a.txt' }) }));
    await addLanding(board.landing, landingJobOf('waits'));
    await noteTarget(board.redis, board.prefix, { held: held('not now') });
    expect(await page('waits')).toContain('It waits to land on main, held: not now.');
    expect(await page('waits')).toContain('Lands on main , by merge');
    expect(await page('landed')).toContain('It landed on main by ffffffffff, with other, just now .');
    const refused = await page('refused');
    expect(refused).toContain(
      'could not land on main and stays on its branch: it conflicts with what is there, just now .',
    );
    expect(refused).toContain('conflict in a.txt');
    for (const id of ['waits', 'landed']) expect(await page(id)).not.toContain('git -C');
    expect(refused).toContain('Take it git -C /repo merge cellpool/refused');
    const task = await (await board.get('/api/tasks/refused')).json();
    expect(task).toMatchObject({ lands: { how: 'merge' }, landings: [{ state: 'refused' }] });
  });

  test('of a branch that stays says how to merge it, from a remote too', async () => {
    const board = await openBoard(server);
    await committed(board, 'here', "/re po's");
    await committed(board, 'far', 'https://example.org/app.git');
    const page = async (id: string) => textOf(await (await board.get(`/tasks/${id}`)).text());
    expect(await page('here')).toContain('Take it git -C &#39;/re po&#39;\\&#39;&#39;s&#39; merge cellpool/here');
    const far = 'Take it git fetch https://example.org/app.git cellpool/far , then git merge FETCH_HEAD';
    expect(await page('far')).toContain(far);
    expect(await page('far')).not.toContain('Landing:');
  });
});
