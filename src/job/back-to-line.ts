/** Puts a job back at the head of its line, as if it had not been taken. */
import type { Job } from 'bullmq';
import type { TaskQueue } from './queue.ts';

const COMMAND = 'cellpoolWake';
/** KEYS: BullMQ's own marker, for which idle workers wait. Where the queue is paused whoever it wakes finds nothing. */
const WAKE = "return redis.call('ZADD', KEYS[1], 0, '0')";

/**
 * The job is active and its lock held with `token`. BullMQ wakes an idle worker for it only when it has no priority;
 * one with a priority would wait until somebody looks by himself. @throws BullMQ's error when the lock is another's
 */
export async function backToLine(
  queue: Pick<TaskQueue, 'getBackend' | 'toKey'>,
  job: Pick<Job, 'moveToWait' | 'opts'>,
  token: string,
): Promise<void> {
  await job.moveToWait(token);
  if ((job.opts.priority ?? 0) === 0) return;
  const client = await queue.getBackend().client;
  client.defineCommand(COMMAND, { numberOfKeys: 1, lua: WAKE });
  await client.runCommand(COMMAND, [queue.toKey('marker')]);
}
