/**
 * Removing what an agent has left, which may be made to resist: locked, named in no text, or nested so deep that no
 * system call takes the path of what lies at the bottom. Links are removed, and never followed.
 */
import { chmod, lstat, readdir, rename, rm } from 'node:fs/promises';

/** `rm` gives up at the first locked folder while it still deletes elsewhere, so one more go may not be enough. */
const REMOVE_TRIES = 5;
/** A folder whose path is longer is moved up; the longest path that Linux takes is 4095 bytes, that of macOS 1023. */
const LONG_PATH = process.platform === 'linux' ? 3_000 : 700;

/**
 * Removes a file, a link (never what it points to) or a whole folder. Harmless when it is gone already. Call it when
 * nobody works there any more. @throws the file system's error when something cannot be removed.
 */
export async function removeTree(path: string | Buffer): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      await rm(path, { recursive: true, force: true, maxRetries: 3 });
      return;
    } catch (error) {
      if (codeOf(error) === 'ENAMETOOLONG') {
        // What it moves up is less deep by as much, so there is an end to this.
        if (await flatten(bytesOf(path))) tries -= 1;
      } else await unlockTree(path);
      if (tries === REMOVE_TRIES) throw error;
    }
  }
}

/**
 * Gives the owner back the right to read and change everything below `folder`; what vanishes meanwhile is passed
 * over. Names are taken as bytes, since not every one is text.
 */
export async function unlockTree(folder: string | Buffer): Promise<void> {
  await passingOver(async () => {
    await unlock(folder, 0o700);
    for (const entry of await readdir(folder, { withFileTypes: true, encoding: 'buffer' })) {
      const path = below(folder, entry.name);
      if (entry.isDirectory()) await unlockTree(path);
      else if (entry.isFile()) await passingOver(() => unlock(path, 0o600));
    }
  });
}

async function unlock(path: string | Buffer, rights: number): Promise<void> {
  const { mode } = await lstat(path);
  if ((mode & rights) !== rights) await chmod(path, mode | rights);
}

/** Moves folders that lie deep below `root` right into it. @returns whether there were any. */
async function flatten(root: Buffer): Promise<boolean> {
  let moved = 0;
  // Not to be taken for those of an earlier go.
  const mark = `.deep-${process.pid}-${process.hrtime.bigint()}`;
  const walk = (folder: Buffer): Promise<void> =>
    passingOver(async () => {
      await unlock(folder, 0o700);
      for (const entry of await readdir(folder, { withFileTypes: true, encoding: 'buffer' })) {
        if (!entry.isDirectory()) continue;
        const path = below(folder, entry.name);
        if (path.length - root.length < LONG_PATH) await walk(path);
        else
          await passingOver(async () => {
            await unlock(path, 0o700);
            await rename(path, below(root, Buffer.from(`${mark}-${moved}`)));
            moved += 1;
          });
      }
    });
  await walk(root);
  return moved > 0;
}

/** What vanishes meanwhile needs nothing more: a removal that gave up goes on for a moment. */
async function passingOver(work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error;
  }
}

const bytesOf = (path: string | Buffer) => (typeof path === 'string' ? Buffer.from(path) : path);
const below = (folder: string | Buffer, name: Buffer) => Buffer.concat([bytesOf(folder), Buffer.from('/'), name]);
const codeOf = (error: unknown) => (error as NodeJS.ErrnoException).code;
