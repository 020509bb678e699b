/**
 * Named pipes in places that git reads of its own accord. Whoever opens one waits until somebody writes to it, for
 * ever: an agent that left a pipe called `.gitignore` would hold up the worker that asks what it has changed.
 */
import { CellpoolError } from '../errors.ts';
import { run } from '../os/run.ts';
import { splitNul } from './commands.ts';

const FIND_MS = 5 * 60_000;
/** Files of its own in any folder, and whatever git looks up in a repository within the work tree. */
const READ_BY_GIT = /(^|\/)\.git(ignore|attributes|modules)$|(^|\/)\.git\//i;
/** A `.git` that is no folder: what git reads for it may lie anywhere. */
const LEADS_ELSEWHERE = /.\/\.git$/i;

/**
 * Call it before git looks through files that an agent has left, and before it writes their index: it reads the
 * attributes for that too. Pipes elsewhere are no harm: git passes them over. Where there is no `find`, git's time
 * limit is what remains.
 * @returns false when there were folders that could not be looked into
 * @throws {CellpoolError} COMMIT_FAILED when there is one.
 */
export async function refusePipes(workTree: string): Promise<boolean> {
  const env = { PATH: `${process.env.PATH ?? ''}:/usr/bin:/bin`, LC_ALL: 'C' };
  const pointers = ['-o', '-iname', '.git', '!', '-type', 'd', '-print0'];
  const argv = ['find', '.', '-type', 'p', '-print0', ...pointers] as const;
  const { stdout, exitCode } = await run(argv, { cwd: workTree, env, timeoutMs: FIND_MS });
  const found = splitNul(stdout).map(path => path.replace(/^\.\//, ''));
  const pointer = found.find(path => LEADS_ELSEWHERE.test(path));
  const path = found.find(one => READ_BY_GIT.test(one) || (pointer !== undefined && !/(^|\/)\.git$/i.test(one)));
  if (path === undefined) return exitCode === 0 || exitCode === null;
  throw new CellpoolError('COMMIT_FAILED', `${JSON.stringify(path)} is a named pipe, which git would read for ever`, {
    facts: { path },
  });
}
