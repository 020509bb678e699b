/** The branch an attempt begins at. */
import { refresh } from '../git/remote-cache.ts';
import { hasCommit, isAncestor, type Source, tipOf } from '../git/source.ts';
import type { TaskJob } from '../job/job.ts';
import { branchOf } from '../job/names.ts';
import { readJob, type StoredJob, standingCommit } from '../job/stored-job.ts';
import { landingOfResult } from '../job/stored-landing.ts';
import type { JobContext } from './held-job.ts';

interface BaseFacts {
  context: Pick<JobContext, 'redis' | 'queue' | 'landings'>;
  data: TaskJob;
}

/**
 * The task's base; but work that came back is done anew where it is to land. A dependency that changed nothing has made
 * no branch: who begins where it ended begins where it began. One whose branch was removed, since it has landed, ended at
 * its target. What is missing all the same is for git to say.
 * @throws {CellpoolError} GIT_FAILED, and what `refresh` throws
 */
export async function baseOf({ context, data }: BaseFacts, source: Source, signal?: AbortSignal): Promise<string> {
  // Its dependencies have ended before it was worked the first time.
  if (data.returned !== undefined) return data.returned.target;
  let { base, dependsOn = [] } = data.task;
  // Another host may have published it a moment ago.
  if (dependsOn.some(id => branchOf(id) === base)) await refresh(source, signal);
  // Whoever can write to Redis can write a circle.
  for (const seen = new Set<string>(); !seen.has(base); ) {
    seen.add(base);
    const dependency = dependsOn.find(id => branchOf(id) === base);
    if (dependency === undefined || (await tipOf(source, base)) !== null) return base;
    const stored = await readJob(context.queue, dependency);
    if (stored?.data?.repository !== data.repository) return base;
    const target = await landedOn(context, source, stored);
    if (target !== null) return target;
    if (stored.result?.outcome !== 'no-changes') return base;
    ({ base, dependsOn = [] } = stored.data.task);
  }
  return base;
}

/**
 * The branch on which the work of a task has landed; null when that is nowhere in this repository. What the branch holds
 * is asked, and not the fate: a lander says only after it has removed a branch that its work has landed. Where that was
 * pushed out of a folder, the branch of that name in the folder may have nothing of it.
 */
async function landedOn(
  { redis, landings }: BaseFacts['context'],
  source: Source,
  { id, result, data }: StoredJob,
): Promise<string | null> {
  const commit = result === null ? null : standingCommit(result, data?.returned);
  const target = (await landingOfResult(redis, landings, { taskId: id, commit }))?.data?.target;
  if (commit === null || target === undefined) return null;
  const tip = await tipOf(source, target);
  if (tip === null || !(await hasCommit(source, commit))) return null;
  return (await isAncestor(source, commit, tip)) ? target : null;
}
