/** How a job is put back before its attempt has begun, and what its worker does so that it is taken up in time. */
import { DelayedError, WaitingError } from 'bullmq';
import type { Taken } from './fleet-share.ts';
import type { HeldJob } from './held-job.ts';
import { requeue, type Wait } from './job-ending.ts';

/** Until those have ended that it depends on. */
export async function waitForOthers(held: HeldJob, afterMs: number, wait: Wait): Promise<never> {
  try {
    return await requeue(held, afterMs, wait);
  } catch (verdict) {
    if (verdict instanceof DelayedError) held.context.dependencies.lookAgain(held.data.task);
    throw verdict;
  }
}

/** For a worker that has the labels it asks for. */
export async function setAside(held: HeldJob, afterMs: number, wait: Wait): Promise<never> {
  try {
    return await requeue(held, afterMs, wait);
  } catch (verdict) {
    if (verdict instanceof DelayedError) await held.context.labels.setAside(held.data.task, held.job.timestamp);
    throw verdict;
  }
}

/** Where it was, for want of a slot; behind a task of the repository that is to pass, if one is. */
export async function standBack(held: HeldJob, taken: Exclude<Taken, 'granted'>): Promise<never> {
  try {
    return await requeue(held, 0, null);
  } catch (verdict) {
    if (verdict instanceof WaitingError && taken !== 'full') await held.context.fleet.letPass(taken.toPass);
    throw verdict;
  }
}
