/**
 * Removing what an agent has left, which may be made to resist: locked, named in no text, or nested so deep that no
 * system call takes the path of what lies at the bottom. Links are removed, and never followed.
 */
import { chmod, lstat, readdir, rename, rm, rmdir, unlink } from 'node:fs/promises';

/** `rm` gives up at the first locked folder while it still deletes elsewhere, so one more go may not be enough. */
const REMOVE_TRIES = 5;
/** A folder whose path is longer is moved up; the longest path that Linux takes is 4095 bytes, that of macOS 1023. */
const LONG_PATH = process.platform === 'linux' ? 3_000 : 700;
/** Between two looks at the signal; as many as keep the threads busy that do it. */
const AT_ONCE = 8;

/**
 * Removes a file, a link (never what it points to) or a whole folder. Harmless when it is gone already. Call it when
 * nobody works there any more. Once `signal` is aborted nothing more is begun: what is left then stays.
 * @throws the file system's error when something cannot be removed, and the signal's reason
 */
export async function removeTree(path: string | Buffer, signal?: AbortSignal): Promise<void> {
  for (let tries = 1; ; tries++) {
    signal?.throwIfAborted();
    try {
      // `rm` cannot be stopped: where that may be wanted, it gets only what resists.
      if (signal !== undefined && (await isFolder(path))) await empty(bytesOf(path), signal);
      await rm(path, { recursive: true, force: true, maxRetries: 3 });
      return;
    } catch (error) {
      signal?.throwIfAborted();
      if (codeOf(error) === 'ENAMETOOLONG') {
        // What it moves up is less deep by as much, so there is an end to this.
        if (await flatten(bytesOf(path), signal)) tries -= 1;
      } else await unlockTree(path, signal);
      if (tries === REMOVE_TRIES) throw error;
    }
  }
}

/**
 * Removes a folder as far as it goes; what cannot be removed is passed over, for `rm` to meet it again. All that it has
 * begun has ended when it is over. @throws the signal's reason
 */
async function empty(folder: Buffer, signal: AbortSignal): Promise<void> {
  try {
    await unlock(folder, 0o700);
    const entries = await readdir(folder, { withFileTypes: true, encoding: 'buffer' });
    for (let at = 0; at < entries.length && !signal.aborted; at += AT_ONCE) {
      const removals = entries.slice(at, at + AT_ONCE).map(entry => {
        const path = below(folder, entry.name);
        return entry.isDirectory() ? empty(path, signal) : unlink(path);
      });
      await Promise.allSettled(removals);
    }
    if (!signal.aborted) await rmdir(folder);
  } catch {
    // Who asks for it removes what is left, and is told why it cannot be.
  }
  signal.throwIfAborted();
}

/**
 * Gives the owner back the right to read and change everything below `folder`; what vanishes meanwhile is passed
 * over. Names are taken as bytes, since not every one is text. @throws the file system's error, the signal's reason
 */
export async function unlockTree(folder: string | Buffer, signal?: AbortSignal): Promise<void> {
  await passingOver(async () => {
    await unlock(folder, 0o700);
    for (const entry of await readdir(folder, { withFileTypes: true, encoding: 'buffer' })) {
      signal?.throwIfAborted();
      const path = below(folder, entry.name);
      if (entry.isDirectory()) await unlockTree(path, signal);
      else if (entry.isFile()) await passingOver(() => unlock(path, 0o600));
    }
  });
}

async function unlock(path: string | Buffer, rights: number): Promise<void> {
  const { mode } = await lstat(path);
  if ((mode & rights) !== rights) await chmod(path, mode | rights);
}

/** Moves folders that lie deep below `root` right into it. @returns whether there were any. */
async function flatten(root: Buffer, signal: AbortSignal | undefined): Promise<boolean> {
  let moved = 0;
  // Not to be taken for those of an earlier go.
  const mark = `.deep-${process.pid}-${process.hrtime.bigint()}`;
  const walk = (folder: Buffer): Promise<void> =>
    passingOver(async () => {
      await unlock(folder, 0o700);
      for (const entry of await readdir(folder, { withFileTypes: true, encoding: 'buffer' })) {
        signal?.throwIfAborted();
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

const isFolder = (path: string | Buffer) =>
  lstat(path).then(
    found => found.isDirectory(),
    () => false,
  );
const bytesOf = (path: string | Buffer) => (typeof path === 'string' ? Buffer.from(path) : path);
const below = (folder: string | Buffer, name: Buffer) => Buffer.concat([bytesOf(folder), Buffer.from('/'), name]);
const codeOf = (error: unknown) => (error as NodeJS.ErrnoException).code;
