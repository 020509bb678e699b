/** What becomes of the locks when one worker gives jobs back and takes them again in the same moment. */
import { WaitingError } from 'bullmq';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import type { AttemptResult } from '../../src/job/outcome.ts';
import { openQueue } from '../../src/job/queue.ts';
import { silentLogger } from '../../src/observe/logger.ts';
import { LOCK_MS, openJobQueue } from '../../src/worker/job-queue.ts';
import { addJob, jobOf, resultOf } from '../support/jobs.ts';
import { type TestRedis, testRedis } from '../support/redis.ts';

let server: TestRedis;
beforeAll(async () => {
  server = await testRedis();
});
afterAll(() => server.close());

test('a job that was given back and taken again keeps its lock, however close the two are', async () => {
  const prefix = server.prefix();
  const redis = await server.connect('worker');
  const queue = openQueue(redis, prefix);
  const ids = Array.from({ length: 50 }, (_, index) => `job-${index}`);
  const begun = new Map<string, number>();
  let end = (): void => undefined;
  const ended = new Promise<void>(resolve => {
    end = resolve;
  });
  const { worker, locks } = openJobQueue({
    redis,
    prefix,
    concurrency: ids.length,
    log: silentLogger,
    async work(job, token): Promise<AttemptResult> {
      const id = job.id ?? '';
      begun.set(id, (begun.get(id) ?? 0) + 1);
      locks.take(id, token);
      try {
        if (begun.get(id) === 1) {
          await job.moveToWait(token);
          throw new WaitingError();
        }
        await ended;
        return resultOf(id, 'no-changes');
      } finally {
        locks.done(id);
      }
    },
  });
  try {
    for (const id of ids) await addJob(queue, jobOf(id));
    void worker.run();
    await vi.waitUntil(() => ids.every(id => begun.get(id) === 2), { timeout: 10_000 });
    await new Promise(resolve => setTimeout(resolve, 3_500));
    const left = await Promise.all(ids.map(id => redis.pttl(`${queue.toKey(id)}:lock`)));
    expect(Math.min(...left)).toBeGreaterThan(LOCK_MS - 3_000);
    expect([...begun.values()].every(times => times === 2)).toBe(true);
  } finally {
    end();
    await worker.close();
    locks.close();
    await queue.close();
  }
});
