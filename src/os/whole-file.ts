/** Files that are there whole or not at all, whatever a crash or a full disk does in between. */
import { randomBytes } from 'node:crypto';
import { rename, rm } from 'node:fs/promises';

/** How the names of files end that are still being written; after a crash they are left. */
export const UNFINISHED = '.new';

/** Has `write` write to another path, and moves that to `path` when it is done; removes it when `write` fails. */
export async function wholeFile(path: string, write: (path: string) => Promise<unknown>): Promise<void> {
  const unfinished = `${path}.${randomBytes(4).toString('hex')}${UNFINISHED}`;
  try {
    await write(unfinished);
    await rename(unfinished, path);
  } catch (error) {
    await rm(unfinished, { force: true });
    throw error;
  }
}
