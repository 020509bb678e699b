/** What is told of landings, on jobs that were put on their queue by hand. */
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { isForPeople } from '../../../src/board/view/branch-commands.ts';
import type { LandingFacts } from '../../../src/board/view/facts.ts';
import { heldTargets, listLandings, readPoolLandings } from '../../../src/board/view/landing-facts.ts';
import { landingInWords } from '../../../src/board/view/landing-words.ts';
import { readTask } from '../../../src/board/view/task-facts.ts';
import type { LandingJob } from '../../../src/job/landing.ts';
import type { TargetNote } from '../../../src/redis/landing-targets.ts';
import { resultOf } from '../../support/jobs.ts';
import { type TestRedis, testRedis } from '../../support/redis.ts';
import {
  addLanding,
  commitOf,
  endLanding,
  fateOf,
  held,
  landingJobOf,
  landWith,
  noteTarget,
} from '../../support/shown-landings.ts';
import { makePool, type Pool } from './support.ts';

let redis: TestRedis;
beforeAll(async () => {
  redis = await testRedis();
});
afterAll(() => redis.close());

async function end({ prefix, landing }: Pool, ...jobs: LandingJob[]): Promise<void> {
  const client = await redis.connect('worker');
  for (const job of jobs) await endLanding(client, prefix, landing, job);
  client.disconnect();
}

/** Has the first in line tried, for as long as the test takes. */
async function tryFirst({ prefix, landing }: Pool): Promise<void> {
  const client = await redis.connect('worker');
  const worker = landWith(client, prefix, () => new Promise(() => undefined));
  onTestFinished(async () => {
    await worker.close(true);
    client.disconnect();
  });
  await vi.waitUntil(async () => (await landing.getActiveCount()) === 1, { timeout: 30_000, interval: 10 });
}

const ALL = { ended: 20 };
const names = (landings: readonly LandingFacts[]) => landings.map(({ taskId, state }) => `${taskId} ${state}`);

