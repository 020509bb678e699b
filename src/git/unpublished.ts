/**
 * Finished commits in the cache of a remote that are not there yet: `refs/cellpool/unpublished/<task>/<commit>`. Each
 * is put down before it is pushed and taken away when the remote has it, so that neither a connection that breaks nor
 * a worker that dies in between loses the work. They count for nothing until they are published.
 */
import { type EnqueuedTask, type FinishedWork, workOf } from './finished.ts';
import { ownGitOk } from './git.ts';
import type { Source } from './source.ts';

const UNPUBLISHED = 'refs/cellpool/unpublished';

const refOf = (taskId: string, commit: string) => `${UNPUBLISHED}/${taskId}/${commit.slice(0, 12)}`;

/** Puts a commit down that the cache has, and returns its ref. @throws {CellpoolError} COMMIT_FAILED */
export async function keepUnpublished({ gitDir }: Source, taskId: string, commit: string): Promise<string> {
  const ref = refOf(taskId, commit);
  await ownGitOk(['update-ref', '--no-deref', ref, commit], { gitDir }, 'COMMIT_FAILED');
  return ref;
}

/** Harmless when there is none. @throws {CellpoolError} GIT_FAILED */
export async function forgetUnpublished({ gitDir }: Source, taskId: string, commit: string): Promise<void> {
  await ownGitOk(['update-ref', '--no-deref', '-d', refOf(taskId, commit)], { gitDir });
}

/** The latest work of this very enqueuing of the task that is not published; null when there is none. */
export async function unpublishedWork(source: Source, task: EnqueuedTask): Promise<FinishedWork | null> {
  if (source.remote === undefined) return null;
  const args = ['for-each-ref', '--sort=-committerdate', '--format=%(objectname)', `${UNPUBLISHED}/${task.taskId}/`];
  const found = await ownGitOk(args, { gitDir: source.gitDir });
  for (const commit of found.split('\n').filter(id => id !== '')) {
    const work = await workOf(source, commit, task);
    if (work !== null) return work;
  }
  return null;
}
