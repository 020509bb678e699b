/**
 * Locks between processes, held by the kernel through flock(1). A lock file with a pid in it needs a guess whether
 * its holder still lives, and two processes that guess at once can both break it; a kernel lock is gone the moment
 * its holder is, however it died, and holds across containers that share the folder. Node has no flock of its own.
 */
import { once } from 'node:events';
import { execa } from 'execa';
import { CellpoolError, type ErrorCode } from '../errors.ts';
import { TooLate, within } from './within.ts';

/** How it is told that a lock cannot be had. */
export interface LockWords {
  code: ErrorCode;
  /** Who needs flock(1), as the begin of a sentence. */
  who: string;
  /** What to do when it is missing, and when somebody else keeps the lock. */
  missing: string;
  stuck: string;
}

/**
 * Waits for the exclusive lock on `file`, which may be a folder, and returns the function that gives it back. The
 * holder is `cat` at the end of a pipe of ours: it ends, and the lock with it, when the pipe is closed, which a
 * SIGKILL of ours does too. Throws an error of `words.code` after `timeoutMs`, or when flock(1) is missing; the
 * signal's reason when aborted.
 */
export async function holdLock(
  file: string,
  timeoutMs: number,
  words: LockWords,
  signal?: AbortSignal,
): Promise<() => Promise<void>> {
  // Detached: Ctrl-C in the terminal must not take the lock from under a process that is still cleaning up.
  const holder = execa('flock', ['-x', file, 'cat'], { detached: true, cleanup: false, reject: false });
  holder.stdin.on('error', () => undefined);
  const release = async () => {
    holder.stdin.end();
    await holder;
  };
  try {
    await within(timeoutMs, signal, async ended => {
      // What goes in comes out again only once cat runs, and cat runs only once the lock is held.
      holder.stdin.write('held\n');
      const failed = holder.then(({ stderr, exitCode }) => {
        throw lockFault(file, words, exitCode === undefined ? undefined : stderr);
      });
      await Promise.race([once(holder.stdout, 'data', { signal: ended }), failed]);
    });
    return release;
  } catch (error) {
    holder.kill();
    await release();
    if (!(error instanceof TooLate)) throw error;
    throw new CellpoolError(words.code, `${file} stayed locked for ${timeoutMs / 1_000} s`, { hint: words.stuck });
  }
}

/** Waits until nobody holds the lock on `file`; false when somebody still does after `timeoutMs` (0 asks once). */
export async function isFreeWithin(file: string, timeoutMs: number, words: LockWords): Promise<boolean> {
  const args = timeoutMs === 0 ? ['-n', file, 'true'] : [file, 'true'];
  const limit = timeoutMs === 0 ? {} : { timeout: timeoutMs };
  const { exitCode, timedOut, stderr } = await execa('flock', args, { reject: false, ...limit });
  if (exitCode === 0) return true;
  // With -n, a silent 1 says that somebody holds it; a lock file that cannot be opened is complained of.
  if (timedOut || (exitCode === 1 && stderr === '')) return false;
  throw lockFault(file, words, exitCode === undefined ? undefined : stderr);
}

function lockFault(file: string, { code, who, missing }: LockWords, complaint: string | undefined): CellpoolError {
  if (complaint !== undefined) return new CellpoolError('STATE_FOLDER', `cannot lock ${file}: ${complaint}`);
  return new CellpoolError(code, `${who} needs the command flock, which is not on PATH`, { hint: missing });
}
