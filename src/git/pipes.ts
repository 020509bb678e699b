/**
 * Named pipes in places that git reads of its own accord. Whoever opens one waits until somebody writes to it, for
 * ever: an agent that left a pipe called `.gitignore` would hold up the worker that asks what it has changed.
 */
import { CellpoolError } from '../errors.ts';
import { run } from '../os/run.ts';
import { splitNul } from './commands.ts';

const FIND_MS = 5 * 60_000;
/** Files of its own in any folder, and whatever git looks up in a repository within the work tree. */
const OWN_FILES = ['.gitignore', '.gitattributes', '.gitmodules'].flatMap(name => ['-iname', name, '-o']);
const READ_BY_GIT = ['-type', 'p', '(', ...OWN_FILES, '-ipath', '*/.git/*', ')', '-print0'];
/** A `.git` below the top that is no folder: what git reads for it may lie anywhere. */
const LEADS_ELSEWHERE = ['-path', './*/*', '-iname', '.git', '!', '-type', 'd', '!', '-type', 'p', '-print0'];
const POINTER = /\/\.git$/i;

/**
 * Call it before git looks through files that an agent has left, and before it writes their index: it reads the
 * attributes for that too. Pipes elsewhere are no harm, since git passes them over, unless something leads git there.
 * Where there is no `find`, git's time limit is what remains.
 * @returns false when there were folders that could not be looked into
 * @throws {CellpoolError} COMMIT_FAILED when there is one.
 */
export async function refusePipes(workTree: string): Promise<boolean> {
  const first = await find(workTree, [...READ_BY_GIT, '-o', ...LEADS_ELSEWHERE]);
  refuse(first.paths.find(path => !POINTER.test(path)));
  if (first.paths.length === 0) return first.sawAll;
  const all = await find(workTree, ['-type', 'p', '-print0']);
  refuse(all.paths[0]);
  return first.sawAll && all.sawAll;
}

async function find(folder: string, what: readonly string[]): Promise<{ paths: string[]; sawAll: boolean }> {
  const env = { PATH: `${process.env.PATH ?? ''}:/usr/bin:/bin`, LC_ALL: 'C' };
  const { stdout, exitCode } = await run(['find', '.', ...what], { cwd: folder, env, timeoutMs: FIND_MS });
  return {
    paths: splitNul(stdout).map(path => path.replace(/^\.\//, '')),
    sawAll: exitCode === 0 || exitCode === null,
  };
}

function refuse(path: string | undefined): void {
  if (path === undefined) return;
  throw new CellpoolError('COMMIT_FAILED', `${JSON.stringify(path)} is a named pipe, which git would read for ever`, {
    facts: { path },
  });
}
