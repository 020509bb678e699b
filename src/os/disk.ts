/** Free disk, and errors that mean there is none. */
import { statfs } from 'node:fs/promises';
import { CellpoolError } from '../errors.ts';

/** Bytes that we may still write to the file system of `folder`, which must be there. */
export async function freeDisk(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder);
  return bavail * bsize;
}

const FULL: ReadonlySet<unknown> = new Set(['ENOSPC', 'EDQUOT', 'DISK_FULL']);
/** So git says it, which we run with `LC_ALL=C`; it has no exit code for it. */
const SAID_BY_GIT = /No space left on device|Disk quota exceeded/;
/** Causes are followed so far: one may be its own. */
const MOST_CAUSES = 20;

/** Whether the disk was full: told by the error's code, that of a cause, or what git said to a call of ours. */
export function isDiskFull(error: unknown): boolean {
  for (let depth = 0; depth < MOST_CAUSES && error instanceof Error; depth += 1) {
    if ('code' in error && FULL.has(error.code)) return true;
    if (error instanceof CellpoolError && error.facts.program === 'git' && SAID_BY_GIT.test(error.message)) return true;
    error = error.cause;
  }
  return false;
}

/** `error` under the code DISK_FULL when that is what it comes from; else as it is. */
export function namingFullDisk(error: CellpoolError): CellpoolError {
  if (error.code === 'DISK_FULL' || error.code === 'CANCELLED' || !isDiskFull(error)) return error;
  return new CellpoolError('DISK_FULL', error.message, {
    hint: 'Free some space in the state folder (CELLPOOL_HOME), or raise the reserve.',
    facts: error.facts,
    cause: error,
  });
}
