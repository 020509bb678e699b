/** Reads what a bridge sees of a task: its job, and what became of its branch. */
import type { Redis } from 'ioredis';
import type { LandingQueue } from '../../job/landing.ts';
import type { TaskQueue } from '../../job/queue.ts';
import { hasEnded, readJob } from '../../job/stored-job.ts';
import { landingOfResult } from '../../job/stored-landing.ts';
import { type CloseOn, type JobSeen, seenJob } from './due.ts';

interface Seen {
  redis: Redis;
  queue: TaskQueue;
  landings?: LandingQueue | undefined;
  closeOn: CloseOn;
}

/** Null when the task is not on the queue any more. @throws the error of Redis when it is away */
export async function readSeen({ redis, queue, landings, closeOn }: Seen, taskId: string): Promise<JobSeen | null> {
  const stored = await readJob(queue, taskId);
  if (stored === null) return null;
  const { result } = stored;
  const asks = closeOn === 'landed' && landings !== undefined && hasEnded(stored) && result?.outcome === 'committed';
  return seenJob(stored, asks ? await landingOfResult(redis, landings, result) : null);
}
