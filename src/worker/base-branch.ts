/** The branch an attempt begins at. */
import { refresh } from '../git/remote-cache.ts';
import { type Source, tipOf } from '../git/source.ts';
import type { TaskJob } from '../job/job.ts';
import { branchOf } from '../job/names.ts';
import { readJob } from '../job/stored-job.ts';
import type { JobContext } from './held-job.ts';

interface BaseFacts {
  context: Pick<JobContext, 'queue'>;
  data: TaskJob;
}

/**
 * The task's base; but work that came back is done anew where it is to land. A dependency that changed nothing has made
 * no branch: who begins where it ended begins where it began. What is missing all the same is for git to say.
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
    if (stored?.data?.repository !== data.repository || stored.result?.outcome !== 'no-changes') return base;
    ({ base, dependsOn = [] } = stored.data.task);
  }
  return base;
}
