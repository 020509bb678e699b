/**
 * Links in an index, read from the file itself: git would print every entry there is, and a repository has thousands.
 * Only for the index of a record, which nobody but us has written: an agent's own is not looked at.
 */
import { createHash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { GITLINK, type IndexEntry } from './commands.ts';
import type { Source } from './source.ts';

const ID_BYTES: Record<Source['format'], number> = { sha1: 20, sha256: 32 };
const HEADER_BYTES = 12;
/** Of an entry: times, device, inode, mode, owner, size. Then come the id, the flags and the path. */
const STAT_BYTES = 40;
const MODE_AT = 24;
const EXTENDED = 0x4000;

/** It is read and summed at once, while nothing else is done; an agent decides how large it is. */
const READ_MAX_BYTES = 32 * 1024 * 1024;

/** As `parseLinks` of that file; one that is not there has none. @throws the file system's error */
export async function linksOfIndex(path: string, format: Source['format']): Promise<IndexEntry[] | null> {
  try {
    if ((await stat(path)).size > READ_MAX_BYTES) return null;
    return parseLinks(await readFile(path), format);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

/** The entries that name a commit; null when it is written in a way that is not known here, and git must be asked. */
export function parseLinks(file: Buffer, format: Source['format']): IndexEntry[] | null {
  const idBytes = ID_BYTES[format];
  const end = file.length - idBytes;
  if (end < HEADER_BYTES || file.toString('latin1', 0, 4) !== 'DIRC') return null;
  // At the end stands the sum of all before it: half an index is none.
  if (!createHash(format).update(file.subarray(0, end)).digest().equals(file.subarray(end))) return null;
  const [version, count] = [file.readUInt32BE(4), file.readUInt32BE(8)];
  // From version 4 on a path is told by what it has in common with the one before.
  if (version !== 2 && version !== 3) return null;
  const links: IndexEntry[] = [];
  let at = HEADER_BYTES;
  for (let left = count; left > 0; left -= 1) {
    const idAt = at + STAT_BYTES;
    const flagsAt = idAt + idBytes;
    if (flagsAt + 2 > end) return null;
    const pathAt = flagsAt + ((file.readUInt16BE(flagsAt) & EXTENDED) === 0 ? 2 : 4);
    const pathEnd = file.indexOf(0, pathAt);
    if (pathEnd < 0 || pathEnd >= end) return null;
    const mode = file.readUInt32BE(at + MODE_AT).toString(8);
    if (mode === GITLINK) {
      links.push({ mode, id: file.toString('hex', idAt, flagsAt), path: file.toString('latin1', pathAt, pathEnd) });
    }
    // At least one NUL, and as many as make the length of the entry a multiple of eight.
    at += Math.floor((pathEnd - at) / 8 + 1) * 8;
  }
  return restIsOptional(file, at, end) ? links : null;
}

/** What follows the entries: a name that begins with a small letter changes what they mean, as in an index in parts. */
function restIsOptional(file: Buffer, from: number, end: number): boolean {
  let at = from;
  while (at + 8 <= end) {
    if (!/^[A-Z]/.test(file.toString('latin1', at, at + 1))) return false;
    at += 8 + file.readUInt32BE(at + 4);
  }
  return at === end;
}
