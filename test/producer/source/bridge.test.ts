import { setTimeout as sleep } from 'node:timers/promises';
import { type Job, UnrecoverableError, type Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Fault } from '../../../src/errors.ts';
import type { TaskJob } from '../../../src/job/job.ts';
import { type LandingJob, type LandingQueue, openLandingQueue } from '../../../src/job/landing.ts';
import type { AttemptResult, Outcome } from '../../../src/job/outcome.ts';
import { openQueue, type TaskQueue } from '../../../src/job/queue.ts';
import { cancelTasks } from '../../../src/producer/cancel.ts';
import { Producer } from '../../../src/producer/producer.ts';
import { retryTasks } from '../../../src/producer/retry.ts';
import { Bridge, type BridgeOptions } from '../../../src/producer/source/bridge.ts';
import { SourceLedger } from '../../../src/redis/source-ledger.ts';
import { holdJobs, jobOf, resultOf, untilState } from '../../support/jobs.ts';
import { addLanding, committedAs, LANDED, landWith, REFUSED, RETURNED, type Verdict } from '../../support/landings.ts';
import { type TestRedis, testRedis } from '../../support/redis.ts';
import { Notebook } from './notebook.ts';

const on = new AbortController().signal;
let server: TestRedis;
let prefix: string;
let redis: Redis;
let queue: TaskQueue;
let producer: Producer;
let book: Notebook;
const workers: Worker[] = [];
const faults: [string, readonly Fault[]][] = [];

beforeAll(async () => {
  server = await testRedis();
});
afterAll(() => server.close());

beforeEach(async () => {
  prefix = server.prefix();
  redis = await server.connect('producer');
  queue = openQueue(redis, prefix);
  producer = new Producer({ redis, prefix });
  book = new Notebook(prefix);
  faults.length = 0;
});

afterEach(async () => {
  await Promise.all(workers.splice(0).map(worker => worker.close(true)));
  await producer.close();
  await queue.close();
  redis.disconnect();
});

function bridge(more: Partial<BridgeOptions> = {}): Bridge {
  const { plan, repository } = jobOf('any');
  return new Bridge({
    source: book,
    redis,
    prefix,
    queue,
    producer,
    context: { plan, repository },
    defaults: {},
    closeOn: 'commit',
    limit: null,
    insisted: on,
    check: async () => undefined,
    onQueued: () => undefined,
    onWritten: () => undefined,
    onFaults: (item, all) => faults.push([item, all]),
    onRemark: () => undefined,
    onStuck: () => undefined,
    ...more,
  });
}

const OPEN = Promise.resolve();

/**
 * A worker whose attempts end as `outcomes` say, one after another; `null` goes on until the test opens `gate`. What
 * an attempt came to stands in the job until `verdict`, and only then is it said what becomes of the job.
 */
async function work(outcomes: Record<string, (Outcome | null)[]>, gate: Promise<void> = OPEN, verdict = OPEN) {
  workers.push(
    holdJobs(await server.connect('worker'), prefix, async (job: Job<TaskJob>) => {
      const id = job.data.task.id;
      const attempt = job.attemptsMade + 1;
      const outcome = outcomes[id]?.[attempt - 1] ?? null;
      if (outcome === null) return gate;
      const result = ended(id, outcome, attempt);
      // As the worker writes it: an attempt of the same number as the last one of its round takes its place.
      const { results: before, kept = 0 } = job.data;
      const isLost = before.length > kept && before.at(-1)?.attempt === attempt;
      await job.updateData({ ...job.data, results: [...(isLost ? before.slice(0, -1) : before), result] });
      await verdict;
      if (result.commit !== null || outcome === 'no-changes') return result;
      throw outcomes[id]?.length === attempt ? new UnrecoverableError(outcome) : new Error(outcome);
    }),
  );
}

function ended(id: string, outcome: Outcome, attempt: number): AttemptResult {
  const done = outcome === 'committed' ? { commit: 'c0ffee', branch: `cellpool/${id}` } : {};
  const error = outcome === 'reverted' ? { code: 'TESTS_FAILED', message: 'one of 3 tests fails' } : null;
  return { ...resultOf(id, outcome, attempt), ...done, error };
}

async function ledgerOf(...items: string[]) {
  return new SourceLedger(redis, { prefix, identity: book.identity }).read(items);
}

