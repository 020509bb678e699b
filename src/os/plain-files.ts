/** Copies folders that somebody else has filled: plain files and folders of them, each file whole or not at all. */
import { constants, type Stats } from 'node:fs';
import { lstat, mkdir, open, readdir, rename, rm, utimes } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { run } from './run.ts';

export interface PlainFile {
  /** Below the folder that was looked through. */
  path: string;
  size: number;
  mtimeMs: number;
  /** Its owner may run it. */
  executable: boolean;
}

const COPY_MS = 5 * 60_000;
/** Times go through a number of seconds, which does not hold all of their digits. */
const SAME_TIME_MS = 2;

/**
 * The plain files of `parts`, which are paths below `root`. Links, devices and whatever else there is are passed over,
 * also where they stand in place of a folder on the way.
 */
export async function* plainFiles(root: string, parts: readonly string[]): AsyncGenerator<PlainFile> {
  for (const part of parts) {
    let folder = '';
    let isFolder = true;
    for (const name of part.split('/')) {
      folder = join(folder, name);
      isFolder &&= (await foundAt(join(root, folder)))?.isDirectory() === true;
    }
    if (isFolder) yield* filesBelow(root, part);
  }
}

async function* filesBelow(root: string, top: string): AsyncGenerator<PlainFile> {
  const folders = [top];
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    for (const name of await readdir(join(root, folder))) {
      const path = join(folder, name);
      const found = await foundAt(join(root, path));
      if (found?.isDirectory()) folders.push(path);
      if (found?.isFile()) yield { path, ...factsOf(found) };
    }
  }
}

/** Null also for a name that is no text: it is not found under what Node makes of it. */
async function foundAt(path: string): Promise<Stats | null> {
  return lstat(path).catch(error => {
    if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return null;
    throw error;
  });
}

function factsOf({ size, mtimeMs, mode }: Stats): Omit<PlainFile, 'path'> {
  return { size, mtimeMs, executable: (mode & constants.S_IXUSR) !== 0 };
}

/** Whether `root` holds this file already, as far as size and time tell. */
export async function holds(root: string, { path, size, mtimeMs }: PlainFile): Promise<boolean> {
  const found = await foundAt(join(root, path));
  return found?.isFile() === true && found.size === size && Math.abs(found.mtimeMs - mtimeMs) < SAME_TIME_MS;
}

/**
 * Copies the whole of `from` into `to`; where the file system can, the files share their blocks until one is written
 * to. `cp` takes a quarter of the time that we would, and none of our event loop. Both folders are ours.
 * @throws when something could not be copied; what was is left there
 */
export async function copyTree(from: string, to: string, signal: AbortSignal): Promise<void> {
  const env = { PATH: `${process.env.PATH ?? ''}:/usr/bin:/bin`, LC_ALL: 'C' };
  const copied = await run(['cp', '-Rp', `${from}/.`, to], { cwd: '/', env, timeoutMs: COPY_MS, signal });
  if (copied.exitCode !== 0) throw new Error(copied.stderr.trim().slice(-1_000) || (copied.problem ?? ''));
}

/**
 * Copies one file from a folder that is somebody else's into one that many fill and read at once: by way of `unfinished`,
 * a path on the same file system. What is copied is what was opened, and no link leads anywhere else.
 * @returns its size; null when it is no plain file any more, or has more than `most` bytes
 */
export async function takeFile(
  from: string,
  to: string,
  file: PlainFile,
  { unfinished, most }: { unfinished: string; most: number },
): Promise<number | null> {
  // Without waiting for a writer, should it be a pipe by now.
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  const source = await open(join(from, file.path), flags).catch(error => {
    if (['ENOENT', 'ENOTDIR', 'ELOOP', 'ENXIO'].includes((error as NodeJS.ErrnoException).code ?? '')) return null;
    throw error;
  });
  if (source === null) return null;
  try {
    const found = await source.stat();
    const { size, mtimeMs, executable } = factsOf(found);
    if (!found.isFile() || size > most) return null;
    const copy = await open(unfinished, 'wx', executable ? 0o700 : 0o600);
    // No more than was promised, however it grows.
    const reading = size === 0 ? null : source.createReadStream({ start: 0, end: size - 1, autoClose: false });
    if (reading === null) await copy.close();
    else await pipeline(reading, copy.createWriteStream());
    await utimes(unfinished, mtimeMs / 1_000, mtimeMs / 1_000);
    await mkdir(dirname(join(to, file.path)), { recursive: true, mode: 0o700 });
    await rename(unfinished, join(to, file.path));
    return size;
  } catch (error) {
    await rm(unfinished, { force: true });
    throw error;
  } finally {
    await source.close();
  }
}
