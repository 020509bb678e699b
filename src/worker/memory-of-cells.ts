/**
 * The memory that each cell of this process takes: what its control group counts or, where there is none, what its
 * processes do. Of these are known the server with all that it started, and the commands of the worker; one that left
 * both its parents and the group of the server is not.
 */
import { readFile } from 'node:fs/promises';
import { memoryOfGroups, memoryOfProcesses } from '../os/process-memory.ts';
import { listProcesses, type ProcessEntry } from '../os/process-table.ts';
import type { CellRecord } from '../redis/cell-record.ts';
import { withDescendants } from './cell-processes.ts';

type Seen = Pick<CellRecord, 'cellId' | 'server' | 'groups'>;

/** Bytes by cell id. A cell of which nothing runs takes none. */
export async function memoryOfCells(cells: readonly Seen[]): Promise<Map<string, number>> {
  const found = new Map<string, number>();
  const ungrouped: Seen[] = [];
  for (const cell of cells) {
    const counted = await memoryOfGroups(cell.groups ?? []);
    if (counted === null) ungrouped.push(cell);
    else found.set(cell.cellId, counted);
  }
  if (ungrouped.length === 0) return found;
  for (const [cellId, pids] of await processesOf(ungrouped)) found.set(cellId, await memoryOfProcesses(pids));
  return found;
}

async function processesOf(cells: readonly Seen[]): Promise<Map<string, number[]>> {
  const table = (await listProcesses()).filter(({ zombie }) => !zombie);
  const roots = new Map<string, ProcessEntry[]>(cells.map(({ cellId }) => [cellId, []]));
  const known = new Set<number>();
  for (const { cellId, server } of cells) {
    if (server === null) continue;
    const started = table.filter(({ pid, group, startTime }) =>
      pid === server.pid ? startTime === server.startTime : group === server.pid,
    );
    roots.get(cellId)?.push(...started);
    for (const { pid } of withDescendants(started, table)) known.add(pid);
  }
  // Only among those that we have started is looked at environments: to read everybody's would take far longer.
  const self = table.filter(({ pid }) => pid === process.pid);
  const others = withDescendants(self, table).filter(({ pid }) => pid !== process.pid && !known.has(pid));
  for (const entry of others) roots.get(await cellOf(entry))?.push(entry);
  return new Map(
    [...roots].map(([cellId, found]) => [cellId, withDescendants(found, table).map(({ pid }) => pid)] as const),
  );
}

/** The cell whose marker a process carries, as its server does or as a command; empty without one. */
async function cellOf({ pid }: ProcessEntry): Promise<string> {
  const environment = await readFile(`/proc/${pid}/environ`, 'latin1').catch(() => '');
  const marker = environment.split('\0').find(entry => entry.startsWith('CELLPOOL_CELL='));
  return marker?.slice('CELLPOOL_CELL='.length).replace(/\/command$/, '') ?? '';
}
