import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import type { TaskJob } from '../../src/job/job.ts';
import { openQueue, type TaskQueue } from '../../src/job/queue.ts';
import { cancelTasks } from '../../src/producer/cancel.ts';
import { retryTasks } from '../../src/producer/retry.ts';
import type { WorkerPool } from '../../src/worker/worker.ts';
import { addJob, holdJobs, jobOf as jobWith, resultOf, untilState } from '../support/jobs.ts';
import { type TestRedis, testRedis } from '../support/redis.ts';
import { makeRepository, tempFolder } from '../support/repository.ts';
import { startPoolWithoutCells } from './pool-setting.ts';

let server: TestRedis;
let prefix: string;
let queue: TaskQueue;
let folder: string;
let repository: string;
const pools: WorkerPool[] = [];

/** Longer than any test waits for a state. */
const NEVER_MS = 3_600_000;

beforeAll(async () => {
  server = await testRedis();
});
afterAll(() => server.close());

beforeEach(async () => {
  prefix = server.prefix();
  folder = tempFolder('dependents');
  repository = makeRepository(join(folder, 'repository'));
  queue = openQueue(await server.connect('producer'), prefix);
});
afterEach(async () => {
  await Promise.all(pools.splice(0).map(pool => pool.stop()));
  await queue.close();
});

async function startPool(lookAgainMs = NEVER_MS): Promise<void> {
  pools.push(await startPoolWithoutCells(server, { prefix, folder, lookAgainMs }));
}

/** A task that fails when it is begun, for want of its base branch. */
const failing = (id: string, dependsOn: string[] = []) => jobWith(id, { base: 'nowhere', dependsOn }, repository);
/** A task that is found to be done as soon as it is taken up. */
const good = (id: string): TaskJob => ({ ...jobWith(id, {}, repository), results: [resultOf(id, 'committed')] });

async function dataOf(id: string): Promise<TaskJob> {
  return ((await queue.getJob(id)) ?? expect.fail(`there is no job ${id}`)).data as TaskJob;
}

async function lastError(id: string): Promise<string | undefined> {
  return (await dataOf(id)).results.at(-1)?.error?.code;
}

/** Resolves when these tasks were put back to wait for others. */
const untilHeld = (...ids: string[]) =>
  vi.waitUntil(
    async () => {
      const data = await Promise.all(ids.map(dataOf));
      const states = await Promise.all(ids.map(id => queue.getJobState(id)));
      return states.every(one => one === 'delayed') && data.every(({ waits }) => waits?.code === 'DEPENDENCY_PENDING');
    },
    { timeout: 30_000, interval: 10 },
  );

