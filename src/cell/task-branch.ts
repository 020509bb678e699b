/** The branch that a task's work goes to, looked at before the work begins. */
import { CellpoolError } from '../errors.ts';
import { ownBranch } from '../git/publish.ts';
import { refresh } from '../git/remote-cache.ts';
import { checkedOutAt, type Source } from '../git/source.ts';

/**
 * Where the task's branch is now, null when there is none; of a remote after a fetch. What would keep the work from
 * coming home is found out now rather than after it.
 * @throws {CellpoolError} BRANCH_CHECKED_OUT, BRANCH_TAKEN, GIT_FAILED, and what `refresh` throws
 */
export async function branchBefore(
  source: Source,
  branch: string,
  taskId: string,
  signal?: AbortSignal,
): Promise<string | null> {
  await refresh(source, signal);
  const [tip] = await Promise.all([ownBranch(source, branch, taskId), refuseCheckedOut(source, branch)]);
  return tip;
}

/** Git would refuse, or leave somebody's working copy behind. */
async function refuseCheckedOut(source: Source, branch: string): Promise<void> {
  const where = await checkedOutAt(source, branch);
  if (where === null) return;
  throw new CellpoolError('BRANCH_CHECKED_OUT', `branch ${branch} is checked out at ${where}`, {
    hint: 'Switch that working copy to another branch.',
  });
}
