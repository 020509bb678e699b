/** Following tasks to the end of their landings, with a lander that merges nothing. */
import { type Job, UnrecoverableError, type Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import type { TaskJob } from '../../src/job/job.ts';
import { type LandingJob, type LandingQueue, landingIdOf } from '../../src/job/landing.ts';
import type { AttemptResult } from '../../src/job/outcome.ts';
import type { TaskQueue } from '../../src/job/queue.ts';
import { cancelTasks } from '../../src/producer/cancel.ts';
import { TaskFollower } from '../../src/producer/follow.ts';
import type { LandingNews } from '../../src/producer/follow-landing.ts';
import { LandingTargets, type TargetNote } from '../../src/redis/landing-targets.ts';
import { addJob, holdJobs, jobOf, resultOf, untilState } from '../support/jobs.ts';
import {
  addLanding,
  committedAs,
  LANDED,
  landWith,
  openQueues,
  type Queues,
  REFUSED,
  RETURNED,
  type Verdict,
} from '../support/landings.ts';
import { type TestRedis, testRedis } from '../support/redis.ts';

let server: TestRedis;
let pool: Queues;
let prefix: string;
let redis: Redis;
let queue: TaskQueue;
let landings: LandingQueue;
let follower: TaskFollower | null;
const workers: Worker[] = [];

/** What was told, in order. */
let told: (['news', string, LandingNews] | ['end', string, AttemptResult])[];
const kinds = () => told.map(([what, id, said]) => `${id} ${what === 'news' ? said.kind : said.landing?.state}`);

const never = new AbortController().signal;

beforeAll(async () => {
  server = await testRedis();
});
afterAll(() => server.close());

beforeEach(async () => {
  pool = await openQueues(server);
  ({ prefix, redis, queue, landings } = pool);
  follower = null;
  told = [];
});

afterEach(async () => {
  await follower?.close();
  await Promise.all(workers.splice(0).map(worker => worker.close(true)));
  await pool.close();
});

async function follow(...taskIds: string[]): Promise<TaskFollower> {
  follower = await TaskFollower.open({
    ...{ queue, redis: await server.connect('worker'), prefix, taskIds, landing: { queue: landings, redis } },
    onLanding: (id, news) => void told.push(['news', id, news]),
    onOutcome: (id, result) => void told.push(['end', id, result]),
  });
  return follower;
}

const toLand = (id: string) => jobOf(id, { test: 'true', land: 'merge' });

/** Every attempt commits; its landing is on the queue before the task has ended. The commit is that of the round. */
async function commitAll(): Promise<void> {
  workers.push(
    holdJobs(await server.connect('worker'), prefix, async (job: Job<TaskJob>) => {
      const result = committedAs(String(1 + (job.data.returned?.times ?? 0)), job.data.task.id);
      await job.updateData({ ...job.data, results: [...job.data.results, result] });
      if (job.data.task.land === 'merge') await addLanding(landings, job.data, result, job.timestamp);
      return result;
    }),
  );
}

async function land(judge: (landing: LandingJob) => Verdict | Promise<Verdict>): Promise<void> {
  workers.push(landWith(await server.connect('worker'), prefix, queue, judge));
}

test('a task that is to land is at its end when it has landed, and its result says by which commit', async () => {
  await addJob(queue, toLand('a'));
  const done = (await follow('a')).untilAllEnded(never);
  await commitAll();
  await vi.waitUntil(() => told.length > 0, { timeout: 30_000 });
  expect(told).toEqual([['news', 'a', { kind: 'waits', target: 'main' }]]);
  await land(() => LANDED);
  await done;
  const landing = { target: 'main', state: 'landed', commit: 'f'.repeat(40), message: 'landed' };
  expect(told.slice(1)).toEqual([['end', 'a', { ...committedAs('1', 'a'), landing }]]);
});

test('one whose landing is refused stays committed, and its result says why it did not land', async () => {
  await addJob(queue, toLand('a'));
  await commitAll();
  await land(() => REFUSED);
  await (await follow('a')).untilAllEnded(never);
  expect(told.at(-1)).toMatchObject([
    'end',
    'a',
    { outcome: 'committed', landing: { state: 'refused', commit: null } },
  ]);
});

test('one whose work comes back is followed on, until its next commit has landed', async () => {
  await addJob(queue, toLand('a'));
  const done = (await follow('a')).untilAllEnded(never);
  await commitAll();
  await land(({ returns }) => (returns < 2 ? RETURNED : LANDED));
  await done;
  expect(told.at(-1)).toMatchObject(['end', 'a', { commit: '3'.repeat(40), landing: { state: 'landed' } }]);
  // What passes between two looks is not told; but nothing is told twice, or in another order.
  expect(kinds().filter(line => line === 'a returned').length).toBeLessThanOrEqual(2);
  expect(kinds().filter(line => line === 'a landed')).toHaveLength(1);
});

test('that work came back is told with the reason, once', async () => {
  const returned = { times: 1, commit: 'c'.repeat(40), tip: 'd'.repeat(40), target: 'main' };
  const back = { ...toLand('a'), results: [committedAs('1', 'a')], kept: 1 };
  await addJob(queue, { ...back, returned: { ...returned, why: 'conflict', message: 'a.txt' } });
  const following = await follow('a');
  for (let look = 0; look < 3; look += 1) await following.lookOnce();
  expect(told).toEqual([['news', 'a', { kind: 'returned', target: 'main', why: 'conflict', message: 'a.txt' }]]);
  expect(following.pending).toEqual(['a']);
});

test('a task that is not to land, or whose landing was forgotten before, is at its end when it has committed', async () => {
  for (const data of [jobOf('a'), toLand('b')]) await addJob(queue, data);
  workers.push(holdJobs(await server.connect('worker'), prefix, async job => committedAs('1', job.data.task.id)));
  await (await follow('a', 'b')).untilAllEnded(never);
  expect(told.sort(([, a], [, b]) => a.localeCompare(b))).toEqual([
    ['end', 'a', committedAs('1', 'a')],
    ['end', 'b', committedAs('1', 'b')],
  ]);
});

/** Task `a` has committed, and that is waited for. */
async function waitsForLanding(): Promise<TaskFollower> {
  await addJob(queue, toLand('a'));
  const following = await follow('a');
  await commitAll();
  await untilState(queue, 'a', 'completed');
  await following.lookOnce();
  expect(kinds()).toEqual(['a waits']);
  return following;
}

const forget = (id: string) => redis.del(queue.toKey(id));

test('a landing that was waited for and is not there any more is told as one that has not landed', async () => {
  const following = await waitsForLanding();
  await redis.del(landings.toKey(landingIdOf({ taskId: 'a', commit: '1'.repeat(40) })));
  await following.lookOnce();
  const landing = {
    target: 'main',
    state: 'waiting',
    commit: null,
    message: expect.stringContaining('not on the queue'),
  };
  expect(told.at(-1)).toEqual(['end', 'a', { ...committedAs('1', 'a'), landing }]);
});

test('a task that is forgotten while its landing waits is waited for all the same, and told as it has landed', async () => {
  const following = await waitsForLanding();
  await forget('a');
  await following.lookOnce();
  expect(following.pending).toEqual(['a']);
  const done = following.untilAllEnded(never);
  await land(() => LANDED);
  await done;
  const landing = { target: 'main', state: 'landed', commit: 'f'.repeat(40), message: 'landed' };
  expect(told.slice(1)).toEqual([['end', 'a', { ...committedAs('1', 'a'), landing }]]);
});

test('when the landing is forgotten with its task, nobody is told of a success', async () => {
  const following = await waitsForLanding();
  await forget('a');
  await redis.del(landings.toKey(landingIdOf({ taskId: 'a', commit: '1'.repeat(40) })));
  await following.lookOnce();
  expect(told.at(-1)).toMatchObject(['end', 'a', { outcome: 'committed', landing: { state: 'waiting' } }]);
});

test('a landing that a person cancels while it is waited for is told as refused', async () => {
  const done = (await waitsForLanding()).untilAllEnded(never);
  expect(await cancelTasks({ redis, prefix }, ['a'], { waitMs: 0 })).toMatchObject([{ how: 'kept-back' }]);
  await done;
  const message = 'a person has cancelled it; branch cellpool/a stays';
  const landing = { target: 'main', state: 'refused', commit: null, message };
  expect(told.at(-1)).toEqual(['end', 'a', { ...committedAs('1', 'a'), landing }]);
});

/** Task `a` on the queue as its first commit could not land. */
async function cameBack(): Promise<TaskFollower> {
  const returned = { times: 1, commit: '1'.repeat(40), tip: 'e'.repeat(40), target: 'main' };
  const back = { ...toLand('a'), results: [committedAs('1', 'a')], kept: 1 };
  await addJob(queue, { ...back, returned: { ...returned, why: 'conflict', message: 'a.txt\nb.txt' } });
  const following = await follow('a');
  await following.lookOnce();
  return following;
}

const where = 'branch cellpool/a still holds that work at 111111111111.';
const stays = (outcome: string) => ({
  ...{ target: 'main', state: 'refused', commit: null },
  message: `it contradicts main in a.txt, b.txt\nWorked anew, it ended ${outcome}; ${where}`,
});

test('work that came back, and is worked anew without a commit, is told as one that did not land', async () => {
  const done = (await cameBack()).untilAllEnded(never);
  workers.push(holdJobs(await server.connect('worker'), prefix, async () => resultOf('a', 'no-changes')));
  await done;
  expect(told.at(-1)).toEqual(['end', 'a', { ...resultOf('a', 'no-changes'), landing: stays('no-changes') }]);
});

test('the same when that is cancelled before it has begun', async () => {
  const following = await cameBack();
  expect(await cancelTasks({ redis, prefix }, ['a'], { waitMs: 0 })).toMatchObject([{ how: 'removed' }]);
  await following.lookOnce();
  expect(told.at(-1)).toMatchObject(['end', 'a', { outcome: 'cancelled', landing: stays('cancelled') }]);
});

test('without a queue of landings a commit is the end', async () => {
  await addJob(queue, toLand('a'));
  await commitAll();
  const common = { queue, redis: await server.connect('worker'), prefix, taskIds: ['a'] };
  follower = await TaskFollower.open({ ...common, onOutcome: (id, result) => void told.push(['end', id, result]) });
  await follower.untilAllEnded(never);
  expect(told).toEqual([['end', 'a', committedAs('1', 'a')]]);
});

const hold = (forPerson: boolean, reason = 'main is checked out at /repo'): TargetNote['held'] => ({
  ...{ code: 'BRANCH_CHECKED_OUT', reason, forPerson, since: 1 },
});

/** As a lander says it, every few seconds, of the target that all tasks of these tests land on. */
async function say(held: TargetNote['held'], at: number, worker = 'w', trying: string[] = []): Promise<void> {
  const note = { repository: '/repo', target: 'main', host: 'h', worker, trying, held, at };
  await new LandingTargets(redis, { prefix }).write(`m ${worker}`, note);
}

test('when all that is left waits for what a person has to do, that is told, and waited for no longer', async () => {
  for (const id of ['a', 'b']) await addJob(queue, toLand(id));
  const now = Date.now();
  await say(hold(true), now - 5_000);
  const following = await follow('a', 'b');
  await commitAll();
  await vi.waitUntil(async () => (await queue.getCompletedCount()) === 2, { timeout: 30_000 });
  // It was said before anybody waited, and may have been put right since.
  for (let look = 0; look < 3; look += 1) await following.lookOnce();
  expect(following.pending).toEqual(['a', 'b']);
  await say(hold(false), now - 1_000);
  for (let look = 0; look < 3; look += 1) await following.lookOnce();
  expect(following.pending).toEqual(['a', 'b']);
  await say(hold(true), now);
  await following.untilAllEnded(never);
  const message = 'main is checked out at /repo. `cellpool land` lands it then.';
  const landing = { target: 'main', state: 'waiting', commit: null, message };
  expect(told.filter(([what]) => what === 'end')).toMatchObject([
    ['end', 'a', { outcome: 'committed', landing }],
    ['end', 'b', { outcome: 'committed', landing }],
  ]);
});

test('what holds one lander holds nothing while another one may land it, and has to be seen twice', async () => {
  const following = await waitsForLanding();
  const now = Date.now();
  const looks = async () => {
    for (let look = 0; look < 3; look += 1) await following.lookOnce();
    return following.pending.length;
  };
  await say(hold(true, 'this one lacks git 2.38'), now);
  await say(null, now, 'x');
  expect(await looks()).toBe(1);
  await say(null, now, 'x', ['a']);
  expect(await looks()).toBe(1);
  await say(hold(true, 'so it was before'), now, 'x', ['a']);
  expect(await looks()).toBe(1);
  await say(hold(false), now, 'x');
  expect(await looks()).toBe(1);
  await say(hold(true, 'main is checked out'), now, 'x');
  await following.lookOnce();
  expect([...following.held]).toEqual([]);
  await following.lookOnce();
  const message = expect.stringMatching(/^(this one lacks git|main is checked out)/);
  expect(told.at(-1)).toMatchObject(['end', 'a', { landing: { state: 'waiting', message } }]);
});

test('as long as another task goes on, a landing that is held is waited for', async () => {
  await addJob(queue, toLand('a'));
  await addJob(queue, jobOf('runs', { priority: 1 }));
  let end: () => void = () => undefined;
  const gate = new Promise<void>(resolve => {
    end = resolve;
  });
  workers.push(
    holdJobs(await server.connect('worker'), prefix, async (job: Job<TaskJob>) => {
      if (job.data.task.id === 'runs') {
        await gate;
        throw new UnrecoverableError('no');
      }
      const result = committedAs('1', 'a');
      await addLanding(landings, job.data, result);
      return result;
    }),
  );
  const following = await follow('a', 'runs');
  await vi.waitUntil(async () => (await queue.getCompletedCount()) === 1, { timeout: 30_000 });
  await following.lookOnce();
  await say(hold(true), Date.now());
  for (let look = 0; look < 2; look += 1) await following.lookOnce();
  expect(following.pending).toEqual(['a', 'runs']);
  expect([...following.held]).toEqual(['a']);
  end();
  await following.untilAllEnded(never);
  expect(kinds()).toEqual(['a waits', 'runs undefined', 'a waiting']);
});

test('who stops waiting is told of what has not landed yet', async () => {
  await addJob(queue, toLand('a'));
  const following = await follow('a');
  await commitAll();
  await vi.waitUntil(async () => (await queue.getCompletedCount()) === 1, { timeout: 30_000 });
  await following.lookOnce();
  following.leaveLandings();
  expect(following.pending).toEqual([]);
  expect(told.at(-1)).toMatchObject([
    'end',
    'a',
    { landing: { state: 'waiting', message: expect.stringContaining('has not come') } },
  ]);
});
