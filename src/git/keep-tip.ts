/** Where a branch is in a remote, brought into the repository of a person without moving any branch of theirs. */
import { createHash } from 'node:crypto';
import { ownGitOk } from './git.ts';
import { enclosedIn, type Source } from './source.ts';

const UPLOAD_PACK = '--upload-pack=git-upload-pack';

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
  const args = ['fetch', '--quiet', '--no-tags', '--no-write-fetch-head', '--no-recurse-submodules', '--refmap='];
  await ownGitOk([...args, '--no-prune', '--force', UPLOAD_PACK, '--end-of-options', gitDir, `${commit}:${ref}`], {
    ...enclosedIn(source, [gitDir]),
    config: ['fetch.fsckObjects=true', 'fetch.pruneTags=false', 'fetch.parallel=1', 'fetch.bundleURI='],
  });
}
