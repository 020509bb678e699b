/** Sends on at once the tasks that wait for something that is there now. */
import { promote } from '../job/promote.ts';
import type { TaskQueue } from '../job/queue.ts';
import { readJob } from '../job/stored-job.ts';
import { type RetryContext, withQueue } from './retry.ts';

/** Tasks looked at side by side. */
const AT_ONCE = 50;

/**
 * Queues every task that was put back for the reason of this code (`BUDGET_USED_UP`), and returns how many there were.
 * @throws {CellpoolError} REDIS_UNAVAILABLE
 */
export async function wakeWaiting(context: RetryContext, code: string): Promise<number> {
  return withQueue(context, async queue => {
    // As they stand: those that are promoted meanwhile would make others be passed over.
    const ids = await context.redis.zrange(queue.toKey('delayed'), '0', '-1');
    let woken = 0;
    for (let from = 0; from < ids.length; from += AT_ONCE) {
      const promoted = await Promise.all(ids.slice(from, from + AT_ONCE).map(id => wakeOne(queue, id, code)));
      woken += promoted.filter(done => done).length;
    }
    return woken;
  });
}

async function wakeOne(queue: TaskQueue, id: string, code: string): Promise<boolean> {
  const stored = await readJob(queue, id);
  return stored?.data?.waits?.code === code && stored.state === 'delayed' && (await promote(queue, id));
}
