/** What ignore files leave out. */
import { type GitPath, joinNul, splitNul } from './commands.ts';
import { accept, type GitCall, ownGit } from './git.ts';

/** Those of `paths` that are ignored, whether they are in the index or not. @throws {CellpoolError} COMMIT_FAILED */
export async function ignoredOf(call: GitCall, paths: readonly GitPath[]): Promise<ReadonlySet<GitPath>> {
  if (paths.length === 0) return new Set();
  const args = ['check-ignore', '-z', '--stdin', '--no-index'];
  const answer = await ownGit(args, { ...call, input: joinNul(paths) });
  // Exit code 1: none of them is ignored.
  return new Set(answer.exitCode === 1 ? [] : splitNul(accept(answer, args, 'COMMIT_FAILED')));
}
