/** Where a branch is in a remote, brought into the repository of a person without moving any branch of theirs. */
import { createHash } from 'node:crypto';
import { fetchObjects } from './fetch-objects.ts';
import type { Source } from './source.ts';

/**
 * Fetches a commit from the cache of a remote and keeps it under a ref of ours, one for each branch: an attempt begins
 * there. @throws {CellpoolError} GIT_FAILED
 */
export async function keepTip(
  source: Source,
  { gitDir }: Pick<Source, 'gitDir'>,
  { branch, commit }: { branch: string; commit: string },
): Promise<void> {
  const ref = `refs/cellpool/tips/${createHash('sha256').update(`${gitDir}\0${branch}`).digest('hex').slice(0, 16)}`;
  // Wherever it was before: the target may have been begun anew.
  await fetchObjects(source, gitDir, `+${commit}:${ref}`, 'GIT_FAILED');
}
