/** How tasks stand that others depend on, and who is queued when they have ended, on a real queue. */
import type { Worker } from 'bullmq';
import { UnrecoverableError } from 'bullmq';
import type { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Outcome } from '../../src/job/outcome.ts';
import { openQueue, type TaskQueue } from '../../src/job/queue.ts';
import { Dependencies } from '../../src/redis/dependencies.ts';
import { JobData } from '../../src/redis/job-data.ts';
import { taskKeys } from '../../src/redis/keys.ts';
import { addJob, holdJobs, jobOf, resultOf, untilState } from '../support/jobs.ts';
import { type TestRedis, testRedis } from '../support/redis.ts';

let server: TestRedis;
let prefix: string;
let redis: Redis;
let queue: TaskQueue;
let dependencies: Dependencies;
const workers: Worker[] = [];

beforeAll(async () => {
  server = await testRedis();
});
afterAll(() => server.close());

beforeEach(async () => {
  prefix = server.prefix();
  redis = await server.connect('worker');
  queue = openQueue(redis, prefix);
  dependencies = new Dependencies(redis, { prefix });
});
afterEach(async () => {
  await Promise.all(workers.splice(0).map(worker => worker.close(true)));
  await queue.close();
});

/** Takes the job that is next in line and ends it as a worker of cellpool does, with its outcome in its data. */
async function end(id: string, outcome: Outcome): Promise<void> {
  const well = outcome === 'committed' || outcome === 'no-changes';
  const jobData = new JobData(redis, { prefix });
  const worker = holdJobs(redis, prefix, async (job, token = '') => {
    await jobData.write(id, token, { ...job.data, results: [resultOf(id, outcome)] }, outcome);
    if (!well) throw new UnrecoverableError(outcome);
    return resultOf(id, outcome);
  });
  await untilState(queue, id, well ? 'completed' : 'failed');
  await worker.close();
}

const standing = async (id: string) => {
  const [one] = await dependencies.look([id]);
  return `${one?.state} ${one?.outcome ?? '-'}`;
};

describe('how a task stands', () => {
  test.each<[Outcome, string]>([
    ['committed', 'well committed'],
    ['no-changes', 'well no-changes'],
    ['reverted', 'failed reverted'],
    ['cancelled', 'failed cancelled'],
  ])('is kept when it ends %s, also when its job is forgotten', async (outcome, ended) => {
    await addJob(queue, jobOf('a'));
    await dependencies.keep(['a']);
    expect(await standing('a')).toBe('open -');
    await end('a', outcome);
    expect(await standing('a')).toBe(ended);
    await (await queue.getJob('a'))?.remove();
    expect(await standing('a')).toBe(ended);
  });

  test('is known of one that had ended well before anybody depended on it, and is gone without that', async () => {
    for (const id of ['a', 'b']) {
      await addJob(queue, jobOf(id));
      await end(id, 'committed');
    }
    await dependencies.keep(['a']);
    for (const id of ['a', 'b']) await (await queue.getJob(id))?.remove();
    expect([await standing('a'), await standing('b'), await standing('never-there')]).toEqual([
      'well -',
      'gone -',
      'gone -',
    ]);
  });

  test('leaves nothing for tasks that nobody depends on, and nothing for ever', async () => {
    await addJob(queue, jobOf('a'));
    await dependencies.keep(['b']);
    await dependencies.look(['a', 'b'], { wait: 'c' });
    await end('a', 'committed');
    const keys = (await redis.keys(`${prefix}:*`)).filter(key => !key.startsWith(`${prefix}:tasks:`)).sort();
    expect(keys).toEqual([taskKeys(prefix, 'a').dependents, taskKeys(prefix, 'b').outcome]);
    for (const key of keys) expect(await redis.pttl(key)).toBeGreaterThan(0);
    expect(await dependencies.kept(['a', 'b', 'c'])).toEqual(['b']);
  });
});

describe('the end of a task', () => {
  /** Tasks that wait: delayed, and entered with `a`. */
  async function wait(...ids: string[]): Promise<void> {
    for (const id of ids) {
      await dependencies.look(['a'], { wait: id });
      await addJob(queue, jobOf(id), 600_000);
    }
  }

  test('queues what waits for it, in its old order and before all others, and only once', async () => {
    await addJob(queue, jobOf('a'));
    const ids = Array.from({ length: 450 }, (_, index) => `t${index}`);
    await wait(...ids);
    await end('a', 'committed');
    await addJob(queue, jobOf('other'));
    expect(await dependencies.release(queue, 'a')).toBe(450);
    expect((await queue.getJobs('waiting', 0, -1, true)).map(job => job.id)).toEqual([...ids, 'other']);
    expect(await dependencies.release(queue, 'a')).toBe(0);
    expect(await redis.exists(taskKeys(prefix, 'a').dependents)).toBe(0);
  });

  test('keeps the priority of what waits', async () => {
    await addJob(queue, jobOf('a'));
    await addJob(queue, jobOf('urgent', { priority: 1 }));
    await addJob(queue, jobOf('other', { priority: 5 }));
    await dependencies.look(['a'], { wait: 'b' });
    await addJob(queue, jobOf('b', { priority: 5 }), 600_000);
    expect(await dependencies.release(queue, 'a')).toBe(1);
    expect((await queue.getJobs('prioritized', 0, -1, true)).map(job => job.id)).toEqual(['urgent', 'b', 'other']);
    expect(await queue.getJob('b')).toMatchObject({ priority: 5, delay: 0 });
  });

  test('passes over what is gone, runs, or was written there by somebody else', async () => {
    await addJob(queue, jobOf('a'));
    await wait('b', 'c');
    await (await queue.getJob('b'))?.remove();
    await redis.zadd(taskKeys(prefix, 'a').dependents, 1, '../d', 2, 'a');
    expect(await dependencies.release(queue, 'a')).toBe(1);
    expect(await queue.getJobState('c')).toBe('waiting');
  });

  test('is entered only with what is open', async () => {
    await addJob(queue, jobOf('a'));
    await end('a', 'committed');
    await dependencies.look(['a', 'gone'], { wait: 'b' });
    expect(await redis.keys(`${prefix}:dependents:*`)).toEqual([]);
  });
});