describe('a list of landings', () => {
  test('has those being tried, then those in line by target, then those that ended, the latest first', async () => {
    const pool = await makePool(redis);
    await end(pool, landingJobOf('old', { fate: fateOf('landed') }));
    await end(
      pool,
      landingJobOf('bad', { fate: fateOf('refused') }),
      landingJobOf('back', { fate: fateOf('returned') }),
    );
    for (const [id, target] of ['a main', 'b main', 'c dev', 'd main', 'e dev'].map(one => one.split(' '))) {
      await addLanding(pool.landing, landingJobOf(id ?? '', { target: target ?? '' }));
    }
    await tryFirst(pool);
    const { landings, isMore } = await listLandings(pool, ALL);
    expect(names(landings)).toEqual([
      ...['a trying', 'b waiting', 'd waiting', 'c waiting', 'e waiting'],
      ...['back returned', 'bad refused', 'old landed'],
    ]);
    expect(isMore).toBe(false);
  });

  test('tells of each what is to land where, and what became of it', async () => {
    const pool = await makePool(redis);
    const fate = fateOf('landed', { batch: ['fix', 'other'], flaky: true });
    await end(pool, landingJobOf('fix', { title: 'Fix it', target: 'dev', fate }));
    expect((await listLandings(pool, ALL)).landings).toEqual([
      {
        ...{ landingId: 'fix.aaaaaaaaaaaa', taskId: 'fix', title: 'Fix it', repository: '/repo', target: 'dev' },
        ...{ branch: 'cellpool/fix', commit: commitOf('a'), state: 'landed', held: null, fate, fault: null },
        ...{ queuedAt: expect.any(Number), endedAt: expect.any(Number) },
      },
    ]);
  });

  test('says of those that wait why nothing lands on their target, and of no others', async () => {
    const pool = await makePool(redis);
    await end(pool, landingJobOf('done', { fate: fateOf('landed') }));
    for (const target of ['main', 'dev']) await addLanding(pool.landing, landingJobOf(`on-${target}`, { target }));
    await addLanding(pool.landing, landingJobOf('elsewhere', { repository: '/other' }));
    // The same folder of another host is another one, and nothing is in the way there.
    await noteTarget(pool.redis, pool.prefix, { host: 'a' });
    await noteTarget(pool.redis, pool.prefix, { host: 'b', held: held('main is checked out', true) });
    await noteTarget(pool.redis, pool.prefix, { target: 'dev', at: Date.now() - 3_600_000, held: held('long ago') });
    const { landings } = await listLandings(pool, ALL);
    expect(landings.map(({ taskId, held: why }) => [taskId, why?.reason ?? null])).toEqual([
      ...[
        ['on-main', 'main is checked out'],
        ['on-dev', null],
        ['elsewhere', null],
        ['done', null],
      ],
    ]);
  });

  test('tells of nothing that holds one lander up while another one is at the target', async () => {
    const pool = await makePool(redis);
    await addLanding(pool.landing, landingJobOf('fix'));
    await noteTarget(pool.redis, pool.prefix, { worker: 'a', held: held('there is no git 2.38') });
    await noteTarget(pool.redis, pool.prefix, { worker: 'b', trying: ['other'] });
    const of = async () => (await listLandings(pool, ALL)).landings.map(one => one.held?.reason ?? null);
    expect(await of()).toEqual([null]);
    await noteTarget(pool.redis, pool.prefix, { worker: 'b' });
    expect(await of()).toEqual(['there is no git 2.38']);
  });

  test('is of the tasks that are asked for alone, with each of their commits', async () => {
    const pool = await makePool(redis);
    const first = landingJobOf('fix', { commit: commitOf('b'), fate: fateOf('returned') });
    await end(
      pool,
      first,
      landingJobOf('fix.more', { fate: fateOf('landed') }),
      landingJobOf('other', { fate: fateOf('refused') }),
    );
    await addLanding(pool.landing, landingJobOf('fix'));
    await addLanding(pool.landing, landingJobOf('fix-2'));
    const of = async (...taskIds: string[]) => names((await listLandings(pool, { ...ALL, taskIds })).landings);
    expect(await of('fix')).toEqual(['fix waiting', 'fix returned']);
    expect(await of('other', 'fix.more')).toEqual(['other refused', 'fix.more landed']);
    expect(await of('nobody')).toEqual([]);
  });

  test('has as many of the ended ones as are asked for, and says when there are more', async () => {
    const pool = await makePool(redis);
    await end(pool, ...['a', 'b', 'c'].map(id => landingJobOf(id, { fate: fateOf('landed') })));
    await addLanding(pool.landing, landingJobOf('waits'));
    const two = await listLandings(pool, { ended: 2 });
    expect([names(two.landings), two.isMore]).toEqual([['waits waiting', 'c landed', 'b landed'], true]);
    const three = await listLandings(pool, { ended: 3 });
    expect([three.landings.length, three.isMore]).toEqual([4, false]);
    const named = await listLandings(pool, { ended: 1, taskIds: ['a', 'b'] });
    expect([names(named.landings), named.isMore]).toEqual([['b landed'], true]);
  });

  test('goes by the fate as soon as it is written, though the job may not have moved yet', async () => {
    const pool = await makePool(redis);
    await addLanding(pool.landing, landingJobOf('fix', { fate: fateOf('landed', { at: 5 }) }));
    await tryFirst(pool);
    expect((await listLandings(pool, ALL)).landings).toMatchObject([{ state: 'landed', endedAt: 5, held: null }]);
  });

  test('hides nothing for nonsense on the queue, and says what it is', async () => {
    const pool = await makePool(redis);
    const { landing, redis: client } = pool;
    await end(pool, landingJobOf('untold'));
    await landing.add('landing', { no: 'landing' }, { jobId: 'odd' });
    await landing.add('landing', landingJobOf('one'), { jobId: 'two.aaaaaaaaaaaa' });
    await addLanding(landing, landingJobOf('half'));
    await client.hset(landing.toKey('half.aaaaaaaaaaaa'), 'data', '{"half":');
    await addLanding(landing, landingJobOf('string'));
    await client.del(landing.toKey('string.aaaaaaaaaaaa'));
    await client.set(landing.toKey('string.aaaaaaaaaaaa'), 'no hash');
    await client.lpush(landing.toKey('wait'), 'gone.aaaaaaaaaaaa');
    await addLanding(landing, landingJobOf('good'));
    await client.hset(`${pool.prefix}:landers:targets`, 'x', '{', 'y', '[]');
    const { landings } = await listLandings(pool, ALL);
    expect(landings.map(({ taskId, state, fault }) => [taskId, state, fault === null]).sort()).toEqual([
      ['good', 'waiting', true],
      ['half', 'waiting', false],
      ['odd', 'waiting', false],
      ['string', 'waiting', false],
      ['two', 'waiting', false],
      ['untold', 'unknown', true],
    ]);
  });
});