describe('one item is one task', () => {
  test('what is ready is queued under its own name, with what the item says, and nothing is written', async () => {
    book.add('a-1', { prompt: 'Mend the gate.', priority: 3 });
    expect(await bridge({ defaults: { test: 'make test' } }).look(on)).toMatchObject({ queued: 1, open: 1, faulty: 0 });
    const job = await queue.getJob('a-1');
    expect((job?.data as TaskJob | undefined)?.task).toMatchObject({
      id: 'a-1',
      prompt: 'Mend the gate.',
      priority: 3,
      test: 'make test',
    });
    expect(book.taken).toEqual([]);
  });

  test('looking again, and by several bridges at once, queues nothing twice', async () => {
    for (let at = 1; at <= 5; at += 1) book.add(`a-${at}`);
    const looks = await Promise.all([bridge(), bridge(), bridge()].map(one => one.look(on)));
    expect(looks.reduce((sum, { queued }) => sum + queued, 0)).toBe(5);
    expect(await bridge().look(on)).toMatchObject({ queued: 0, open: 5 });
    expect(await queue.getJobCounts('waiting')).toEqual({ waiting: 5 });
  });

  test('a bridge that died before its task was queued leaves that to the next one', async () => {
    book.add('a-1');
    await new SourceLedger(redis, { prefix, identity: book.identity }).begin('a-1', 0, 'a-1');
    expect(await bridge().look(on)).toMatchObject({ queued: 1 });
    expect((await ledgerOf('a-1')).get('a-1')).toMatchObject({ generation: 1, queued: true });
  });

  test('one that died after it, when the item was no longer ready, has its end written back all the same', async () => {
    book.add('a-1');
    await new SourceLedger(redis, { prefix, identity: book.identity }).begin('a-1', 0, 'a-1');
    await producer.enqueue([{ task: jobOf('a-1').task, where: 'a-1' }], { ...jobOf('a-1') });
    Object.assign(book.items.get('a-1') as object, { status: 'working', assignee: 'a-1' });
    await work({ 'a-1': ['committed'] });
    await untilState(queue, 'a-1', 'completed');
    await bridge().look(on);
    expect(book.items.get('a-1')?.status).toBe('closed');
  });

  test('an item that was reopened after its end is a new generation, with a task of its own', async () => {
    book.add('a-1');
    await work({ 'a-1': ['committed'], 'a-1-g2': ['committed'] });
    await bridge().look(on);
    await untilState(queue, 'a-1', 'completed');
    await bridge().look(on);
    expect(book.items.get('a-1')?.status).toBe('closed');
    expect(await bridge().look(on)).toMatchObject({ queued: 0, open: 0 });
    await sleep(2); // The clock that tells a reopening from what was read before it counts in milliseconds.
    book.reopen('a-1');
    expect(await bridge().look(on)).toMatchObject({ queued: 1 });
    await untilState(queue, 'a-1-g2', 'completed');
    await bridge().look(on);
    expect(book.taken).toEqual(['a-1 claim', 'a-1 done', 'a-1 claim', 'a-1 done']);
  });

  test('another source that calls its item the same gets a task of another id', async () => {
    book.add('a-1');
    await bridge().look(on);
    const other = new Notebook(`${prefix}-other`);
    other.add('a-1');
    const queued: string[] = [];
    await bridge({ source: other, onQueued: (_, taskId) => queued.push(taskId) }).look(on);
    expect(queued).toEqual([expect.stringMatching(/^a-1-[0-9a-f]{6}$/)]);
  });

  test('no more are on the queue at one time than the limit says, and others follow when some have ended', async () => {
    for (let at = 1; at <= 4; at += 1) book.add(`a-${at}`);
    const one = bridge({ limit: 2 });
    expect(await one.look(on)).toMatchObject({ queued: 2, open: 2 });
    expect(await one.look(on)).toMatchObject({ queued: 0, open: 2 });
    await work(
      { 'a-1': ['committed'], 'a-2': [null] },
      new Promise(resolve => on.addEventListener('abort', () => resolve())),
    );
    await untilState(queue, 'a-1', 'completed');
    expect(await one.look(on)).toMatchObject({ queued: 1, open: 2 });
  });

  test('items that cannot be worked are told once, with every fault, and keep no other from being worked', async () => {
    book.add('bad name');
    book.add('a-1', { tokenBudget: -1, base: '..' });
    book.add('a-2');
    const one = bridge();
    expect(await one.look(on)).toMatchObject({ queued: 1, faulty: 2 });
    expect(await one.look(on)).toMatchObject({ queued: 0, faulty: 2 });
    expect(faults.map(([item]) => item)).toEqual(['bad name', 'a-1']);
    expect(faults[1]?.[1]).toHaveLength(2);
  });

  test('a dry run says what would be queued and under which name, and leaves no trace', async () => {
    book.add('a-1');
    expect((await bridge().wouldQueue(on)).tasks.map(({ task }) => task.id)).toEqual(['a-1']);
    expect(await redis.keys(`${prefix}:source:*`)).toEqual([]);
    expect(await queue.getJob('a-1')).toBeUndefined();
  });
});

