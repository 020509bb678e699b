/**
 * Folders that belong to a process and to no cell: those of ended cells on their way out, workspaces that wait for a
 * cell, and where a lander makes its merges. Their names say whose they are, so that somebody else removes them when that one is dead:
 *
 *     <state folder>/discarded/<pid>-<start time>-<boot>-<pid namespace>-<cell id>
 *     <state folder>/discarded/left-<cell id>      whoever had it could not remove it
 *     <state folder>/spares/<as above>             of a workspace: `spare.<hex>` for the cell's id
 *     <state folder>/landings/<as above>           of a lander: `landing.<hex>`
 */
import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { ProcessIdentity } from '../os/identity.ts';
import { pidIsTaken, readProcess } from '../os/process-table.ts';
import { isCellId } from '../redis/cell-record.ts';

/** Below the state folder. */
export const DISCARDED = 'discarded';
export const SPARES = 'spares';
export const LANDINGS = 'landings';
export const OWNED = [DISCARDED, SPARES, LANDINGS] as const;
const LEFT = 'left';

/** Where the owner's processes cannot be seen from here, milliseconds in which it must have removed something. */
const OLD_MS = 10 * 60_000;

export function nameOfOwn({ pid, startTime, bootId, pidNamespace }: ProcessIdentity, cellId: string): string {
  return `${[pid, startTime, bootMark(bootId), digitsOf(pidNamespace)].join('-')}-${cellId}`;
}

export const nameOfLeft = (cellId: string) => `${LEFT}-${cellId}`;

/** Of such a folder by its name; null when it is none that we have made. */
export function cellOf(name: string): string | null {
  const cellId = name.startsWith(`${LEFT}-`) ? name.slice(LEFT.length + 1) : (ownerOf(name)?.cellId ?? '');
  return isCellId(cellId) ? cellId : null;
}

/**
 * Those that nobody is about to remove or to use any more, as paths below the state folder. What somebody else has put
 * there is not among them.
 */
export async function abandonedIn(home: string, self: ProcessIdentity): Promise<string[]> {
  const abandoned: string[] = [];
  for (const kind of OWNED) {
    for (const name of await quietly(readdir(join(home, kind)), [])) {
      if (await isAbandoned(join(home, kind), name, self)) abandoned.push(`${kind}/${name}`);
    }
  }
  return abandoned;
}

async function isAbandoned(folder: string, name: string, self: ProcessIdentity): Promise<boolean> {
  if (cellOf(name) === null) return false;
  const owner = ownerOf(name);
  if (owner === null) return true;
  const { pid, startTime, boot, namespace } = owner;
  if (boot !== bootMark(self.bootId) || namespace !== digitsOf(self.pidNamespace)) {
    // Of another container, or of the machine before its restart. When it was moved here it has changed.
    const found = await quietly(lstat(join(folder, name)), null);
    return found !== null && Date.now() - found.ctimeMs > OLD_MS;
  }
  const holder = await readProcess(pid);
  if (holder === null) return !pidIsTaken(pid);
  return holder.startTime !== startTime || holder.zombie;
}

function ownerOf(name: string) {
  const [, pid, startTime = '', boot = '', namespace = '', cellId] =
    /^(\d{1,9})-(\d*)-([0-9a-f]*)-(\d*)-(.+)$/s.exec(name) ?? [];
  return pid === undefined || cellId === undefined ? null : { pid: Number(pid), startTime, boot, namespace, cellId };
}

/** Enough of it to tell two apart; names of files are bounded. */
const bootMark = (bootId: string) => bootId.replaceAll('-', '').slice(0, 12);
/** `pid:[4026531836]` */
const digitsOf = (pidNamespace: string) => pidNamespace.replace(/\D/g, '');

/** What is not there, or lies below a file, has nothing in it. */
async function quietly<T>(reading: Promise<T>, otherwise: T): Promise<T> {
  return reading.catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return otherwise;
    throw error;
  });
}
