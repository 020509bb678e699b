/**
 * Which folder it is. Its path is not enough: two hosts on one Redis may each have a folder of that name. Nor are the
 * numbers of its file system, which change when it is mounted again. So the first bridge leaves a mark in it.
 *
 * Two hosts share a source when they see the same mark at the same path: the same folder on a network drive, mounted at
 * the same place. The same folder elsewhere, or a copy of it, is another source.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { link, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CellpoolError } from '../../errors.ts';
import { UNFINISHED } from '../../os/whole-file.ts';
import { readItemFile } from './item-file.ts';

export const MARK_FILE = '.cellpool-id';
const SHAPE = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** `folder`: its real path. With `readOnly` no mark is left; without one nothing of the folder was ever queued. */
export async function identityOf(folder: string, { readOnly }: { readOnly: boolean }): Promise<string> {
  const found = await markIn(folder);
  if (found !== null) return `folder:${folder}:${found}`;
  if (readOnly) return `folder:${folder}:none`;
  const draft = join(folder, `${MARK_FILE}.${randomBytes(4).toString('hex')}${UNFINISHED}`);
  try {
    await writeFile(draft, `${randomUUID()}\n`, { flag: 'wx' });
    // Of several bridges that begin at once, all take the mark of the first.
    await link(draft, join(folder, MARK_FILE)).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error;
    });
  } finally {
    await rm(draft, { force: true });
  }
  return `folder:${folder}:${await markIn(folder)}`;
}

async function markIn(folder: string): Promise<string | null> {
  const file = join(folder, MARK_FILE);
  const found = await readItemFile(file);
  if (found === null) return null;
  const mark = 'fault' in found ? '' : found.text.trim();
  if (SHAPE.test(mark)) return mark;
  throw new CellpoolError('SOURCE_UNAVAILABLE', `${file} is not what cellpool has written there`, {
    hint: 'Put the old one back; without it, tasks that are on the queue would not be known any more.',
  });
}
