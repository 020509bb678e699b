/** Folders as bytes: names need not be text, and nothing is asked of git. */
import { createHash } from 'node:crypto';
import { lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** A path whose every character stands for one byte, so that it can be printed, compared and put together. */
export type BytePath = string;

export const bytesOf = (path: BytePath): Buffer => Buffer.from(path, 'latin1');
export const bytePath = (path: string): BytePath => Buffer.from(path).toString('latin1');

export type BytePicture = Record<BytePath, string>;

/**
 * Everything below `folder`, `.git` folders included: kind, permissions, content. Of an index what git knows of the
 * files is kept, but not when and where on the disk they were written.
 */
export function bytePictureOf(folder: BytePath): BytePicture {
  const picture: BytePicture = { '.': modeOf(lstatSync(bytesOf(folder)).mode) };
  const walk = (below: BytePath) => {
    const names = readdirSync(bytesOf(`${folder}/${below}`), { encoding: 'buffer' });
    for (const name of names.map(one => one.toString('latin1')).sort()) {
      const here = `${below}${name}`;
      const full = bytesOf(`${folder}/${here}`);
      const found = lstatSync(full);
      const mode = modeOf(found.mode);
      if (found.isSymbolicLink())
        picture[here] = `link ${readlinkSync(full, { encoding: 'buffer' }).toString('latin1')}`;
      else if (found.isFile()) picture[here] = `${mode} ${found.nlink} ${digestOf(here, readFileSync(full))}`;
      else picture[here] = `${found.isDirectory() ? 'folder' : 'special'} ${mode}`;
      if (found.isDirectory()) walk(`${here}/`);
    }
  };
  walk('');
  return picture;
}

const modeOf = (mode: number) => (mode & 0o7777).toString(8);

function digestOf(path: BytePath, content: Buffer): string {
  const what = path === '.git/index' ? withoutTimes(content) : content;
  return `${what.length} ${createHash('sha256').update(what).digest('hex').slice(0, 16)}`;
}

const HEADER = 12;
/** Of an entry: two times of 8 bytes, device, inode, mode, user, group, size; then id and flags. */
const [PLACE, SIZE_AT, STAT] = [24, 36, 40];
const ID = 20;

/** An index of version 2 without what differs each time the same files are written. */
function withoutTimes(index: Buffer): Buffer {
  const masked = Buffer.from(index);
  if (masked.toString('latin1', 0, 4) !== 'DIRC' || masked.readUInt32BE(4) !== 2) throw new Error('an unknown index');
  let at = HEADER;
  for (let left = masked.readUInt32BE(8); left > 0; left -= 1) {
    masked.fill(0, at, at + PLACE);
    // Git writes 0 here for a file that was written in the same second as the index.
    masked.fill(0, at + SIZE_AT, at + STAT);
    const name = masked.indexOf(0, at + STAT + ID + 2);
    at += (Math.floor((name - at) / 8) + 1) * 8;
  }
  // The last bytes are a sum over the rest.
  return masked.subarray(0, -ID);
}
