/** Files of a folder that other people edit: read without being led elsewhere, and replaced only as they were read. */
import { isUtf8 } from 'node:buffer';
import { constants, type Stats } from 'node:fs';
import { type FileHandle, lstat, open, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { UNFINISHED, wholeFile } from '../../os/whole-file.ts';

/** A task is a page or two; a larger file is something else. */
export const FILE_MAX_BYTES = 1024 * 1024;

/** `fault`: why it is none that can be read, as the end of a sentence. */
export type Content = { bytes: Buffer; text: string; stats: Stats } | { fault: string };

/** Null when there is no such file. @throws the file system's error for what may go better later */
export async function readItemFile(path: string): Promise<Content | null> {
  let handle: FileHandle;
  try {
    // A pipe would be waited on for ever, and what a link leads to is not in the folder.
    handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT') return null;
    if (code === 'ELOOP') return { fault: 'is a symbolic link, which is not followed' };
    if (code === 'EACCES' || code === 'EPERM') return { fault: 'may not be read by this user' };
    if (code === 'ENXIO') return { fault: 'is no file' };
    throw error;
  }
  try {
    const stats = await handle.stat();
    if (!stats.isFile()) return { fault: 'is no file' };
    if (stats.size > FILE_MAX_BYTES) return { fault: `is larger than ${FILE_MAX_BYTES / 1024 / 1024} MiB` };
    const bytes = await handle.readFile();
    if (!isUtf8(bytes)) return { fault: 'is not written in UTF-8' };
    return { bytes, text: bytes.toString('utf8'), stats };
  } finally {
    await handle.close();
  }
}

/** Nothing is written for so long: what is older was left by a crash. */
const DRAFT_MS = 3_600_000;
const DRAFT = new RegExp(`\\.(md|markdown|cellpool-id)\\.[0-9a-f]{8}\\${UNFINISHED}$`, 'i');

/** Removes what was being written when a crash came. */
export async function removeDrafts(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    if (!DRAFT.test(name)) continue;
    const path = join(folder, name);
    const found = await lstat(path).catch(() => null); // Another bridge may be about it, too.
    if (found?.isFile() && Date.now() - found.mtimeMs > DRAFT_MS) await rm(path, { force: true });
  }
}

/** Thrown to leave a file as it is. */
class Edited extends Error {}

/**
 * Puts `text` in the place of what was read. False when the file is another one by now: then somebody has edited it,
 * and it is left alone. A crash leaves the old or the new text, whole. @throws the file system's error
 */
export async function replaceItemFile(
  path: string,
  read: Extract<Content, { bytes: Buffer }>,
  text: string,
): Promise<boolean> {
  try {
    await wholeFile(path, async draft => {
      await writeLike(draft, text, read.stats);
      const now = await readItemFile(path);
      if (now === null || 'fault' in now || !now.bytes.equals(read.bytes)) throw new Edited();
    });
    return true;
  } catch (error) {
    if (error instanceof Edited) return false;
    throw error;
  }
}

async function writeLike(draft: string, text: string, { mode, uid, gid }: Stats): Promise<void> {
  const handle = await open(draft, 'wx', 0o600);
  try {
    // Only root may give a file away; for others it is theirs from now on.
    if (process.getuid?.() === 0) await handle.chown(uid, gid);
    await handle.chmod(mode & 0o777);
    await handle.writeFile(text);
    // It takes the place of a person's own words: those must not be lost with the power.
    await handle.sync();
  } finally {
    await handle.close();
  }
}
