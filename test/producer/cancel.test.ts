import { UnrecoverableError, type Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { InvalidInput } from '../../src/errors.ts';
import { openQueue, TASK_JOB, type TaskQueue } from '../../src/job/queue.ts';
import { cancelTasks } from '../../src/producer/cancel.ts';
import { Control, type ControlMessage } from '../../src/redis/control.ts';
import { addJob, holdJobs, jobOf, resultOf, untilState } from '../support/jobs.ts';
import { type TestRedis, testRedis } from '../support/redis.ts';

let server: TestRedis;
let prefix: string;
let redis: Redis;
let queue: TaskQueue;
let control: Control;
const workers: Worker[] = [];
const closing: { close(): Promise<void> }[] = [];

beforeAll(async () => {
  server = await testRedis();
});
afterAll(() => server.close());

beforeEach(async () => {
  prefix = server.prefix();
  redis = await server.connect('producer');
  queue = openQueue(redis, prefix);
  control = new Control(redis, { prefix });
});

afterEach(async () => {
  await Promise.all(closing.splice(0).map(one => one.close()));
  await Promise.all(workers.splice(0).map(worker => worker.close(true)));
  await queue.close();
  redis.disconnect();
});

const cancel = (ids: string[], waitMs?: number) =>
  cancelTasks({ redis, prefix }, ids, waitMs === undefined ? {} : { waitMs });
const timestampOf = async (id: string) => Number(await redis.hget(queue.toKey(id), 'timestamp'));
const isMarked = async (taskId: string) =>
  (await control.marked([{ taskId, enqueuedAt: await timestampOf(taskId) }])).length === 1;

/** A stand-in for the worker's side: it ends a job when it is told to, as `cancelled` or as it is told. */
async function workUntilTold(end: (id: string) => Promise<unknown>): Promise<ControlMessage[]> {
  const heard: ControlMessage[] = [];
  let told = (_id: string): void => undefined;
  const connection = await server.connect('worker');
  closing.push(
    await Control.subscribe(connection, prefix, message => {
      heard.push(message);
      if (message.kind === 'cancel') told(message.taskId);
    }),
  );
  workers.push(
    holdJobs(connection, prefix, async job => {
      await new Promise<void>(resolve => {
        told = id => {
          if (id === job.id) resolve();
        };
      });
      return end(job.id ?? '');
    }),
  );
  return heard;
}

/** As the worker of cellpool ends a cancelled attempt. */
async function endCancelled(id: string): Promise<never> {
  const job = await queue.getJob(id);
  await job?.updateData({ ...jobOf(id), results: [resultOf(id, 'cancelled')] });
  throw new UnrecoverableError('cancelled');
}

/** Holds every job until the test has ended. */
async function holdAll(): Promise<void> {
  workers.push(holdJobs(await server.connect('worker'), prefix, () => new Promise(() => undefined)));
}

describe('ids that cannot be ids of tasks', () => {
  test('are all named, and nothing is cancelled', async () => {
    await addJob(queue, jobOf('a'));
    const refused = cancel(['a', '12', '../b', 'wait']);
    await expect(refused).rejects.toBeInstanceOf(InvalidInput);
    await expect(refused).rejects.toMatchObject({ faults: [{ where: 'id 2' }, { where: 'id 3' }, { where: 'id 4' }] });
    expect(await queue.getJobState('a')).toBe('waiting');
  });
});

describe('a task that does not run', () => {
  test('is taken off the queue whether it waits, has a priority, is delayed or paused', async () => {
    await addJob(queue, jobOf('waits'));
    await addJob(queue, jobOf('important', { priority: 3 }));
    await addJob(queue, jobOf('later'), 60_000);
    await addJob(queue, jobOf('stays'));
    await queue.pause();
    expect(await cancel(['waits', 'important', 'later'])).toEqual([
      { taskId: 'waits', how: 'removed', outcome: null },
      { taskId: 'important', how: 'removed', outcome: null },
      { taskId: 'later', how: 'removed', outcome: null },
    ]);
    expect(await queue.getJobs()).toMatchObject([{ id: 'stays' }]);
    expect(await redis.keys(`${prefix}:tasks:{waits,important,later}*`)).toEqual([]);
  });

  test('is told by an event, so that whoever follows it knows', async () => {
    await addJob(queue, jobOf('a'));
    await cancel(['a']);
    const events = await redis.xrange(queue.toKey('events'), '-', '+');
    expect(events.at(-1)?.[1]).toEqual(['event', 'removed', 'jobId', 'a', 'prev', 'waiting']);
  });

  test('that is not known is told as unknown, and the others are cancelled all the same', async () => {
    await addJob(queue, jobOf('a'));
    expect(await cancel(['nobody', 'a', 'a'])).toEqual([
      { taskId: 'nobody', how: 'unknown', outcome: null },
      { taskId: 'a', how: 'removed', outcome: null },
    ]);
  });

  test('is cancelled although what its job holds is nonsense', async () => {
    await queue.add(TASK_JOB, { hello: 'world' }, { jobId: 'nonsense' });
    expect(await cancel(['nonsense'])).toEqual([{ taskId: 'nonsense', how: 'removed', outcome: null }]);
    expect(await queue.getJob('nonsense')).toBeUndefined();
  });

  test('keeps its outcome when it has ended', async () => {
    await addJob(queue, jobOf('done'));
    workers.push(holdJobs(await server.connect('worker'), prefix, async job => resultOf(job.id ?? '', 'committed')));
    await untilState(queue, 'done', 'completed');
    expect(await cancel(['done'])).toEqual([{ taskId: 'done', how: 'ended', outcome: 'committed' }]);
    expect(await queue.getJobState('done')).toBe('completed');
    expect(await isMarked('done')).toBe(false);
  });
});

describe('a task that runs', () => {
  test('is marked before its worker is told, and told of when it has ended', async () => {
    await addJob(queue, jobOf('a'));
    let markedThen: boolean | null = null;
    const heard = await workUntilTold(async id => {
      markedThen = await isMarked(id);
      return endCancelled(id);
    });
    await untilState(queue, 'a', 'active');
    expect(await cancel(['a'])).toEqual([{ taskId: 'a', how: 'cancelled', outcome: 'cancelled' }]);
    expect(heard).toContainEqual({ kind: 'cancel', taskId: 'a' });
    expect(markedThen).toBe(true);
    // Whoever retries this job wants it to run.
    expect(await isMarked('a')).toBe(false);
  });

  test('that was faster keeps its own end', async () => {
    await addJob(queue, jobOf('a'));
    await workUntilTold(async id => resultOf(id, 'committed'));
    await untilState(queue, 'a', 'active');
    expect(await cancel(['a'])).toEqual([{ taskId: 'a', how: 'ended', outcome: 'committed' }]);
    expect(await isMarked('a')).toBe(false);
  });

  test('is taken off the queue when it comes back to wait for another attempt', async () => {
    await addJob(queue, jobOf('a', { attempts: 3 }));
    const connection = await server.connect('worker');
    let begun = 0;
    const release: (() => void)[] = [];
    closing.push(await Control.subscribe(connection, prefix, () => release.pop()?.()));
    const worker = holdJobs(connection, prefix, async () => {
      begun += 1;
      await new Promise<void>(resolve => release.push(resolve));
      // The back-off of this worker is short; nobody may take the job up again before it is removed.
      await worker.pause(true);
      throw new Error('the tests failed');
    });
    workers.push(worker);
    await untilState(queue, 'a', 'active');
    expect(await cancel(['a'])).toEqual([{ taskId: 'a', how: 'removed', outcome: null }]);
    expect(await queue.getJob('a')).toBeUndefined();
    expect(begun).toBe(1);
  });

  test('of which nobody hears is told as asked after the wait, and stays marked for who takes it up next', async () => {
    await addJob(queue, jobOf('a'));
    await holdAll();
    await untilState(queue, 'a', 'active');
    expect(await cancel(['a'], 300)).toEqual([{ taskId: 'a', how: 'asked', outcome: null }]);
    expect(await isMarked('a')).toBe(true);
    expect(await queue.getJobState('a')).toBe('active');
  });

  test('is asked and not waited for when that was not wanted', async () => {
    await addJob(queue, jobOf('a'));
    const heard = await workUntilTold(endCancelled);
    await untilState(queue, 'a', 'active');
    expect(await cancel(['a'], 0)).toEqual([{ taskId: 'a', how: 'asked', outcome: null }]);
    await untilState(queue, 'a', 'failed');
    expect(heard).toHaveLength(1);
  });

  test('is not waited for any longer when the caller gives up', async () => {
    await addJob(queue, jobOf('a'));
    await holdAll();
    await untilState(queue, 'a', 'active');
    const enough = new AbortController();
    const told: string[] = [];
    const done = cancelTasks({ redis, prefix }, ['nobody', 'a'], {
      waitMs: 600_000,
      signal: enough.signal,
      onCancelled: ({ taskId }) => {
        told.push(taskId);
        enough.abort();
      },
    });
    expect(await done).toMatchObject([{ how: 'unknown' }, { how: 'asked' }]);
    expect(told).toEqual(['nobody', 'a']);
  });
});

test('a Redis that goes away meanwhile is one clear error', async () => {
  await addJob(queue, jobOf('a'));
  await holdAll();
  await untilState(queue, 'a', 'active');
  const own = await server.connect('producer');
  const done = cancelTasks({ redis: own, prefix }, ['a'], { waitMs: 600_000 });
  const failed = expect(done).rejects.toMatchObject({ code: 'REDIS_UNAVAILABLE' });
  own.disconnect();
  await failed;
});

test('a job made by hand, of which nobody can tell when it was queued, is not waited for without end', async () => {
  await redis.hset(queue.toKey('by-hand'), 'name', TASK_JOB, 'data', '{}', 'opts', '{}');
  expect(await cancel(['by-hand'], 300)).toMatchObject([{ taskId: 'by-hand', how: 'unknown' }]);
});
