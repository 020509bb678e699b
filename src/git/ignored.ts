/** What ignore files leave out. */
import { type GitPath, joinNul, splitNul } from './commands.ts';
import { accept, type GitCall, ownGit } from './git.ts';

/** Those of `paths`, from the top of the call's work tree, that are ignored, whether they are in the index or not. @throws {CellpoolError} COMMIT_FAILED */
export async function ignoredOf(call: GitCall, paths: readonly GitPath[]): Promise<ReadonlySet<GitPath>> {
  if (paths.length === 0) return new Set();
  const args = ['check-ignore', '-z', '--stdin', '--no-index'];
  // A name may begin as one of git's patterns does, and is told as it was asked for.
  const answer = await ownGit(args, { ...call, input: joinNul(paths.map(path => `./${path}`)) });
  // Exit code 1: none of them is ignored.
  if (answer.exitCode === 1) return new Set();
  return new Set(splitNul(accept(answer, args, 'COMMIT_FAILED')).map(path => path.slice('./'.length)));
}
