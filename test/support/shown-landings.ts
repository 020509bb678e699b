/** Landing jobs put on their queue by hand, in any state, without a lander: there is something to look at. */

import { UnrecoverableError, Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import type { Fate } from '../../src/job/fate.ts';
import { LANDING_JOB, type LandingJob, type LandingQueue, landingOptions } from '../../src/job/landing.ts';
import { LANDING_QUEUE } from '../../src/job/names.ts';
import { LandingTargets, type TargetNote } from '../../src/redis/landing-targets.ts';
import { jobOf } from './jobs.ts';

/** Forty digits of one kind. */
export const commitOf = (digit: string) => digit.repeat(40);

export function landingJobOf(taskId: string, more: Partial<LandingJob> = {}): LandingJob {
  const { plan } = jobOf(taskId);
  return {
    ...{ version: 1, taskId, enqueuedAt: 7, repository: '/repo', branch: `cellpool/${taskId}`, commit: commitOf('a') },
    ...{ target: 'main', land: 'merge', test: 'make check', plan, returns: 0 },
    ...more,
  };
}

export function fateOf(kind: Fate['kind'], more: Partial<Fate> = {}): Fate {
  const commit = kind === 'landed' ? commitOf('f') : null;
  const why = kind === 'landed' ? {} : ({ why: 'conflict' } as const);
  return { kind, ...why, message: '', commit, batch: [], flaky: false, at: Date.now(), ...more };
}

export async function addLanding(queue: LandingQueue, job: LandingJob): Promise<void> {
  await queue.add(LANDING_JOB, job, landingOptions(job));
}

/** Puts it on the queue and ends it; a lander would have written the fate while it was active. `redis` of a worker. */
export async function endLanding(redis: Redis, prefix: string, queue: LandingQueue, job: LandingJob): Promise<void> {
  await addLanding(queue, job);
  await new Promise<void>(resolve => {
    const worker = landWith(redis, prefix, async () => {
      if (job.fate?.kind === 'refused') throw new UnrecoverableError('refused');
    });
    const finish = () => void worker.close().then(() => resolve());
    worker.on('completed', finish);
    worker.on('failed', finish);
  });
}

/** A worker that takes landing jobs, one at a time. The connection is the caller's. */
export function landWith(redis: Redis, prefix: string, work: () => Promise<unknown>): Worker {
  const worker = new Worker(LANDING_QUEUE, work, { connection: redis, prefix });
  worker.on('error', () => undefined);
  return worker;
}

/** What a lander says of a target. */
export async function noteTarget(redis: Redis, prefix: string, more: Partial<TargetNote> = {}): Promise<void> {
  const of = { repository: '/repo', target: 'main', host: 'one', worker: 'one.1', trying: [], held: null };
  const note = { ...of, at: Date.now(), ...more };
  await new LandingTargets(redis, { prefix }).write(`${note.host} ${note.repository} ${note.target}`, note);
}

export const held = (reason: string, forPerson = false): TargetNote['held'] => ({
  ...{ code: 'BRANCH_CHECKED_OUT', reason, forPerson, since: 1_700_000_000_000 },
});
