/**
 * Named pipes in places that git reads of its own accord. Whoever opens one waits until somebody writes to it, for
 * ever: an agent that left a pipe called `.gitignore` would hold up the worker that asks what it has changed.
 */
import { CellpoolError } from '../errors.ts';
import { run } from '../os/run.ts';
import { type GitPath, pathText, splitNul } from './commands.ts';

const FIND_MS = 5 * 60_000;
/** Files of its own in any folder, and whatever git looks up in a repository within the work tree. */
const OWN_FILES = ['.gitignore', '.gitattributes', '.gitmodules'].flatMap(name => ['-iname', name, '-o']);
const READ_BY_GIT = ['-type', 'p', '(', ...OWN_FILES, '-ipath', '*/.git/*', ')', '-print0'];
/** A `.git` below the top that is no folder: what git reads for it may lie anywhere. */
const LEADS_ELSEWHERE = ['-path', './*/*', '-iname', '.git', '!', '-type', 'd', '!', '-type', 'p', '-print0'];
/** One that is a folder is named twice in a row, which tells it from the others and has no path be taken for another. */
const REPOSITORIES = ['-path', './*/*', '-iname', '.git', '-type', 'd', '-print0', '-print0'];
const DOT_GIT = /\/\.git$/i;

export interface Searched {
  /** False when there were folders that could not be looked into. */
  sawAll: boolean;
  /** Whether there may be a repository below the top; false only when all was seen and there is none. */
  mayNest: boolean;
}

/**
 * Call it before git looks through files that an agent has left, and before it writes their index: it reads the
 * attributes for that too. Pipes elsewhere are no harm, since git passes them over, unless something leads git there.
 * Where there is no `find`, git's time limit is what remains.
 * @throws {CellpoolError} COMMIT_FAILED when there is one.
 */
export async function refusePipes(workTree: string): Promise<Searched> {
  const first = await find(workTree, [...READ_BY_GIT, '-o', ...LEADS_ELSEWHERE, '-o', ...REPOSITORIES]);
  refuse(first.paths.find(path => !DOT_GIT.test(path)));
  const isFolder = (at: number) => [at - 1, at + 1].some(other => first.paths[other] === first.paths[at]);
  const { sawAll } = first;
  const mayNest = !first.isDone || first.paths.length > 0;
  // What is printed is bounded: of a list that was cut nobody knows what it would have led to.
  if (first.isDone && first.paths.every((_, at) => isFolder(at))) return { sawAll, mayNest };
  if (first.paths.length === 0) return { sawAll, mayNest };
  const all = await find(workTree, ['-type', 'p', '-print0']);
  refuse(all.paths[0]);
  return { sawAll: sawAll && all.sawAll, mayNest };
}

async function find(folder: string, what: readonly string[]) {
  const env = { PATH: `${process.env.PATH ?? ''}:/usr/bin:/bin`, LC_ALL: 'C' };
  const options = { cwd: folder, env, timeoutMs: FIND_MS, bytes: true };
  const { stdout, exitCode } = await run(['find', '.', ...what], options);
  return {
    paths: splitNul(stdout).map(path => path.replace(/^\.\//, '')),
    sawAll: exitCode === 0 || exitCode === null,
    isDone: exitCode === 0,
  };
}

function refuse(found: GitPath | undefined): void {
  if (found === undefined) return;
  const path = pathText(found);
  throw new CellpoolError('COMMIT_FAILED', `${JSON.stringify(path)} is a named pipe, which git would read for ever`, {
    facts: { path },
  });
}
