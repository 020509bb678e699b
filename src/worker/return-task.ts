/** Puts a task back on the queue whose finished branch could not land: a new attempt, from where its target is now. */
import type { Redis } from 'ioredis';
import { addJobs } from '../job/add-jobs.ts';
import type { Returned } from '../job/job.ts';
import type { LandingJob } from '../job/landing.ts';
import { jobIdOf } from '../job/names.ts';
import type { JobRetention, TaskQueue } from '../job/queue.ts';
import { hasEnded, readJob, type StoredJob } from '../job/stored-job.ts';

export interface TaskLook {
  /**
   * `current`: the landing is that of its last enqueuing. `returned`: it came back because of this very commit.
   * `superseded`: somebody has put it on the queue anew. `forgotten`: there is no job of it any more.
   */
  how: 'current' | 'returned' | 'superseded' | 'forgotten';
  stored: StoredJob | null;
}

/** @throws the error of Redis */
export async function lookAtTask(
  redis: Redis,
  queue: TaskQueue,
  { taskId, commit, enqueuedAt }: Pick<LandingJob, 'taskId' | 'commit' | 'enqueuedAt'>,
): Promise<TaskLook> {
  const timestamp = await redis.hget(queue.toKey(jobIdOf(taskId)), 'timestamp');
  const stored = timestamp === null ? null : await readJob(queue, taskId);
  if (stored === null) return { how: 'forgotten', stored };
  if (Number(timestamp) === enqueuedAt) return { how: 'current', stored };
  return { how: stored.data?.returned?.commit === commit ? 'returned' : 'superseded', stored };
}

/**
 * `later`: its worker has not said yet that it ended, and may be dead. What the task has spent so far stays with it.
 * @throws the error of Redis
 */
export async function returnTask(
  redis: Redis,
  queue: TaskQueue,
  { landing, returned, retention }: { landing: LandingJob; returned: Returned; retention: JobRetention },
): Promise<Exclude<TaskLook['how'], 'current'> | 'later'> {
  const { how, stored } = await lookAtTask(redis, queue, landing);
  if (how !== 'current') return how;
  if (stored?.data == null) return 'forgotten';
  if (!hasEnded(stored)) return 'later';
  const { waits: _, ...data } = stored.data;
  const anew = { ...data, returned, kept: data.results.length };
  const [added] = await addJobs(queue, [{ data: anew, replaces: stored.finishedOn }], retention);
  return added === 'kept' ? 'later' : 'returned';
}
