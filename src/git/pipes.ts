/**
 * Named pipes in places that git reads of its own accord. Whoever opens one waits until somebody writes to it, for
 * ever: an agent that left a pipe called `.gitignore` would hold up the worker that asks what it has changed.
 */
import { CellpoolError } from '../errors.ts';
import { run } from '../os/run.ts';
import { splitNul } from './commands.ts';

const FIND_MS = 5 * 60_000;
/** Ignore files and attributes of any folder, and whatever git looks up in a repository within the work tree. */
const READ_BY_GIT = ['(', '-iname', '.gitignore', '-o', '-iname', '.gitattributes', '-o', '-ipath', '*/.git/*', ')'];

/**
 * Call it before git looks through files that an agent has left. Pipes elsewhere are no harm: git passes them over.
 * Where there is no `find`, git's time limit is what remains.
 * @throws {CellpoolError} COMMIT_FAILED when there is one.
 */
export async function refusePipes(workTree: string): Promise<void> {
  const env = { PATH: `${process.env.PATH ?? ''}:/usr/bin:/bin`, LC_ALL: 'C' };
  const argv = ['find', '.', '-type', 'p', ...READ_BY_GIT, '-print0'] as const;
  const { stdout } = await run(argv, { cwd: workTree, env, timeoutMs: FIND_MS });
  const path = splitNul(stdout)[0]?.replace(/^\.\//, '');
  if (path === undefined) return;
  throw new CellpoolError('COMMIT_FAILED', `${JSON.stringify(path)} is a named pipe, which git would read for ever`, {
    facts: { path },
  });
}
