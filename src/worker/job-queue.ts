/** The queue as a worker of it: how BullMQ takes jobs for us, and for how long they are ours. */
import { type Job, type Telemetry, Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import { TASK_QUEUE } from '../job/names.ts';
import type { AttemptResult } from '../job/outcome.ts';
import type { Logger } from '../observe/logger.ts';
import { RetryAfter } from './job-ending.ts';
import { JobLocks } from './job-locks.ts';

/**
 * How long a job stays ours without renewal, and how often others look for jobs that nobody renews. The job of a host
 * that died runs again 8 to 13 s later (`npm run bench:recovery` measures it), and an event loop that stands still for
 * 5.5 s loses nothing: the last renewal may be a second and a bit old by then.
 */
export const LOCK_MS = 9_000;
const RENEW_MS = 1_000;
export const STALLED_MS = 2_000;
/** A lock that was not renewed for this long may soon be somebody else's. */
const SILENT_MS = LOCK_MS - 2_000;
/** Attempts that never end are counted by the fence, which knows more than BullMQ: it must not give up before. */
const MAX_STALLS = 1_000;

export interface JobQueueOptions {
  /** Stays the caller's. */
  redis: Redis;
  prefix: string;
  concurrency: number;
  log: Logger;
  /** Works one job; what it throws BullMQ understands. */
  work(job: Job, token: string): Promise<AttemptResult>;
  /** The job has ended for good, and BullMQ knows it; `data` is what it held when it was taken. */
  onEnded?(id: string, data: unknown): void;
  telemetry?: Telemetry | undefined;
}

/** Jobs come once `run` is called. The locks are to be closed after the worker. */
export function openJobQueue({ redis, prefix, concurrency, log, work, onEnded, telemetry }: JobQueueOptions): {
  worker: Worker;
  locks: JobLocks;
} {
  const worker = new Worker(TASK_QUEUE, (job: Job, token?: string) => work(job, token ?? ''), {
    connection: redis,
    prefix,
    autorun: false,
    concurrency,
    lockDuration: LOCK_MS,
    skipLockRenewal: true,
    stalledInterval: STALLED_MS,
    maxStalledCount: MAX_STALLS,
    ...(telemetry === undefined ? {} : { telemetry }),
    settings: { backoffStrategy: (_made, _type, error) => (error instanceof RetryAfter ? error.afterMs : 0) },
  });
  worker.on('error', error => log.warn({ problem: error.message }, 'queue trouble'));
  worker.on('completed', ({ id = '', data }) => onEnded?.(id, data));
  // Also told of an attempt that is followed by another.
  worker.on('failed', job => job?.finishedOn !== undefined && onEnded?.(job.id ?? '', job.data));
  const renew = (ids: string[], tokens: string[]) => worker.extendJobLocks(ids, tokens, LOCK_MS);
  return { worker, locks: new JobLocks(renew, { renewMs: RENEW_MS, silentMs: SILENT_MS }) };
}
