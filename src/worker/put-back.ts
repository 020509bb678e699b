/** How a job is put back before its attempt has begun, and what its worker does so that it is taken up in time. */
import type { Taken } from './fleet-share.ts';
import type { HeldJob } from './held-job.ts';
import { isVerdict, requeue, type Wait } from './job-ending.ts';

/** Until those have ended that it depends on. */
export function waitForOthers(held: HeldJob, afterMs: number, wait: Wait): Promise<never> {
  return putBack(held, afterMs, wait, () => held.context.dependencies.lookAgain(held.data.task));
}

/** For a worker that has the labels it asks for. */
export function setAside(held: HeldJob, afterMs: number, wait: Wait): Promise<never> {
  return putBack(held, afterMs, wait, () => held.context.labels.setAside(held.data.task, held.job.timestamp));
}

/** Where it was, for want of a slot; behind a task of the repository that is to pass, if one is. */
export function standBack(held: HeldJob, taken: Exclude<Taken, 'granted'>): Promise<never> {
  return putBack(held, 0, null, () => (taken === 'full' ? undefined : held.context.fleet.letPass(taken.toPass)));
}

/** Does `then` once the job is back on the queue, and nothing when it was not ours to put back. */
async function putBack(
  held: HeldJob,
  afterMs: number,
  wait: Wait | null,
  then: () => void | Promise<void>,
): Promise<never> {
  try {
    return await requeue(held, afterMs, wait);
  } catch (verdict) {
    if (isVerdict(verdict)) await then();
    throw verdict;
  }
}
