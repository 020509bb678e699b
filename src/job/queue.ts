/** The task queue as BullMQ sees it: how it is opened, and the options every job gets. */
import { type JobsOptions, type KeepJobs, Queue, type Telemetry } from 'bullmq';
import type { Redis } from 'ioredis';
import { DEFAULTS } from '../config.ts';
import { jobIdOf, TASK_QUEUE } from './names.ts';
import type { Task } from './task.ts';

/** The name of every job on the queue; BullMQ asks for one, the id tells jobs apart. */
export const TASK_JOB = 'task';

/** What a job holds is unknown until `taskJobSchema` has parsed it: anybody may write to a shared Redis. */
export type TaskQueue = Queue<unknown, unknown, typeof TASK_JOB>;

/**
 * Opens the queue on a connection that stays the caller's: `close()` of the queue leaves it open. A connection of a
 * producer must be ready by now (`checkRedis`), because BullMQ gives up for good when its first command fails.
 */
export function openQueue(redis: Redis, prefix: string, telemetry?: Telemetry): TaskQueue {
  const queue: TaskQueue = new Queue(TASK_QUEUE, {
    ...{ connection: redis, prefix, skipWaitingForReady: true },
    ...(telemetry === undefined ? {} : { telemetry }),
  });
  // Every call rejects with its own error; without a listener BullMQ prints them a second time.
  queue.on('error', () => undefined);
  return queue;
}

const DAY_S = 24 * 60 * 60;

export interface JobRetention {
  /** Days for which an ended job is kept; null: for ever. */
  jobDays: number | null;
  /** How many ended jobs of each kind are kept; null: all. */
  jobs: number | null;
}

/**
 * Ended jobs are what "Again" knows a task by: as long as one is kept, its task is not repeated by accident. 30 days
 * outlast a sprint; 10,000 of each kind are about 100 MB of Redis at the 10 kB of a usual job. BullMQ looks at both
 * limits whenever another job ends, so a quiet queue may keep jobs for longer. A job that is dropped is forgotten:
 * its task would be worked anew.
 */
function kept({ jobDays, jobs }: JobRetention): KeepJobs | false {
  if (jobDays === null) return jobs === null ? false : { count: jobs };
  return { age: Math.round(jobDays * DAY_S), ...(jobs === null ? {} : { count: jobs }) };
}

/** Lines of `job.log` that are kept. */
const LOG_LINES = 1_000;
/** Stacks that are kept of a job's errors, one an attempt. */
const STACKS = 3;

/** The back-off type of every job; the worker hands `backoffMs` to BullMQ for it. */
export const BACKOFF = 'cellpool';

const SECOND = 1_000;
const BACKOFF_FIRST_MS = 2 * SECOND;
const BACKOFF_CAP_MS = 300 * SECOND;

/**
 * Milliseconds before the next attempt, after `attemptsMade` of them: 2 s, doubled each time, at most 5 minutes, of
 * which a random half is taken off, so that tasks that failed together do not come back together. BullMQ's own
 * exponential back-off has no cap. `random` gives numbers from 0 up to 1.
 */
export function backoffMs(attemptsMade: number, random: () => number = Math.random): number {
  const doublings = Math.max(0, Math.floor(attemptsMade) - 1);
  const full = Math.min(BACKOFF_CAP_MS, BACKOFF_FIRST_MS * 2 ** doublings);
  return Math.round(full * (1 - random() / 2));
}

/** The options of a task's job. It is kept after its end as was said when it was put on the queue. */
export function jobOptions(
  task: Pick<Task, 'id' | 'attempts' | 'priority'>,
  retention: JobRetention = DEFAULTS.retention,
): JobsOptions & { jobId: string } {
  const keep = kept(retention);
  return {
    jobId: jobIdOf(task.id),
    attempts: task.attempts,
    backoff: { type: BACKOFF },
    removeOnComplete: keep,
    removeOnFail: keep,
    keepLogs: LOG_LINES,
    stackTraceLimit: STACKS,
    ...(task.priority === undefined ? {} : { priority: task.priority }),
  };
}
