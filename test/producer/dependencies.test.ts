/** Tasks that depend on others, on their way to the queue and off it: `run` and its workers are in test/slow. */
import { UnrecoverableError, type Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { InvalidInput } from '../../src/errors.ts';
import type { Plan } from '../../src/job/job.ts';
import type { Outcome } from '../../src/job/outcome.ts';
import { openQueue, type TaskQueue } from '../../src/job/queue.ts';
import { readJob } from '../../src/job/stored-job.ts';
import { parseTask, type TaskInput } from '../../src/job/task.ts';
import { cancelTasks } from '../../src/producer/cancel.ts';
import { type EnqueueOptions, Producer } from '../../src/producer/producer.ts';
import { retryTasks } from '../../src/producer/retry.ts';
import type { PlacedTask } from '../../src/producer/tasks-file.ts';
import { Dependencies } from '../../src/redis/dependencies.ts';
import { addJob, holdJobs, jobOf, resultOf, untilState } from '../support/jobs.ts';
import { type TestRedis, testRedis } from '../support/redis.ts';

let server: TestRedis;
let prefix: string;
let redis: Redis;
let producer: Producer;
let queue: TaskQueue;
const workers: Worker[] = [];

beforeAll(async () => {
  server = await testRedis();
});
afterAll(() => server.close());

beforeEach(async () => {
  prefix = server.prefix();
  redis = await server.connect('producer');
  producer = new Producer({ redis, prefix });
  queue = openQueue(redis, prefix);
});
afterEach(async () => {
  await Promise.all(workers.splice(0).map(worker => worker.close(true)));
  await producer.close();
  await queue.close();
  redis.disconnect();
});

const plan: Plan = { setupMs: 1, testMs: 1, author: { name: 'a', email: 'b' }, opencode: {} };

function placed(id: string, dependsOn: string[] = [], more: Partial<TaskInput> = {}): PlacedTask {
  const { task, faults } = parseTask(
    { id, prompt: 'do it', ...(dependsOn.length > 0 ? { dependsOn } : {}), ...more },
    id,
  );
  if (task === null) throw new Error(JSON.stringify(faults));
  return { task, where: `t.jsonl:${id}` };
}

const enqueue = (tasks: PlacedTask[], options: EnqueueOptions = {}, repository = '/repo') =>
  producer.enqueue(tasks, { repository, plan }, options);

async function refusal(enqueued: Promise<unknown>): Promise<string[]> {
  const error: unknown = await enqueued.then(
    () => new Error('it was not refused'),
    (reason: unknown) => reason,
  );
  if (!(error instanceof InvalidInput)) throw error;
  return error.faults.map(({ where, what }) => `${where}: ${what}`);
}

/** Ends all jobs on the queue as they are told to. */
async function end(outcomes: Record<string, Outcome>): Promise<void> {
  const worker = holdJobs(await server.connect('worker'), prefix, async job => {
    const outcome = outcomes[job.id ?? ''] ?? 'committed';
    const result = resultOf(job.id ?? '', outcome);
    await job.updateData({ ...job.data, results: [result] });
    if (outcome !== 'committed') throw new UnrecoverableError(outcome);
    return result;
  });
  for (const [id, outcome] of Object.entries(outcomes)) {
    await untilState(queue, id, outcome === 'committed' ? 'completed' : 'failed');
  }
  await worker.close();
}

const waiting = async () => (await queue.getJobs('waiting', 0, -1, true)).map(job => job.id);

describe('enqueuing', () => {
  test('takes a task whose dependencies are in the batch or on the queue, ended or not', async () => {
    await enqueue([placed('ended')]);
    await end({ ended: 'committed' });
    await enqueue([placed('waits')]);
    const [one] = await enqueue([placed('b', ['ended', 'waits', 'a']), placed('a')]);
    expect(one).toMatchObject({ taskId: 'b', how: 'queued' });
    expect((await readJob(queue, 'b'))?.data?.task.dependsOn).toEqual(['ended', 'waits', 'a']);
  });

  test('puts every task after those it depends on, wherever it stood, and leaves all others in their order', async () => {
    // Over the border of a chunk: a worker may take up the first while the last are still on their way.
    const others = Array.from({ length: 400 }, (_, index) => placed(`t${index}`));
    await enqueue([placed('last', ['middle', 't399']), ...others, placed('middle', ['first']), placed('first')]);
    const order = await waiting();
    const without = order.filter(id => id?.startsWith('t'));
    expect(without.slice(1)).toEqual(others.slice(0, -1).map(({ task }) => task.id));
    expect(order.slice(0, 4)).toEqual(['first', 'middle', 't399', 'last']);
  });

  test('refuses what is not there, each by its place, and queues nothing', async () => {
    await queue.add('task', { hello: 'world' } as never, { jobId: 'foreign' });
    const faults = await refusal(enqueue([placed('a'), placed('b', ['a', 'c', 'foreign']), placed('d', ['e'])]));
    expect(faults).toEqual([
      't.jsonl:b: "dependsOn" names "c", which is neither among these tasks nor on the queue',
      expect.stringMatching(
        /^t\.jsonl:b: "dependsOn" names "foreign", a job on the queue that is not cellpool's \(.+\)$/,
      ),
      't.jsonl:d: "dependsOn" names "e", which is neither among these tasks nor on the queue',
    ]);
    expect(await waiting()).toEqual(['foreign']);
    expect(await redis.keys(`${prefix}:outcome:*`)).toEqual([]);
  });

  test('refuses the branch of a task of another repository as a base', async () => {
    await enqueue([placed('a')], {}, '/other');
    expect(await refusal(enqueue([placed('b', ['a'], { base: 'cellpool/a' })]))).toEqual([
      't.jsonl:b: base "cellpool/a" is the branch of a task of another repository, /other',
    ]);
    expect(await enqueue([placed('b', ['a'])])).toMatchObject([{ how: 'queued' }]);
  });

  test('takes a file again whose tasks are known, whatever became of what they depended on', async () => {
    await enqueue([placed('a'), placed('b', ['a'])]);
    await end({ a: 'committed', b: 'committed' });
    await (await queue.getJob('a'))?.remove();
    expect(await enqueue([placed('b', ['a'])])).toMatchObject([{ how: 'known', changed: false }]);
  });

  test('thousands of tasks that depend on one another are looked at to the last', async () => {
    const tasks = Array.from({ length: 5_000 }, (_, index) =>
      placed(`t${index}`, index === 0 ? [] : [`t${index - 1}`]),
    );
    const faults = await refusal(enqueue([...tasks, placed('x', ['t4999', 'y'])]));
    expect(faults).toEqual(['t.jsonl:x: "dependsOn" names "y", which is neither among these tasks nor on the queue']);
  });
});

describe('a cycle', () => {
  test('within the batch is refused and named', async () => {
    const tasks = [placed('x'), placed('a', ['c']), placed('b', ['x', 'a']), placed('c', ['b'])];
    expect(await refusal(enqueue(tasks))).toEqual(['t.jsonl:a: depends on itself: a -> c -> b -> a']);
    expect(await waiting()).toEqual([]);
  });

  test('that a repeated task closes through jobs on the queue is refused and named, also when they have ended', async () => {
    await enqueue([placed('a'), placed('b', ['a']), placed('c', ['b'])]);
    await end({ a: 'committed', b: 'failed', c: 'failed' });
    expect(await refusal(enqueue([placed('new'), placed('a', ['new', 'c'])], { again: true }))).toEqual([
      't.jsonl:a: depends on itself: a -> c -> b -> a',
    ]);
    expect((await readJob(queue, 'a'))?.state).toBe('completed');
    // Words that count for nothing close none.
    expect(await enqueue([placed('a', ['c'])])).toMatchObject([{ how: 'known', changed: true }]);
    expect(await enqueue([placed('a', ['new']), placed('new')], { again: true })).toMatchObject([{ how: 'again' }, {}]);
  });

  test('through a task that is joined, with what it really depends on, is refused', async () => {
    await enqueue([placed('a'), placed('b', ['a'])]);
    await end({ a: 'committed' });
    await enqueue([placed('d', ['b'])]);
    expect(await refusal(enqueue([placed('a', ['d']), placed('d')], { again: true }))).toEqual([
      't.jsonl:a: depends on itself: a -> d -> b -> a',
    ]);
  });

  test('through a task that is put anew where a forgotten one was is refused', async () => {
    await enqueue([placed('a'), placed('b', ['a'])]);
    await cancelTasks({ redis, prefix }, ['a']);
    expect(await refusal(enqueue([placed('a', ['b'])]))).toEqual(['t.jsonl:a: depends on itself: a -> b -> a']);
    expect(await enqueue([placed('a')])).toMatchObject([{ how: 'queued' }]);
  });
});

describe('a task that others depend on', () => {
  const standing = async (id: string) => (await new Dependencies(redis, { prefix }).look([id]))[0];

  test('is open again when it is repeated, whatever it had come to, and gone when that is taken away', async () => {
    await enqueue([placed('a'), placed('b', ['a'])]);
    await end({ a: 'committed' });
    await enqueue([placed('a')], { again: true });
    expect(await standing('a')).toMatchObject({ state: 'open' });
    await (await queue.getJob('a'))?.remove();
    expect(await standing('a')).toMatchObject({ state: 'gone' });
  });

  test('that is cancelled while it waits stays known as cancelled, and what waits for it is queued at once', async () => {
    await enqueue([placed('a')]);
    const dependencies = new Dependencies(redis, { prefix });
    await dependencies.keep(['a']);
    await dependencies.look(['a'], { wait: 'b' });
    await addJob(queue, jobOf('b', { dependsOn: ['a'] }), 600_000);
    expect(await cancelTasks({ redis, prefix }, ['a'])).toMatchObject([{ how: 'removed' }]);
    expect(await standing('a')).toMatchObject({ state: 'failed', outcome: 'cancelled' });
    expect(await waiting()).toEqual(['b']);
  });

  test('is retried before them, in whatever order they are named', async () => {
    const chain = [placed('a'), placed('b', ['a']), placed('c', ['b'])];
    await enqueue(chain);
    await end({ a: 'failed', b: 'failed', c: 'failed' });
    const retried = await retryTasks({ redis, prefix }, ['c', 'b', 'a']);
    expect(retried.map(({ taskId, how }) => `${taskId} ${how}`)).toEqual(['c queued', 'b queued', 'a queued']);
    expect(await waiting()).toEqual(['a', 'b', 'c']);
  });
});