describe('a dependency that ends', () => {
  test('well lets go at once what waits for it, and for nothing else', async () => {
    for (const id of ['a', 'other']) await addJob(queue, good(id), NEVER_MS);
    await addJob(queue, failing('b', ['a']));
    await addJob(queue, failing('c', ['a', 'other']));
    await startPool();
    await untilHeld('b', 'c');
    await (await queue.getJob('a'))?.promote();
    await untilState(queue, 'b', 'failed');
    // It was begun: what it failed for is its own fault.
    expect(await lastError('b')).toBe('UNKNOWN_BASE');
    await untilHeld('c');
    expect(await dataOf('c')).toMatchObject({
      results: [],
      waits: { reason: '"other" has not ended yet' },
    });
    await (await queue.getJob('other'))?.promote();
    await untilState(queue, 'c', 'failed');
    expect(await lastError('c')).toBe('UNKNOWN_BASE');
  });

  test('badly fails the whole chain behind it, each of which waited for the one before', async () => {
    const chain = ['b', 'c', 'd', 'e'];
    for (const [index, id] of chain.entries()) await addJob(queue, failing(id, [chain[index - 1] ?? 'a']));
    await addJob(queue, failing('a'), NEVER_MS);
    await startPool();
    await untilHeld(...chain);
    await (await queue.getJob('a'))?.promote();
    await untilState(queue, 'e', 'failed');
    expect(await Promise.all(['a', ...chain].map(lastError))).toEqual([
      'UNKNOWN_BASE',
      ...chain.map(() => 'DEPENDENCY_FAILED'),
    ]);
    // One attempt each, without a cell; nobody is entered anywhere any more.
    for (const id of chain) {
      const job = await queue.getJob(id);
      expect(job).toMatchObject({ attemptsMade: 1, data: { results: [{ metrics: { totalMs: 0 } }] } });
      expect(job?.data).not.toHaveProperty('waits');
    }
    expect(await (await server.connect('producer')).keys(`${prefix}:dependents:*`)).toEqual([]);
  });

  test('in one arm of a diamond fails what both arms lead to, while the other still waits', async () => {
    await addJob(queue, failing('bottom', ['left', 'right']));
    await addJob(queue, failing('left', ['top']));
    for (const id of ['right', 'top']) await addJob(queue, good(id), NEVER_MS);
    await startPool();
    await untilHeld('bottom', 'left');
    await (await queue.getJob('top'))?.promote();
    await untilState(queue, 'bottom', 'failed');
    expect((await queue.getJob('bottom'))?.failedReason).toBe('failed: it depends on "left", which failed');
    expect(await queue.getJobState('right')).toBe('delayed');
  });

  test('by a person who cancels it, waiting as it is, fails at once what waits for it', async () => {
    await addJob(queue, good('a'), NEVER_MS);
    await addJob(queue, failing('b', ['a']));
    await startPool();
    await untilHeld('b');
    await cancelTasks({ redis: await server.connect('producer'), prefix }, ['a']);
    await untilState(queue, 'b', 'failed');
    expect(await lastError('b')).toBe('DEPENDENCY_FAILED');
  });

  test('anew, after both were retried, is waited for as before', async () => {
    // The first ends when the other was found to wait for it, and no sooner.
    const gate = join(folder, 'gate');
    const a = failing('a');
    const onFailure = `until [ -e '${gate}' ]; do sleep 0.1; done`;
    await addJob(queue, { ...a, plan: { ...a.plan, hooks: { onFailure } } });
    await addJob(queue, failing('b', ['a']));
    await startPool();
    await untilHeld('b');
    writeFileSync(gate, '');
    await untilState(queue, 'b', 'failed');
    rmSync(gate);
    await retryTasks({ redis: await server.connect('producer'), prefix }, ['b', 'a']);
    await untilHeld('b');
    writeFileSync(gate, '');
    const story = async () => (await queue.getJobLogs('b')).logs.map(line => line.replace(/: failed: .*/, ': failed'));
    const [held, failed] = ['attempt 1: put back uncounted: "a" has not ended yet', 'attempt 1: failed'];
    await vi.waitUntil(async () => (await story()).filter(line => line === failed).length === 2, { timeout: 30_000 });
    expect(await story()).toEqual([held, failed, held, failed]);
    expect(await lastError('b')).toBe('DEPENDENCY_FAILED');
  });
});

test('a worker that dies between the end of a task and the waking of others keeps these waiting for a while only', async () => {
  // What such a worker does to the queue: it takes the job, ends it, and tells nobody.
  let end = (): void => undefined;
  const ended = new Promise<void>(resolve => {
    end = resolve;
  });
  const dying = holdJobs(await server.connect('worker'), prefix, async () => {
    await ended;
    return resultOf('a', 'committed');
  });
  try {
    await addJob(queue, good('a'));
    await untilState(queue, 'a', 'active');
    await dying.pause(true);
    await addJob(queue, failing('b', ['a']));
    await startPool(500);
    await untilHeld('b');
    end();
    await untilState(queue, 'a', 'completed');
    await untilState(queue, 'b', 'failed');
    expect(await lastError('b')).toBe('UNKNOWN_BASE');
  } finally {
    end();
    await dying.close();
  }
});
