/** Where the landing of a task stands whose job has ended. */
import type { Redis } from 'ioredis';
import type { Returned } from '../job/job.ts';
import type { LandingJob, LandingQueue } from '../job/landing.ts';
import { branchOf } from '../job/names.ts';
import type { AttemptResult } from '../job/outcome.ts';
import { standingCommit } from '../job/stored-job.ts';
import { landingOfResult } from '../job/stored-landing.ts';

/** Work that came back; `message`: why it could not land. */
export type CameBack = Pick<Returned, 'commit' | 'target' | 'message'>;

/** A task at its end, with its landing if it has one; one whose branch is still to land; one that is worked anew. */
export type LandingStand = { told: AttemptResult } | { waits: LandingJob } | { returned: CameBack };

/**
 * One that was never to land is at its end; so is one whose landing is not there any more, of which nobody can tell.
 * Where work came back and nothing was committed since, that work is what its branch holds. `returned`: of the task's job.
 * @throws the error of Redis when it is away
 */
export async function landingStand(
  redis: Redis,
  queue: LandingQueue,
  result: AttemptResult,
  returned?: Returned | undefined,
): Promise<LandingStand> {
  const { taskId, outcome } = result;
  const commit = standingCommit(result, returned);
  const landing = (await landingOfResult(redis, queue, { taskId, commit }))?.data ?? null;
  const back = outcome === 'committed' || returned === undefined ? null : cameBack(returned);
  const ended = { told: back === null ? result : fruitless(result, back) };
  if (landing === null) return ended;
  const { fate, target } = landing;
  if (fate === undefined) return { waits: landing };
  const { kind: state, commit: by, message } = fate;
  if (state !== 'returned') return { told: { ...result, landing: { target, state, commit: by, message } } };
  // Its task is on the queue anew, or will be in a moment; or that has come to nothing already.
  return back === null ? { returned: { commit: landing.commit, target, message } } : ended;
}

export function cameBack({ commit, target, why, message }: Returned): CameBack {
  const paths = message.trim().split('\n').join(', ');
  return { commit, target, message: why === 'conflict' ? `it contradicts ${target} in ${paths}` : message };
}

/** Of a task that was worked anew, and committed nothing by that: its work is where it was, and on no target. */
export function fruitless(result: AttemptResult, { commit, target, message }: CameBack): AttemptResult {
  const { taskId, outcome } = result;
  const where = `branch ${branchOf(taskId)} still holds that work at ${commit.slice(0, 12)}`;
  const told = `${message}\nWorked anew, it ended ${outcome}; ${where}.`;
  return { ...result, landing: { target, state: 'refused', commit: null, message: told } };
}

/** Of one whose landing was waited for, and is not there any more: that is no success. */
export function lost(result: AttemptResult, { target, commit }: LandingJob): AttemptResult {
  const message = `it is not on the queue any more, and nobody can tell what became of it: see whether ${target} has ${commit.slice(0, 12)}.`;
  return { ...result, landing: { target, state: 'waiting', commit: null, message } };
}
