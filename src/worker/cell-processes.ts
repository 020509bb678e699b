/** The processes of a cell whose worker is dead: found by what only this cell's can have, and killed to the last. */
import { lstat, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { cellMarker } from '../cell/environment.ts';
import { CellpoolError } from '../errors.ts';
import {
  findStrays,
  killEntry,
  listProcesses,
  type ProcessEntry,
  readProcess,
  signalGroup,
} from '../os/process-table.ts';

export interface ReapedCell {
  readonly cellId: string;
  /** The state folder. */
  readonly home: string;
  /** The cell's server, when pid and start time can be trusted to name it; it led a process group of its own. */
  readonly server: { readonly pid: number; readonly startTime: string } | null;
}

export interface CellProcesses {
  readonly entries: readonly ProcessEntry[];
  /** The server's process group, when it is proven to be that still. */
  readonly group: number | null;
}

/** After SIGKILL the kernel needs a moment to take back memory; longer than this something is wrong. */
const GONE_MS = 5_000;
const POLL_MS = 5;

/**
 * The server and its process group, whatever carries the cell's marker or works in its folder, and all descendants of
 * these, also those that left group and session. Never this process, its ancestors, or process 1.
 */
export async function findCellProcesses(cell: ReapedCell): Promise<CellProcesses> {
  const [table, folder] = await Promise.all([listProcesses(), folderOf(cell)]);
  const strays = await findStrays(cellMarker(cell.cellId), folder);
  // Commands of the worker in the workspace have a marker of their own: see src/cell/verify.ts.
  const commands = await findStrays(cellMarker(`${cell.cellId}/command`), null);
  const leader = table.find(({ pid }) => pid === cell.server?.pid) ?? null;
  const isServer = leader !== null && leader.startTime === cell.server?.startTime;
  const roots = [...strays, ...commands, ...(isServer ? [leader] : [])];

  // A group keeps its number while it has a member. With its leader gone, a member of ours proves that it is ours.
  const leads = cell.server !== null && cell.server.pid > 1 && (isServer || leader === null);
  const isOurs = leads && (isServer || roots.some(({ group }) => group === cell.server?.pid));
  const group = isOurs && cell.server !== null ? cell.server.pid : null;
  if (group !== null) roots.push(...table.filter(one => one.group === group));

  const spared = ancestorsOf(process.pid, table);
  const entries = withDescendants(roots, table).filter(({ pid, zombie }) => !zombie && pid > 1 && !spared.has(pid));
  return { entries, group: table.some(one => one.group === group && spared.has(one.pid)) ? null : group };
}

/**
 * Kills all of `findCellProcesses` and waits until none is left; what starts meanwhile is killed too.
 * @returns how many there were. @throws {CellpoolError} INTERNAL when some survive, or cannot be told from strangers
 */
export async function killCellProcesses(cell: ReapedCell): Promise<number> {
  await refuseWithoutTable(cell);
  const deadline = performance.now() + GONE_MS;
  const seen = new Map<string, ProcessEntry>();
  for (;;) {
    const { entries, group } = await findCellProcesses(cell);
    for (const entry of entries) seen.set(`${entry.pid} ${entry.startTime}`, entry);
    const alive = entries.length > 0 ? entries : await stillThere(seen.values());
    if (alive.length === 0) return seen.size;
    if (performance.now() > deadline) {
      const pids = alive.map(({ pid }) => pid).join(', ');
      throw new CellpoolError('INTERNAL', `processes survive SIGKILL for ${GONE_MS / 1_000} s: ${pids}`);
    }
    // All at once first, so that no member starts another one while its siblings are killed.
    if (group !== null && entries.some(one => one.group === group)) signalGroup(group, 'SIGKILL');
    await Promise.all(alive.map(killEntry));
    await sleep(POLL_MS);
  }
}

/** All entries of `roots` and their descendants. A child is never older than its parent. */
export function withDescendants(roots: readonly ProcessEntry[], table: readonly ProcessEntry[]): ProcessEntry[] {
  const children = new Map<number, ProcessEntry[]>();
  for (const entry of table) children.set(entry.parent, [...(children.get(entry.parent) ?? []), entry]);
  const found = new Map<number, ProcessEntry>();
  const queue = [...roots];
  for (let entry = queue.pop(); entry !== undefined; entry = queue.pop()) {
    if (found.has(entry.pid)) continue;
    found.set(entry.pid, entry);
    const born = Number(entry.startTime);
    // Process 1 takes in everybody's orphans: its children are nobody's proof.
    if (entry.pid > 1) queue.push(...(children.get(entry.pid) ?? []).filter(one => Number(one.startTime) >= born));
  }
  return [...found.values()];
}

function ancestorsOf(pid: number, table: readonly ProcessEntry[]): Set<number> {
  const parents = new Map(table.map(entry => [entry.pid, entry.parent]));
  const found = new Set<number>();
  for (let at: number | undefined = pid; at !== undefined && !found.has(at); at = parents.get(at)) found.add(at);
  return found;
}

async function stillThere(entries: Iterable<ProcessEntry>): Promise<ProcessEntry[]> {
  const now = await Promise.all(
    [...entries].map(async entry => {
      const found = await readProcess(entry.pid);
      return found !== null && found.startTime === entry.startTime && !found.zombie ? found : null;
    }),
  );
  return now.filter(entry => entry !== null);
}

/** Null when it is no folder: a link that an agent put in its place may lead to where others work. */
async function folderOf({ home, cellId }: ReapedCell): Promise<string | null> {
  const folder = join(await realpath(home).catch(() => home), 'cells', cellId);
  const isLink = await lstat(folder).then(
    found => !found.isDirectory(),
    () => false,
  );
  return isLink ? null : folder;
}

/** Where there is no process table, a living group of the server's number may be anybody's. */
async function refuseWithoutTable({ server }: ReapedCell): Promise<void> {
  if (server === null || server.pid <= 1 || (await readProcess(process.pid)) !== null) return;
  if (!signalGroup(server.pid, 0)) return;
  throw new CellpoolError('INTERNAL', `process group ${server.pid} may be the server's: this system cannot tell`, {
    hint: 'Look at it, and kill it by hand if it is an opencode server.',
  });
}
