/** Tasks of several repositories in one queue, taken one by one as workers take them, without their cells. */
import { UnrecoverableError, Worker } from 'bullmq';
import fc from 'fast-check';
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { addJobs } from '../../src/job/add-jobs.ts';
import { TASK_QUEUE } from '../../src/job/names.ts';
import { openQueue, type TaskQueue } from '../../src/job/queue.ts';
import type { TaskInput } from '../../src/job/task.ts';
import { cancelTasks } from '../../src/producer/cancel.ts';
import { retryTasks } from '../../src/producer/retry.ts';
import { FairShare, repositoryMark } from '../../src/redis/fair-share.ts';
import { lineKeys } from '../../src/redis/fleet-keys.ts';
import { type SlotOwner, Slots } from '../../src/redis/slots.ts';
import { jobOf } from '../support/jobs.ts';
import { type TestRedis, testRedis } from '../support/redis.ts';

let server: TestRedis;
let redis: Redis;
beforeAll(async () => {
  server = await testRedis();
  redis = await server.connect('worker');
});
afterAll(() => server.close());

const [A, B, C] = ['/repos/a', '/repos/b with a blank', '/repos/{c}'];
let fleet: Fleet;
beforeEach(() => {
  fleet = new Fleet(server.prefix());
  return () => fleet.close();
});

/** A queue, its slots, and a worker that takes jobs by hand. */
class Fleet {
  readonly prefix: string;
  readonly queue: TaskQueue;
  readonly slots: Slots;
  readonly fairShare: FairShare;
  readonly taker: Worker;
  /** Task id -> token. */
  readonly tokens = new Map<string, string>();
  #taken = 0;

  constructor(prefix: string) {
    this.prefix = prefix;
    this.queue = openQueue(redis, prefix);
    this.slots = new Slots(redis, { prefix });
    this.fairShare = new FairShare(redis, { prefix });
    this.taker = new Worker(TASK_QUEUE, null, { connection: redis, prefix, autorun: false, lockDuration: 600_000 });
  }

  add(repository: string, ids: readonly string[], more: Partial<TaskInput> = {}) {
    return addJobs(
      this.queue,
      ids.map(id => ({ data: jobOf(id, more, repository), replaces: null })),
    );
  }

  /** What a worker does until it may begin: the task that it begins, with who let it pass; null when nothing waits. */
  async begin(): Promise<{ id: string; repository: string; stoodBack: string[] } | null> {
    const stoodBack: string[] = [];
    for (;;) {
      this.#taken += 1;
      const token = `token-${this.#taken}`;
      const job = await this.taker.getNextJob(token, { block: false });
      if (job === undefined) return null;
      const id = job.id ?? '';
      const { repository } = job.data as { repository: string };
      const { granted, toPass } = await this.slots.acquire(ownerOf(id, repository), null);
      if (granted) {
        this.tokens.set(id, token);
        return { id, repository, stoodBack };
      }
      await job.moveToWait(token);
      if (toPass === null) return null;
      stoodBack.push(id);
      expect(await this.fairShare.letPass(toPass)).not.toBe(null);
    }
  }

  async begun(count: number): Promise<string[]> {
    const ids: string[] = [];
    for (let index = 0; index < count; index += 1) ids.push((await this.begin())?.id ?? '-');
    return ids;
  }

  async end(id: string, repository: string): Promise<void> {
    await this.slots.release([ownerOf(id, repository)]);
    const job = await this.queue.getJob(id);
    await job?.moveToCompleted('done', this.tokens.get(id) ?? '', false);
    await this.fairShare.ended(id, repository);
  }

  async close(): Promise<void> {
    await this.taker.close();
    await this.queue.close();
  }
}

const ownerOf = (taskId: string, repository: string): SlotOwner => ({
  ...{ host: 'here', home: '/home', taskId, attempt: 1, repository },
  worker: { id: 'w', pid: 1, startTime: '1', bootId: 'b', pidNamespace: 'n' },
});
const names = (start: string, count: number) => Array.from({ length: count }, (_, index) => `${start}${index + 1}`);