describe('the landings of a pool', () => {
  test('are the first of those under way and the last of those that ended, beside the depth of the queue', async () => {
    const pool = await makePool(redis);
    await end(pool, ...['a', 'b', 'c'].map(id => landingJobOf(id, { fate: fateOf('landed') })));
    for (const id of ['t', 'u', 'v', 'w']) await addLanding(pool.landing, landingJobOf(id));
    await tryFirst(pool);
    await noteTarget(pool.redis, pool.prefix, { trying: ['t'] });
    const { queue, targets, underWay, ended } = await readPoolLandings(pool, 2);
    expect(queue).toMatchObject({ name: 'landing', waiting: 3, running: 1, completed: 3, failed: 0 });
    expect(targets).toMatchObject([{ target: 'main', trying: ['t'] }]);
    expect(names(underWay)).toEqual(['t trying', 'u waiting', 'v waiting']);
    expect(names(ended)).toEqual(['c landed', 'b landed']);
    expect(await readPoolLandings(pool, 0)).toMatchObject({ queue: { waiting: 3 }, underWay: [], ended: [] });
  });
});

describe('a task', () => {
  test('is told with what became of each of its commits, and how it is to land', async () => {
    const pool = await makePool(redis);
    await pool.end(['fix'], 'committed', { land: 'push', landOn: 'dev', test: 'make check' });
    const commits = ['b', 'a', 'c'].map(commitOf);
    const results = commits.map((commit, at) => ({ ...resultOf('fix', 'committed', at + 1), commit }));
    const job = await pool.queue.getJob('fix');
    await job?.updateData({ ...(job.data as object), results });
    await end(pool, landingJobOf('fix', { commit: commitOf('b'), fate: fateOf('returned') }));
    await addLanding(pool.landing, landingJobOf('fix'));
    await noteTarget(pool.redis, pool.prefix, { held: held('not now') });
    const task = await readTask(pool, 'fix');
    expect(task?.lands).toEqual({ how: 'push', target: 'dev' });
    expect(task?.landings).toMatchObject([
      { commit: commitOf('b'), state: 'returned', held: null },
      { commit: commitOf('a'), state: 'waiting', held: { reason: 'not now' } },
    ]);
  });
});

test('of a task that was worked anew without a commit it is said that the branch stays, and how to take it', async () => {
  const pool = await makePool(redis);
  const back = landingJobOf('fix', { fate: fateOf('returned') });
  const returned = { times: 1, commit: commitOf('a'), target: 'main', tip: commitOf('e'), why: 'red', message: 'no' };
  const before = { ...resultOf('fix', 'committed'), branch: 'cellpool/fix', commit: commitOf('a') };
  await pool.end(['fix'], 'no-changes', { land: 'merge', test: 'make check' });
  const job = await pool.queue.getJob('fix');
  const results = [before, resultOf('fix', 'no-changes')];
  await job?.updateData({ ...(job.data as object), results, kept: 1, returned });
  await end(pool, back);
  const [landing = expect.fail('it has none')] = (await readTask(pool, 'fix'))?.landings ?? [];
  expect(landingInWords(landing)).toBe(
    'could not land on main and was worked anew, without a result, so its branch stays: it conflicts with what is there',
  );
  expect(isForPeople(landing)).toBe(true);
  // Once more on the queue it is being worked.
  await job?.retry('completed');
  const [now = expect.fail('it has none')] = (await readTask(pool, 'fix'))?.landings ?? [];
  expect(landingInWords(now)).toContain('and is worked anew');
  expect(isForPeople(now)).toBe(false);
});

test('a target that is held is named once, however many landers say so, and not while another one is at it', () => {
  const note = { repository: '/repo', target: 'main', host: 'h', worker: 'a', trying: [], held: null, at: 1 };
  const [first, second] = [held('first'), held('second')];
  const targets: TargetNote[] = [
    { ...note, held: first },
    { ...note, worker: 'b', held: second },
    { ...note, target: 'dev', held: first },
    { ...note, target: 'dev', worker: 'b', trying: ['fix'] },
    { ...note, target: 'free' },
    { ...note, target: 'old', held: second },
  ];
  expect(heldTargets(targets).map(({ target, held: why }) => [target, why?.reason])).toEqual([
    ['main', 'first'],
    ['old', 'second'],
  ]);
});
