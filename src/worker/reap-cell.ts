/** What a dead worker left of one cell: its job first, then processes, worktree, workspace, pin, port and entry. */
import { lstat, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { Job } from 'bullmq';
import { removeWorkspace } from '../cell/workspace.ts';
import { messageOf } from '../errors.ts';
import { unpin } from '../git/mirror.ts';
import { removeRegistration } from '../git/worktree.ts';
import { backToLine } from '../job/back-to-line.ts';
import { jobIdOf, taskIdFault } from '../job/names.ts';
import type { TaskQueue } from '../job/queue.ts';
import { removeGroup } from '../os/cgroup.ts';
import { isGroupOf } from '../os/resource-limits.ts';
import { within } from '../os/within.ts';
import { type CellRecord, taskNamedBy } from '../redis/cell-record.ts';
import type { JobData } from '../redis/job-data.ts';
import type { PortLeases } from '../redis/port-lease.ts';
import type { CellRegistry } from '../redis/registry.ts';
import type { Slots } from '../redis/slots.ts';
import { findCellProcesses, killCellProcesses, type ReapedCell } from './cell-processes.ts';
import type { Judgement } from './is-dead.ts';
import type { ReapNotes } from './reap-report.ts';
import { releaseSlotOf } from './reap-slots.ts';
import type { Removals } from './removals.ts';

/** What a reaper works with. */
export interface ReaperParts {
  readonly registry: CellRegistry;
  readonly ports: PortLeases;
  readonly slots: Slots;
  readonly queue: TaskQueue;
  readonly jobData: JobData;
  /** The state folder, as the records name it. */
  readonly home: string;
  /** Takes over the folders that dead workers were about to remove; left out: these stay. */
  readonly removals?: Removals | undefined;
  /** Runs the failure hook of a dead cell's task in its workspace, after its processes ended; limits its own time. */
  readonly onFailure?: ((record: CellRecord) => Promise<void>) | undefined;
}

/** One round of it. */
export interface ReapContext extends ReaperParts {
  /** Cells whose failure hook was run by this reaper, so that a cell that resists is not told of twice. */
  readonly hooksRun: Set<string>;
  readonly dryRun: boolean;
  readonly notes: ReapNotes;
}

export interface DeadCell {
  readonly record: CellRecord;
  readonly judgement: Judgement;
  /** Whether pid and start time of the record can name processes of ours: see `trustedServer`. */
  readonly server: ReapedCell['server'];
}

/** A step that hangs must not keep the others from running. */
const STEP_MS = 15_000;
/** A large workspace on a slow disk takes its time. */
const FOLDER_MS = 60_000;

/**
 * Gives the job of a dead worker's cell back; never throws. False when there is nothing to give. Its processes may
 * still live: whatever they do, the worker that could have committed it is dead.
 */
export async function giveJobBack(context: ReapContext, { record, judgement }: DeadCell): Promise<boolean> {
  if (judgement.workerLives) return false;
  try {
    return await within(STEP_MS, undefined, () => giveBack(context, record));
  } catch (error) {
    context.notes.faults.push({ kind: 'cell', name: record.cellId, step: 'job', message: messageOf(error) });
    return false;
  }
}

/** Reaps one cell; never throws. Its entry stays for the next round when something of it could not be removed. */
export async function reapCell(
  context: ReapContext,
  { record, judgement, server }: DeadCell,
  jobGivenBack: boolean,
): Promise<void> {
  const { registry, home, notes, dryRun } = context;
  const { cellId } = record;
  const cell = { cellId, home, server };
  const removed: string[] = [];
  const before = notes.faults.length;
  const step = async (name: string, work: () => Promise<string[]>, limitMs: number | null = STEP_MS) => {
    try {
      removed.push(...(limitMs === null ? await work() : await within(limitMs, undefined, work)));
      return true;
    } catch (error) {
      notes.faults.push({ kind: 'cell', name: cellId, step: name, message: messageOf(error) });
      return false;
    }
  };

  let clean = await step('processes', async () => processes(cell, dryRun));
  // Abandoned: its attempt came to an orderly end, with all its hooks.
  if (!dryRun && !record.abandoned && context.onFailure !== undefined && !context.hooksRun.has(cellId)) {
    context.hooksRun.add(cellId);
    await step('onFailure hook', () => hook(context, record), null);
    clean = (await step('processes of the hook', async () => processes(cell, dryRun))) && clean;
  }
  clean = (await step('control group', () => group(record, home, dryRun))) && clean;
  clean = (await step('worktree', () => worktree(record, dryRun))) && clean;
  clean = (await step('folder', () => folder(join(home, 'cells', cellId), dryRun), FOLDER_MS)) && clean;
  clean = (await step('base pin', () => pin(home, record, dryRun))) && clean;
  clean = (await step('port', () => leases(context.ports, cellId, dryRun))) && clean;
  if (clean) {
    clean = await step('registry entry', async () => {
      if (!dryRun) await registry.erase(cellId);
      return ['registry entry'];
    });
  }
  // Last of all: as long as anything of it is there, the cell counts.
  if (clean && !dryRun && !judgement.workerLives) {
    await step('slot', () => releaseSlotOf(context.slots, record));
  }
  if (clean) context.hooksRun.delete(cellId);
  else notes.left.push({ kind: 'cell', name: cellId, why: stays(notes.faults.slice(before).map(one => one.step)) });
  if (removed.length > 0 || jobGivenBack) {
    const { taskId } = record;
    notes.reaped.push({ kind: 'cell', name: cellId, taskId, why: judgement.why, removed, jobGivenBack });
  }
}

const stays = (steps: readonly string[]) => `its entry stays until all of it is gone; not yet: ${steps.join(', ')}`;

async function processes(cell: ReapedCell, dryRun: boolean): Promise<string[]> {
  const count = dryRun ? (await findCellProcesses(cell)).entries.length : await killCellProcesses(cell);
  return count === 0 ? [] : [`${count} process${count === 1 ? '' : 'es'}`];
}

/** The paths come from a record, so they count only where the group of this very cell would be. */
async function group({ groups = [], cellId }: CellRecord, home: string, dryRun: boolean): Promise<string[]> {
  const ours: string[] = [];
  for (const folder of groups) if (await isGroupOf(folder, home, cellId)) ours.push(folder);
  // With whatever is left in it: there is no other way out of a group than its end.
  if (!dryRun) await removeGroup(ours);
  return ours.length === 0 ? [] : ['control group'];
}

async function hook({ onFailure }: ReapContext, record: CellRecord): Promise<string[]> {
  await onFailure?.(record);
  return [];
}

/** The git folder comes from a record, but what is removed there has the name of this very cell. */
async function worktree({ worktree: gitDir, cellId }: CellRecord, dryRun: boolean): Promise<string[]> {
  if (gitDir === undefined) return [];
  return (await removeRegistration(gitDir, cellId, dryRun)) ? ['worktree'] : [];
}

async function folder(path: string, dryRun: boolean): Promise<string[]> {
  const isThere = await exists(path);
  if (isThere && !dryRun) await removeWorkspace(path);
  return isThere ? ['folder'] : [];
}

/** The path comes from a record, so it counts only when it is one that `openMirror` makes below this state folder. */
export function isMirrorOf(home: string, path: string): boolean {
  return dirname(path) === join(home, 'mirrors') && /^[0-9a-f]{24}$/.test(basename(path));
}

async function pin(home: string, { mirror, cellId }: CellRecord, dryRun: boolean): Promise<string[]> {
  if (!isMirrorOf(home, mirror)) return [];
  return removePin(mirror, cellId, dryRun);
}

/** Removes a cell's pin in a mirror, with the lock that a git killed in the middle of it has left. */
export async function removePin(mirror: string, cellId: string, dryRun: boolean): Promise<string[]> {
  const ref = join(mirror, 'refs', 'cells', cellId);
  const [isSet, isLocked] = await Promise.all([exists(ref), exists(`${ref}.lock`)]);
  if (!dryRun && isLocked) await rm(`${ref}.lock`, { force: true });
  if (!dryRun && isSet) await unpin({ path: mirror }, cellId);
  return isSet || isLocked ? ['base pin'] : [];
}

/** All leases of the cell: ioredis may have sent an acquire twice. */
async function leases(ports: PortLeases, cellId: string, dryRun: boolean): Promise<string[]> {
  const removed: string[] = [];
  for (const lease of (await ports.held()).filter(({ owner }) => owner === cellId)) {
    if (dryRun || (await ports.release(lease))) removed.push(`port ${lease.port}`);
  }
  return removed;
}

/** Longer than moving a job takes. */
const TAKE_OVER_MS = 5_000;
/** A lock of this value is no lock to BullMQ: it would take the job from whoever has it. */
const NO_LOCK = '0';

/** Puts the job back in line while it is still ours by its lock; false when it is not, which is no fault. */
async function giveBack(
  { queue, jobData, dryRun }: ReapContext,
  { cellId, taskId, job }: CellRecord,
): Promise<boolean> {
  if (taskId === null || job === null || job.token === '' || job.token === NO_LOCK) return false;
  // The cell's id was checked, and holds the task's unless it was made ahead; anything else is no record that we wrote.
  if ((taskNamedBy(cellId) ?? taskId) !== taskId || taskIdFault(taskId) !== null) return false;
  const found = await Job.fromId(queue, jobIdOf(taskId));
  if (found === undefined || found.timestamp !== job.enqueuedAt) return false;
  if ((await found.getState()) !== 'active') return false;
  if (dryRun) return true;
  // A lock that has run out keeps BullMQ from moving the job, and perhaps there is no worker to find it.
  await jobData.takeOver(taskId, job.token, TAKE_OVER_MS);
  try {
    await backToLine(queue, found, job.token);
    return true;
  } catch (error) {
    if (isRefusal(error)) return false;
    throw error;
  }
}

/** BullMQ's own codes are negative numbers: the lock ran out, is another's, or the job is gone. */
function isRefusal(error: unknown): boolean {
  return error instanceof Error && 'code' in error && typeof error.code === 'number' && error.code < 0;
}

export function exists(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return false;
      throw error;
    },
  );
}

/** Milliseconds since something was last changed; null when it is gone. */
export async function ageOf(path: string): Promise<number | null> {
  const found = await stat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    throw error;
  });
  return found === null ? null : Date.now() - found.mtimeMs;
}