describe('a repository with few tasks', () => {
  test('has half of the slots at once, though another has a thousand that came first', async () => {
    await fleet.add(A, names('a', 1_000));
    await fleet.add(B, names('b', 10));
    expect(await fleet.begun(8)).toEqual(['a1', 'b1', 'a2', 'b2', 'a3', 'b3', 'a4', 'b4']);
    // As tasks end, each is followed by one of its own repository.
    await fleet.end('b1', B);
    expect(await fleet.begun(1)).toEqual(['b5']);
    await fleet.end('a1', A);
    expect(await fleet.begun(1)).toEqual(['a5']);
  });

  test('catches up with one that had all slots before it came', async () => {
    await fleet.add(A, names('a', 20));
    expect(await fleet.begun(4)).toEqual(['a1', 'a2', 'a3', 'a4']);
    await fleet.add(B, names('b', 5));
    for (const id of ['a1', 'a2']) await fleet.end(id, A);
    expect(await fleet.begun(2)).toEqual(['b1', 'b2']);
    await fleet.end('a3', A);
    // One to two: it is the first one's turn again.
    expect(await fleet.begun(1)).toEqual(['a5']);
  });

  test('leaves all slots to the others once it has no task that waits', async () => {
    await fleet.add(A, names('a', 10));
    await fleet.add(B, names('b', 1));
    expect(await fleet.begun(5)).toEqual(['a1', 'b1', 'a2', 'a3', 'a4']);
  });
});

test('three repositories have a third each', async () => {
  await fleet.add(A, names('a', 30));
  await fleet.add(B, names('b', 30));
  await fleet.add(C, names('c', 30));
  const begun = await fleet.begun(9);
  for (const start of ['a', 'b', 'c']) expect(begun.filter(id => id.startsWith(start))).toHaveLength(3);
});

test('one repository alone is worked in the order of its queue, and nobody stands back', async () => {
  await fleet.add(A, names('a', 3), { priority: 5 });
  await fleet.add(A, names('first', 2));
  const order: string[] = [];
  for (let next = await fleet.begin(); next !== null; next = await fleet.begin()) {
    expect(next.stoodBack).toEqual([]);
    order.push(next.id);
  }
  expect(order).toEqual(['first1', 'first2', 'a1', 'a2', 'a3']);
});

test('within each repository the priorities of tasks count, lower ones first and none before all', async () => {
  await fleet.add(A, names('a', 10));
  await fleet.add(B, ['b9'], { priority: 9 });
  await fleet.add(B, ['b2', 'b2-too'], { priority: 2 });
  await fleet.add(B, ['b0']);
  const begun = await fleet.begun(8);
  expect(begun.filter(id => id.startsWith('b'))).toEqual(['b0', 'b2', 'b2-too', 'b9']);
});

test('a task that stands back stays the first of its own', async () => {
  await fleet.add(A, names('a', 5));
  await fleet.add(B, names('b', 2));
  expect((await fleet.begin())?.id).toBe('a1');
  expect(await fleet.begin()).toMatchObject({ id: 'b1', stoodBack: ['a2'] });
  expect(await fleet.begin()).toMatchObject({ id: 'a2', stoodBack: [] });
});

