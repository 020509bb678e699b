/**
 * Refs of a repository of ours that keeps them in files and never packs them, by the way git itself writes them: under
 * a lock beside the file, then in place in one step. To start git for it would cost more than all else of a pin.
 */
import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';

/** A lock of git's, or of ours that was killed in the middle of it. */
const LOCK = '.lock';

/**
 * Has `ref` point to `id`, whatever it was. Only one at a time may do that to a ref. @throws the file system's error,
 * EEXIST when somebody else does it just now
 */
export async function setRef(gitDir: string, ref: string, id: string): Promise<void> {
  const path = join(gitDir, ref);
  const lock = `${path}${LOCK}`;
  const begin = () => mkdir(dirname(path), { recursive: true }).then(() => open(lock, 'wx'));
  // A git that removes the last ref of a folder takes the folder with it.
  const file = await begin().catch(error => (isMissing(error) ? begin() : Promise.reject(error)));
  try {
    await file.writeFile(`${id}\n`);
    // As git does: after a power cut the ref is what it was, or is what it is now.
    await file.sync();
    await rename(lock, path);
  } catch (error) {
    await rm(lock, { force: true });
    throw error;
  } finally {
    await file.close();
  }
}

/** Harmless when there is none. @throws the file system's error */
export async function removeRef(gitDir: string, ref: string): Promise<void> {
  await rm(join(gitDir, ref), { force: true });
}

/** Whether the ref is there and points to `id`; an empty file, which a power cut may leave, points to nothing. */
export async function pointsTo(gitDir: string, ref: string, id: string): Promise<boolean> {
  const found = await readFile(join(gitDir, ref), 'utf8').catch(error => {
    if (isMissing(error)) return '';
    throw error;
  });
  return found.trim() === id;
}

/** Last parts of the names of the refs in `folder`, say `refs/heads`; not of those further below. */
export async function refsIn(gitDir: string, folder: string): Promise<string[]> {
  const entries = await readdir(join(gitDir, folder), { withFileTypes: true }).catch(error => {
    if (isMissing(error)) return [];
    throw error;
  });
  return entries.filter(entry => entry.isFile() && !entry.name.endsWith(LOCK)).map(({ name }) => name);
}

function isMissing(error: NodeJS.ErrnoException): boolean {
  return error.code === 'ENOENT' || error.code === 'ENOTDIR';
}
