/** A pool of its own for every test, on the private Redis of the file. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Processor, Worker } from 'bullmq';
import { UnrecoverableError } from 'bullmq';
import { onTestFinished, vi } from 'vitest';
import type { ViewContext } from '../../../src/board/view/context.ts';
import { openLandingQueue } from '../../../src/job/landing.ts';
import type { AttemptResult, Outcome } from '../../../src/job/outcome.ts';
import { endedWell } from '../../../src/job/outcome.ts';
import { openQueue } from '../../../src/job/queue.ts';
import type { TaskInput } from '../../../src/job/task.ts';
import { addJob, holdJobs, jobOf, resultOf } from '../../support/jobs.ts';
import { type Site, withResults } from '../../support/pool.ts';
import type { TestRedis } from '../../support/redis.ts';

export interface Pool extends ViewContext {
  site(host: string): Site;
  /** Puts tasks on the queue and has a worker end each with this outcome, one after the other in this order. */
  end(ids: readonly string[], outcome: Outcome, more?: Partial<TaskInput>): Promise<AttemptResult[]>;
  work(processor: Processor): Promise<Worker>;
}

/** @param redis of the file; everything else ends with the test */
export async function makePool(redis: TestRedis): Promise<Pool> {
  const prefix = redis.prefix();
  const client = await redis.connect('worker');
  const queue = openQueue(client, prefix);
  const landing = openLandingQueue(client, prefix);
  const home = mkdtempSync(join(tmpdir(), 'v-'));
  const workers: Worker[] = [];
  const connections = [client];
  onTestFinished(async () => {
    await Promise.all(workers.map(worker => worker.close(true)));
    await Promise.all([queue.close(), landing.close()]);
    for (const one of connections) one.disconnect();
    rmSync(home, { recursive: true, force: true });
  });
  const work = async (processor: Processor) => {
    const connection = await redis.connect('worker');
    connections.push(connection);
    const worker = holdJobs(connection, prefix, processor);
    workers.push(worker);
    return worker;
  };
  return {
    ...{ redis: client, queue, landing, prefix, work },
    site: host => ({ redis: client, prefix, host, home }),
    async end(ids, outcome, more = {}) {
      const results = ids.map(id => resultOf(id, outcome));
      const worker = await work(async job => {
        const result = results.find(({ taskId }) => taskId === job.id);
        if (result === undefined) throw new Error(`${job.id} is none of these`);
        await withResults(job, [result]);
        if (endedWell(outcome)) return result;
        throw new UnrecoverableError(outcome);
      });
      const isDone = async () => {
        const { completed = 0, failed = 0 } = await queue.getJobCounts('completed', 'failed');
        return completed + failed;
      };
      const before = await isDone();
      for (const id of ids) await addJob(queue, jobOf(id, more));
      await vi.waitUntil(async () => (await isDone()) === before + ids.length, { timeout: 60_000, interval: 10 });
      await worker.close();
      return results;
    },
  };
}