describe('nobody stands back for a repository whose tasks', () => {
  test('wait for their time, run, or have ended', async () => {
    await fleet.add(B, ['runs', 'ends', 'later']);
    expect(await fleet.begun(2)).toEqual(['runs', 'ends']);
    await fleet.end('ends', B);
    const job = await fleet.taker.getNextJob('by-hand', { block: false });
    expect(job?.id).toBe('later');
    await job?.moveToDelayed(Date.now() + 3_600_000, 'by-hand');
    await fleet.add(A, names('a', 5));
    expect(await fleet.begun(5)).toEqual(['a1', 'a2', 'a3', 'a4', 'a5']);
  });

  test('were cancelled, and they are forgotten', async () => {
    await fleet.add(A, names('a', 5));
    await fleet.add(B, names('b', 3));
    await cancelTasks({ redis, prefix: fleet.prefix }, names('b', 3));
    expect(await fleet.begun(5)).toEqual(['a1', 'a2', 'a3', 'a4', 'a5']);
    const { lines, lineOf } = lineKeys(fleet.prefix);
    expect(await redis.exists(lineOf(repositoryMark(B)))).toBe(0);
    // The line that is empty is forgotten when it is met again.
    await fleet.add(A, ['a6']);
    await fleet.begun(1);
    expect(await redis.hvals(lines)).toEqual([A]);
  });
});

test('a task that failed and is retried stands in its line again', async () => {
  await fleet.add(B, ['b']);
  const begun = await fleet.begin();
  const job = await fleet.queue.getJob('b');
  await job?.moveToFailed(new UnrecoverableError('it failed'), fleet.tokens.get('b') ?? '', false);
  await fleet.slots.release([ownerOf('b', B)]);
  await fleet.fairShare.ended('b', B);
  expect(begun?.id).toBe('b');
  await fleet.add(A, names('a', 5));
  expect(await fleet.begun(2)).toEqual(['a1', 'a2']);
  expect(await retryTasks({ redis, prefix: fleet.prefix }, ['b'])).toMatchObject([{ how: 'queued' }]);
  expect(await fleet.begun(1)).toEqual(['b']);
});

test('tasks that are in no line are worked in the order of the queue', async () => {
  await fleet.add(A, names('a', 3));
  await fleet.add(B, names('b', 2));
  await redis.del(lineKeys(fleet.prefix).lines);
  expect(await fleet.begun(5)).toEqual(['a1', 'a2', 'a3', 'b1', 'b2']);
});

test('nonsense in the lines stops nobody', async () => {
  await fleet.add(A, names('a', 3));
  await fleet.add(B, names('b', 1));
  const { lines, lineOf } = lineKeys(fleet.prefix);
  await redis.hset(lines, 'odd', '/odd', 'text', '/text');
  await redis.set(lineOf('text'), 'x');
  await redis.zadd(lineOf('odd'), 0, 'wait', 0, 'no such', 0, '');
  await redis.zadd(lineOf(repositoryMark(B)), 0, 'active');
  expect(await fleet.begun(4)).toEqual(['a1', 'b1', 'a2', 'a3']);
  expect(await redis.hkeys(lines)).not.toContain('text');
});

test('a line does not grow by tasks whose end nobody told', async () => {
  await fleet.add(A, names('a', 50));
  const { lineOf } = lineKeys(fleet.prefix);
  for (const id of names('a', 50)) await (await fleet.queue.getJob(id))?.remove();
  await fleet.add(A, names('later', 30));
  expect(await redis.zcard(lineOf(repositoryMark(A)))).toBe(30);
  expect(await redis.pttl(lineOf(repositoryMark(A)))).toBeGreaterThan(86_400_000);
});

