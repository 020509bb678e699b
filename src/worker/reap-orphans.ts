/** Leases, folders, control groups, pins and temporary files that belong to no cell in the registry. */
import { readdir, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { isBindable } from '../cell/held-port.ts';
import { removeWorkspace } from '../cell/workspace.ts';
import { messageOf } from '../errors.ts';
import { pidsIn, removeGroup } from '../os/cgroup.ts';
import { groupFolders } from '../os/resource-limits.ts';
import { UNFINISHED } from '../os/whole-file.ts';
import { within } from '../os/within.ts';
import { isCellId } from '../redis/cell-record.ts';
import type { HeldPortLease } from '../redis/port-lease.ts';
import type { ReapedKind } from '../redis/tally.ts';
import { findCellProcesses } from './cell-processes.ts';
import { ageOf, exists, isMirrorOf, type ReapContext, removePin } from './reap-cell.ts';
import type { Reaped, ReapKind } from './reap-report.ts';
import type { Removals } from './removals.ts';

/** Younger than this it may be of a cell that is being made, by somebody who keeps no registry. Milliseconds. */
const OLD_MS = 10 * 60_000;
/** A large workspace on a slow disk takes its time. */
const STEP_MS = 60_000;
const WHY = 'no cell in the registry has it';

/** Names below the state folder that cells leave there. */
export interface Traces {
  /** Cell folders. */
  readonly folders: readonly string[];
  /** Folders of dead processes that are of no cell any more, or not yet; paths below the state folder. */
  readonly abandoned: readonly string[];
  readonly pins: readonly { readonly mirror: string; readonly cellId: string }[];
  /** Folders of control groups; outside of the state folder. */
  readonly groups: readonly string[];
  /** Files of the registry that were not put in place. */
  readonly temporaries: readonly string[];
}

export const NO_TRACES: Traces = { folders: [], abandoned: [], pins: [], groups: [], temporaries: [] };

/** Reads folders only. Call it before the registry is read: what is erased in between was removed before. */
export async function findTraces({
  home,
  removals,
}: {
  home: string;
  removals?: Removals | undefined;
}): Promise<Traces> {
  const [folders, mirrors, registry] = await Promise.all(
    ['cells', 'mirrors', 'registry'].map(name => namesIn(join(home, name))),
  );
  const pins = await Promise.all(
    (mirrors ?? [])
      .map(name => join(home, 'mirrors', name))
      .filter(mirror => isMirrorOf(home, mirror))
      .map(async mirror => {
        const names = await namesIn(join(mirror, 'refs', 'cells'));
        const cells = new Set(names.map(name => name.replace(/\.lock$/, '')).filter(isCellId));
        return [...cells].map(cellId => ({ mirror, cellId }));
      }),
  );
  const groups = (await groupFolders(home)).map(async above => (await foldersIn(above)).map(name => join(above, name)));
  return {
    folders: folders ?? [],
    abandoned: (await removals?.abandoned()) ?? [],
    pins: pins.flat(),
    groups: (await Promise.all(groups)).flat(),
    temporaries: (registry ?? []).filter(isTemporary),
  };
}

/** `<cell id>.json.<anything>`, as the registry names what it is about to put in place. */
function isTemporary(name: string): boolean {
  const cut = name.lastIndexOf('.json.');
  return cut > 0 && name.endsWith(UNFINISHED) && isCellId(name.slice(0, cut));
}

/** Removes those of `traces` and `expired` that no cell in `known` has; never throws. */
export async function reapOrphans(
  context: ReapContext,
  { traces, expired, known }: { traces: Traces; expired: readonly HeldPortLease[]; known: ReadonlySet<string> },
): Promise<void> {
  const { home } = context;
  for (const name of traces.folders.filter(one => !known.has(one))) {
    if (isCellId(name)) await step(context, 'folder', `cells/${name}`, () => orphanFolder(context, name));
    else leave(context, 'folder', `cells/${name}`, 'no cell has such a name');
  }
  for (const path of traces.abandoned) {
    await step(context, 'folder', path, () => abandonedFolder(context, path));
  }
  for (const folder of traces.groups.filter(one => !known.has(basename(one)))) {
    await step(context, 'group', folder, () => orphanGroup(context, folder));
  }
  for (const { mirror, cellId } of traces.pins.filter(one => !known.has(one.cellId))) {
    const name = `${mirror.slice(home.length + 1)}/refs/cells/${cellId}`;
    await step(context, 'pin', name, () => orphanPin(context, mirror, cellId));
  }
  for (const name of traces.temporaries) {
    await step(context, 'temporary', `registry/${name}`, () => temporary(context, join(home, 'registry', name)));
  }
  for (const lease of expired.filter(({ owner }) => !known.has(owner))) {
    await step(context, 'lease', String(lease.port), () => orphanLease(context, lease));
  }
}

/** What was removed; a text says why it was left, null that there is nothing to say. */
type Result = Pick<Reaped, 'removed'> | string | null;

async function step(context: ReapContext, kind: ReapedKind, name: string, work: () => Promise<Result>): Promise<void> {
  const { notes } = context;
  try {
    const result = await within(STEP_MS, undefined, work);
    if (typeof result === 'string') leave(context, kind, name, result);
    else if (result !== null && result.removed.length > 0) {
      notes.reaped.push({ kind, name, taskId: null, why: WHY, removed: result.removed, jobGivenBack: false });
    }
  } catch (error) {
    notes.faults.push({ kind, name, step: kind, message: messageOf(error) });
  }
}

function leave({ notes }: ReapContext, kind: ReapKind, name: string, why: string): void {
  notes.left.push({ kind, name, why });
}

const YOUNG = 'it is younger than 10 minutes';

async function orphanFolder({ home, dryRun }: ReapContext, cellId: string): Promise<Result> {
  const path = join(home, 'cells', cellId);
  const age = await ageOf(path);
  if (age === null) return null;
  // The folder itself does not change any more once the cell is made.
  const ages = await Promise.all(['workspace', 'home', 'tmp'].map(name => ageOf(join(path, name))));
  if (Math.min(age, ...ages.map(one => one ?? age)) <= OLD_MS) return YOUNG;
  const { entries } = await findCellProcesses({ cellId, home, server: null });
  if (entries.length > 0) return `processes work in it: ${entries.map(({ pid }) => pid).join(', ')}`;
  if (!dryRun) await removeWorkspace(path);
  return { removed: ['folder'] };
}

/** No cell works in it. It is taken over only, and removed when our turn is over. */
async function abandonedFolder({ removals, dryRun }: ReapContext, path: string): Promise<Result> {
  const how = dryRun ? 'adopted' : await removals?.adopt(path);
  if (how === 'later') return 'many others wait to be removed before it';
  return how === 'adopted' ? { removed: ['folder'] } : null;
}

/** A cell has its folder before its group, and longer: without one nobody is about to use the group. */
async function orphanGroup({ home, dryRun }: ReapContext, group: string): Promise<Result> {
  if (await exists(join(home, 'cells', basename(group)))) return 'the folder of its cell is there';
  const pids = await pidsIn([group]);
  if (pids.length > 0) return `processes are in it: ${pids.join(', ')}`;
  if (!(await exists(group))) return null;
  if (!dryRun) await removeGroup([group]);
  return { removed: ['control group'] };
}

async function orphanPin({ home, dryRun }: ReapContext, mirror: string, cellId: string): Promise<Result> {
  const ref = join(mirror, 'refs', 'cells', cellId);
  const age = (await ageOf(ref)) ?? (await ageOf(`${ref}.lock`));
  if (age === null) return null;
  if (age <= OLD_MS) return YOUNG;
  // Its workspace borrows what the pin keeps.
  if (await exists(join(home, 'cells', cellId))) return 'the folder of its cell is there';
  return { removed: await removePin(mirror, cellId, dryRun) };
}

async function temporary({ dryRun }: ReapContext, path: string): Promise<Result> {
  const age = await ageOf(path);
  if (age === null) return null;
  if (age <= OLD_MS) return YOUNG;
  if (!dryRun) await rm(path, { force: true });
  return { removed: ['file'] };
}

async function orphanLease({ home, ports, dryRun }: ReapContext, lease: HeldPortLease): Promise<Result> {
  const { owner, port } = lease;
  if (isCellId(owner) && (await exists(join(home, 'cells', owner)))) return 'the folder of its cell is there';
  if (!(await isBindable(port))) return 'a process uses it';
  return dryRun || (await ports.release(lease)) ? { removed: [`port ${port}`] } : null;
}

async function namesIn(folder: string): Promise<string[]> {
  return readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
}

async function foldersIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  return entries.filter(entry => entry.isDirectory()).map(entry => entry.name);
}
