/** Queues a task that was put back to wait for something, now that it is there. */
import type { Redis } from 'ioredis';
import { taskIdFault } from '../job/names.ts';
import { isDone, promote } from '../job/promote.ts';
import type { TaskQueue } from '../job/queue.ts';
import { taskKeys } from './keys.ts';

/** Queues a delayed task before all others of its priority: it has waited in line once. False when it is not delayed. */
export async function queueFirst(redis: Redis, prefix: string, queue: TaskQueue, taskId: string): Promise<boolean> {
  // Anybody may write to a shared Redis.
  if (taskIdFault(taskId) !== null || !(await promote(queue, taskId))) return false;
  const priority = Number(await redis.hget(taskKeys(prefix, taskId).job, 'priority')) || 0;
  // A worker may have it before it is put in front, which is as good.
  await isDone(queue.getBackend().changePriority(taskId, priority, true));
  return true;
}