test('whatever comes and ends, no repository that has tasks waiting has two slots fewer than another that begins one', async () => {
  const REPOSITORIES = [A, B, C] as const;
  const step = fc.oneof(
    { weight: 2, arbitrary: fc.record({ add: fc.nat(2), count: fc.integer({ min: 1, max: 8 }), priority: fc.nat(2) }) },
    { weight: 6, arbitrary: fc.constant('begin' as const) },
    { weight: 3, arbitrary: fc.record({ end: fc.nat(20) }) },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 50 }), async steps => {
      const own = new Fleet(server.prefix());
      await own.slots.set({ cells: 6 });
      const waiting = new Map<string, number>(REPOSITORIES.map(name => [name, 0]));
      const running: { id: string; repository: string }[] = [];
      let made = 0;
      const heldBy = (name: string) => running.filter(({ repository }) => repository === name).length;
      try {
        for (const one of steps) {
          if (one === 'begin') {
            const begun = await own.begin();
            if (begun === null) {
              const left = [...waiting.values()].reduce((sum, count) => sum + count, 0);
              expect(left === 0 || running.length === 6).toBe(true);
              continue;
            }
            for (const name of REPOSITORIES) {
              if ((waiting.get(name) ?? 0) > 0 && name !== begun.repository) {
                expect(heldBy(name)).toBeGreaterThanOrEqual(heldBy(begun.repository));
              }
            }
            waiting.set(begun.repository, (waiting.get(begun.repository) ?? 0) - 1);
            running.push(begun);
          } else if ('add' in one) {
            const name = REPOSITORIES[one.add] ?? A;
            made += 1;
            const ids = names(`t${made}-`, one.count);
            await own.add(name, ids, one.priority === 0 ? {} : { priority: one.priority });
            waiting.set(name, (waiting.get(name) ?? 0) + one.count);
          } else if (running.length > 0) {
            const [ended] = running.splice(one.end % running.length, 1);
            if (ended !== undefined) await own.end(ended.id, ended.repository);
          }
        }
      } finally {
        await own.close();
      }
    }),
    { numRuns: 40 },
  );
}, 120_000);

describe('with as many repositories as cells, or more', () => {
  test('a single cell goes round among them, and the one whose turn is longest ago is next', async () => {
    await fleet.add(A, names('a', 100));
    await fleet.add(B, names('b', 100));
    await fleet.add(C, names('c', 2));
    const order: string[] = [];
    for (let index = 0; index < 8; index += 1) {
      const begun = await fleet.begin();
      order.push(begun?.id ?? '-');
      await fleet.end(begun?.id ?? '', begun?.repository ?? '');
    }
    expect([...order].sort()).toEqual(['a1', 'a2', 'a3', 'b1', 'b2', 'b3', 'c1', 'c2']);
    // Nobody has a second turn before all have had one.
    expect(new Set(order.slice(0, 3).map(id => id[0]))).toEqual(new Set(['a', 'b', 'c']));
  });
});

test('tasks that are retried together all stand in their line again', async () => {
  const ids = names('f', 60);
  await fleet.add(A, ids);
  for (const id of ids) {
    const job = await fleet.taker.getNextJob(`t-${id}`, { block: false });
    expect(job?.id).toBe(id);
    await job?.moveToFailed(new UnrecoverableError('on purpose'), `t-${id}`, false);
    await fleet.fairShare.ended(id, A);
  }
  const { lineOf } = lineKeys(fleet.prefix);
  expect(await redis.zcard(lineOf(repositoryMark(A)))).toBe(0);
  await retryTasks({ redis: await server.connect('producer'), prefix: fleet.prefix }, ids);
  expect((await redis.zrange(lineOf(repositoryMark(A)), '0', '-1')).sort()).toEqual([...ids].sort());
  // An end that is told late takes nobody out who is queued again.
  await fleet.fairShare.ended('f1', A);
  expect(await redis.zscore(lineOf(repositoryMark(A)), 'f1')).not.toBeNull();
});

test('owners of slots that nobody of ours has written stop no grant, and count for no repository', async () => {
  await fleet.add(A, names('a', 3));
  await fleet.add(B, names('b', 3));
  const owners = `${fleet.prefix}:slots:owners`;
  await redis.zadd(`${fleet.prefix}:slots`, String(Date.now() + 30_000), 'x|y|z');
  await redis.hset(owners, 'x|y|z', '{"repository":NaN}', 'gone|w|t', JSON.stringify({ repository: A }));
  expect(await fleet.begun(4)).toEqual(['a1', 'b1', 'a2', 'b2']);
});
