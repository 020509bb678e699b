/**
 * Work of an attempt that could not say so: its worker died, or git failed after the branch had moved. In a remote it
 * may also be kept by this host, not yet published; whoever has the job then does that rather than the work anew.
 */
import { type FinishedWork, finishedWork } from '../git/finished.ts';
import { ownBranch, publish } from '../git/publish.ts';
import { refresh } from '../git/remote-cache.ts';
import type { Source } from '../git/source.ts';
import { forgetUnpublished, unpublishedWork } from '../git/unpublished.ts';
import { branchOf } from '../job/names.ts';
import { type AttemptResult, resultWithoutCell } from '../job/outcome.ts';
import { within } from '../os/within.ts';
import type { BegunJob, HeldJob } from './held-job.ts';

/** For news of a remote, once an attempt is over; what takes longer is left for the next one. */
const LOOK_MS = 15_000;

const taskOf = ({ job, data }: HeldJob) => ({ taskId: data.task.id, enqueuedAt: job.timestamp });

/** Whether this host keeps work of this job that its remote does not have. @throws {CellpoolError} GIT_FAILED */
export async function keepsWork(held: HeldJob, source: Source): Promise<boolean> {
  return (await unpublishedWork(source, taskOf(held))) !== null;
}

/**
 * What stands on the task's branch, if it is the work of this job, after an attempt; null if not. One that was
 * cancelled before it came to publish anything has nothing to look for.
 * @throws {CellpoolError} GIT_FAILED, and what `refresh` throws: then nobody knows
 */
export async function workAfter(held: HeldJob, source: Source, signal: AbortSignal): Promise<AttemptResult | null> {
  if (signal.aborted && source.remote !== undefined && !(await keepsWork(held, source))) return null;
  await within(LOOK_MS, undefined, () => refresh(source));
  return standing(held, source);
}

/**
 * The same before an attempt. Work that this host keeps is published first, unless nobody wants it any more.
 * @throws {CellpoolError} what `refresh` and `publish` throw, BRANCH_TAKEN, FENCED, GIT_FAILED; the signal's reason
 */
export async function workBefore(
  held: BegunJob,
  source: Source,
  { publishing, signal }: { publishing: boolean; signal?: AbortSignal | undefined },
): Promise<AttemptResult | null> {
  await refresh(source, signal);
  const work = await standing(held, source);
  if (work !== null || source.remote === undefined || !publishing) return work;
  const { context, begun, token } = held;
  const task = taskOf(held);
  const kept = await unpublishedWork(source, task);
  if (kept === null) return null;
  const { taskId } = task;
  const branch = branchOf(taskId);
  await publish(source, source.remote, {
    commit: kept.commit,
    branch,
    expectedOld: await ownBranch(source, branch, taskId),
    keepAs: taskId,
    fence: () => context.fence.permit({ taskId, number: begun.number, token, lockMs: context.lockMs }),
    signal,
  });
  return committed(held, kept);
}

async function standing(held: HeldJob, source: Source): Promise<AttemptResult | null> {
  const task = taskOf(held);
  const work = await finishedWork(source, { branch: branchOf(task.taskId), ...task });
  if (work === null) return null;
  // Its push may have come through after its worker was gone.
  if (source.remote !== undefined) await forgetUnpublished(source, task.taskId, work.commit);
  return committed(held, work);
}

function committed({ context, data }: HeldJob, work: FinishedWork): AttemptResult {
  const { id, test } = data.task;
  context.log.info({ task: id, commit: work.commit }, 'its work had been committed, and nobody could say so');
  const tests = test === undefined ? null : { passed: true, exitCode: 0, durationMs: 0 };
  return { ...resultWithoutCell(id, work.attempt, 'committed', null), ...work, branch: branchOf(id), tests };
}