describe('what becomes of it is written back', () => {
  test('a claim when it has begun, a note for each attempt, and one for its end, each once and in this order', async () => {
    book.add('a-1');
    book.add('a-2');
    book.add('a-3');
    await work({ 'a-1': ['reverted', 'committed'], 'a-2': ['reverted', 'stalled'], 'a-3': ['no-changes'] });
    const one = bridge();
    await one.look(on);
    await Promise.all([
      untilState(queue, 'a-1', 'completed'),
      untilState(queue, 'a-2', 'failed'),
      untilState(queue, 'a-3', 'completed'),
    ]);
    await Promise.all([one.writeBack(on), bridge().writeBack(on)]);
    await one.look(on);
    const of = (item: string) => book.taken.filter(line => line.startsWith(`${item} `)).map(line => line.split(' ')[1]);
    expect(of('a-1')).toEqual(['claim', 'attempt', 'done']);
    expect(of('a-2')).toEqual(['claim', 'attempt', 'failed']);
    expect(of('a-3')).toEqual(['claim', 'unchanged']);
    expect(await one.look(on)).toMatchObject({ open: 0, waiting: 0 });
  });

  test('nothing is lost while the source is away, and it is told all of it when it is back', async () => {
    book.add('a-1');
    await work({ 'a-1': ['reverted', 'committed'] });
    const one = bridge();
    await one.look(on);
    book.away = true;
    await untilState(queue, 'a-1', 'completed');
    await expect(one.look(on)).rejects.toMatchObject({ code: 'SOURCE_UNAVAILABLE' });
    // Not even when the job is forgotten meanwhile.
    await (await queue.getJob('a-1'))?.remove();
    await expect(one.look(on)).rejects.toMatchObject({ code: 'SOURCE_UNAVAILABLE' });
    book.away = false;
    await bridge().look(on);
    expect(book.taken).toEqual(['a-1 claim', 'a-1 attempt', 'a-1 done']);
  });

  test('a bridge that dies between writing and saying so is followed by one that writes nothing twice', async () => {
    book.add('a-1');
    await work({ 'a-1': ['reverted', 'committed'] });
    await bridge().look(on);
    await untilState(queue, 'a-1', 'completed');
    for (let death = 1; death <= 3; death += 1) {
      book.dieAfterWrite = true;
      await expect(bridge().look(on)).rejects.toThrow('the bridge is dead');
      book.dieAfterWrite = false;
      expect(book.taken).toHaveLength(death);
    }
    expect(await bridge().look(on)).toMatchObject({ open: 0, waiting: 0 });
    expect(book.taken).toEqual(['a-1 claim', 'a-1 attempt', 'a-1 done']);
  });

  test.each([
    ['committed', 'completed', 'done'],
    ['reverted', 'failed', 'failed'],
  ] as const)(
    'an attempt that came to %s and may be the last is told as the end alone',
    async (outcome, state, end) => {
      book.add('a-1');
      let say: () => void = () => undefined;
      const verdict = new Promise<void>(resolve => {
        say = resolve;
      });
      await work({ 'a-1': [outcome] }, OPEN, verdict);
      const one = bridge();
      await one.look(on);
      const hasResult = async () => ((await queue.getJob('a-1'))?.data as TaskJob | undefined)?.results.length === 1;
      await vi.waitUntil(hasResult, { timeout: 30_000, interval: 10 });
      await one.look(on);
      expect(book.taken).toEqual(['a-1 claim']);
      say();
      await untilState(queue, 'a-1', state);
      await one.look(on);
      expect(book.taken).toEqual(['a-1 claim', `a-1 ${end}`]);
    },
  );

  test('a task whose item somebody else took is cancelled, and nothing more is written to the item', async () => {
    book.add('a-1');
    let release: () => void = () => undefined;
    const gate = new Promise<void>(resolve => {
      release = resolve;
    });
    await work({ 'a-1': [null] }, gate);
    const one = bridge();
    await one.look(on);
    await untilState(queue, 'a-1', 'active');
    Object.assign(book.items.get('a-1') as object, { assignee: 'ada' });
    await one.writeBack(on);
    expect(await redis.exists(`${prefix}:cancel:a-1`)).toBe(1);
    release();
    await untilState(queue, 'a-1', 'completed');
    await one.look(on);
    expect(book.taken).toEqual([]);
    expect(book.items.get('a-1')).toMatchObject({ status: 'open', assignee: 'ada' });
  });

  test('a task that was cancelled before it began is released for a person, and not queued again', async () => {
    book.add('a-1');
    const one = bridge();
    await one.look(on);
    await cancelTasks({ redis, prefix }, ['a-1']);
    expect(await one.look(on)).toMatchObject({ queued: 0, open: 0 });
    expect(book.taken).toEqual(['a-1 claim', 'a-1 cancelled']);
  });

  test('a task that is retried after it was given up is claimed, and its item closed, after all', async () => {
    book.add('a-1');
    await work({ 'a-1': ['stalled'] });
    const one = bridge();
    await one.look(on);
    await untilState(queue, 'a-1', 'failed');
    await one.look(on);
    await Promise.all(workers.splice(0).map(worker => worker.close()));
    await retryTasks({ redis, prefix }, ['a-1']);
    await work({ 'a-1': ['committed'] });
    await untilState(queue, 'a-1', 'completed');
    await one.look(on);
    expect(book.taken).toEqual(['a-1 claim', 'a-1 failed', 'a-1 claim', 'a-1 done']);
  });

  test('where items are closed on landing, a committed one stays claimed, and leaves its place to another', async () => {
    book.add('a-1');
    await work({ 'a-1': ['committed'] });
    const one = bridge({ closeOn: 'landed', limit: 1 });
    await one.look(on);
    await untilState(queue, 'a-1', 'completed');
    book.add('a-2');
    expect(await one.look(on)).toMatchObject({ queued: 1, open: 1 });
    expect(book.taken).toEqual(['a-1 claim', 'a-1 awaiting-landing']);
  });

  describe('where items are closed on landing', () => {
    let landings: LandingQueue;
    beforeEach(() => {
      landings = openLandingQueue(redis, prefix);
    });
    afterEach(() => landings.close());

    /** A worker whose attempts commit. */
    async function commit() {
      workers.push(
        holdJobs(await server.connect('worker'), prefix, async (job: Job<TaskJob>) => {
          const result = committedAs(String(1 + (job.data.returned?.times ?? 0)), job.data.task.id);
          await job.updateData({ ...job.data, results: [...job.data.results, result] });
          await addLanding(landings, job.data, result, job.timestamp);
          return result;
        }),
      );
    }

    /** A lander with such verdicts, one after another. */
    async function land(...verdicts: Verdict[]) {
      const judge = ({ returns }: LandingJob) => verdicts[returns] ?? LANDED;
      workers.push(landWith(await server.connect('worker'), prefix, queue, judge));
      const isOver = async () => {
        const { completed = 0, failed = 0 } = await landings.getJobCounts('completed', 'failed');
        return completed + failed === verdicts.length;
      };
      await vi.waitUntil(isOver, { timeout: 30_000, interval: 10 });
      await untilState(queue, 'a-1', 'completed');
    }

    test.each([
      ['closed when it has landed', LANDED, 'done', 'closed'],
      ['released when its landing is refused', REFUSED, 'not-landed', 'kept'],
    ])('an item is %s', async (_, verdict, end, status) => {
      book.add('a-1', { test: 'true', land: 'merge' });
      const one = bridge({ closeOn: 'landed', landings });
      await one.look(on);
      await commit();
      await untilState(queue, 'a-1', 'completed');
      await one.look(on);
      expect(book.items.get('a-1')?.status).toBe('working');
      await land(verdict);
      await one.look(on);
      expect(book.taken).toEqual(['a-1 claim', 'a-1 awaiting-landing', `a-1 ${end}`]);
      expect(book.items.get('a-1')?.status).toBe(status);
      expect(await one.look(on)).toMatchObject({ queued: 0, open: 0, waiting: 0 });
    });

    test('an item whose work comes back stays claimed until that has landed', async () => {
      book.add('a-1', { test: 'true', land: 'merge' });
      const one = bridge({ closeOn: 'landed', landings });
      await one.look(on);
      await commit();
      await land(RETURNED, LANDED);
      await one.look(on);
      expect(book.taken).toEqual(['a-1 claim', 'a-1 attempt', 'a-1 done']);
      expect(book.items.get('a-1')?.status).toBe('closed');
    });
  });

  test('a task that is retried beside a new generation of its item is not there any more', async () => {
    book.add('a-1');
    await work({ 'a-1': ['stalled'] });
    const one = bridge();
    await one.look(on);
    await untilState(queue, 'a-1', 'failed');
    await one.look(on);
    await sleep(2);
    book.reopen('a-1');
    expect(await one.look(on)).toMatchObject({ queued: 1 });
    expect(await retryTasks({ redis, prefix }, ['a-1'])).toMatchObject([{ how: 'unknown' }]);
  });

  test('a task that was lost and is retried is cancelled again', async () => {
    book.add('a-1');
    await work({ 'a-1': ['stalled'] });
    const one = bridge();
    await one.look(on);
    await untilState(queue, 'a-1', 'failed');
    Object.assign(book.items.get('a-1') as object, { assignee: 'ada' });
    await one.look(on);
    await Promise.all(workers.splice(0).map(worker => worker.close()));
    await retryTasks({ redis, prefix }, ['a-1']);
    await one.look(on);
    expect(await queue.getJob('a-1')).toBeUndefined();
    expect(book.taken).toEqual([]);
  });

  test('an item whose note cannot be taken holds up no other, and counts as refused in the end', async () => {
    book.add('a-1');
    book.add('a-2');
    book.stuck.add('a-1');
    await work({ 'a-1': ['committed'], 'a-2': ['committed'] });
    const told: string[] = [];
    const one = bridge({ onStuck: note => told.push(note.item) });
    await one.look(on);
    await Promise.all(['a-1', 'a-2'].map(id => untilState(queue, id, 'completed')));
    await one.look(on);
    expect(book.taken).toEqual(['a-2 claim', 'a-2 done']);
    expect((await ledgerOf('a-1')).get('a-1')?.notes.get('claim:0')).toBe('waits');
    await one.look(on);
    expect(told).toEqual(['a-1', 'a-1']);
    await bridge({ patienceMs: 0 }).look(on);
    expect((await ledgerOf('a-1')).get('a-1')?.notes.get('claim:0')).toBe('refused');
  });

  test('a task of another repository that has an item’s id keeps no other item from being worked', async () => {
    book.add('a-1');
    book.add('a-2');
    await new SourceLedger(redis, { prefix, identity: book.identity }).begin('a-1', 0, 'a-1');
    await producer.enqueue([{ task: jobOf('a-1').task, where: 'a-1' }], { ...jobOf('a-1'), repository: '/other' });
    expect(await bridge().look(on)).toMatchObject({ queued: 1, faulty: 0 });
    expect(await queue.getJob('a-2')).toBeDefined();
  });

  test('nonsense in the outbox is dropped and holds nothing up', async () => {
    book.add('a-1');
    const { mark } = new SourceLedger(redis, { prefix, identity: book.identity });
    const name = { item: 'a:b', taskId: 'a:b', key: 'k', generation: 1, kind: 'claim' };
    await redis.rpush(`${prefix}:source:{${mark}}:outbox`, 'no json', '{"kind":"done"}', '[]', JSON.stringify(name));
    await redis.sadd(`${prefix}:source:{${mark}}:live`, 'a:b', '');
    await work({ 'a-1': ['committed'] });
    const one = bridge();
    await one.look(on);
    await untilState(queue, 'a-1', 'completed');
    expect(await one.look(on)).toMatchObject({ waiting: 0 });
    expect(book.items.get('a-1')?.status).toBe('closed');
  });
});

test('without Redis a look fails as that, and not with an error of its client', async () => {
  redis.disconnect();
  await expect(bridge().look(on)).rejects.toMatchObject({ code: 'REDIS_UNAVAILABLE' });
});
