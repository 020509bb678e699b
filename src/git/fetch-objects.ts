/** Objects of a repository of ours, brought into the source. */
import type { ErrorCode } from '../errors.ts';
import { ownGitOk } from './git.ts';
import { enclosedIn, type Source } from './source.ts';

/** Said outright, because the source's config may say otherwise. */
const UPLOAD_PACK = '--upload-pack=git-upload-pack';

/** No branch of the source moves, unless `refspec` says so. @throws {CellpoolError} `code` when git refuses */
export async function fetchObjects(source: Source, from: string, refspec: string, code: ErrorCode): Promise<void> {
  const args = ['fetch', '--quiet', '--no-tags', '--no-write-fetch-head', '--no-recurse-submodules', '--refmap='];
  await ownGitOk(
    [...args, '--no-prune', '--no-write-commit-graph', UPLOAD_PACK, '--end-of-options', from, refspec],
    {
      ...enclosedIn(source, [from]),
      config: ['fetch.fsckObjects=true', 'fetch.pruneTags=false', 'fetch.parallel=1', 'fetch.bundleURI='],
    },
    code,
  );
}
