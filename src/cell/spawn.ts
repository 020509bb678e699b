/** Spawn: a cell for one attempt, one that was made ahead where there is such, else one that is made now. */
import { randomBytes } from 'node:crypto';
import { mkdir, rmdir } from 'node:fs/promises';
import { messageOf } from '../errors.ts';
import { branchOf } from '../job/names.ts';
import { artifactFolder } from '../observe/artifacts.ts';
import type { Cell, PreparedCell } from './cell.ts';
import { kindOf } from './cell-kind.ts';
import { giveTask } from './give-task.ts';
import { type CellParts, prepareCell } from './prepare.ts';
import type { RecordedTask } from './registration.ts';
import type { Shelf } from './shelf.ts';
import type { CheckedSpawnConfig } from './spawn-config.ts';
import { spawnFault } from './spawn-fault.ts';
import { branchBefore } from './task-branch.ts';
import { removeAll } from './teardown.ts';
import { UsageCounter } from './watch.ts';

export interface SpawnContext extends CellParts {
  /** Cells made ahead. */
  shelf: Shelf;
}

interface Wanted {
  config: CheckedSpawnConfig;
  task: RecordedTask & { taskId: string };
  /** Where a commit goes. */
  branch: string;
}

/** @throws {CellpoolError} whose facts name the `step` that failed; nothing of the cell is left then. */
export async function spawnCell(
  context: SpawnContext,
  config: CheckedSpawnConfig,
  signal?: AbortSignal,
): Promise<Cell> {
  const began = performance.now();
  const { taskId, attempt } = config;
  const wanted = { config, task: { taskId, attempt, job: config.job ?? null }, branch: branchOf(taskId) };
  const id = `${taskId}.${randomBytes(4).toString('hex')}`;
  const before = await lookAtBranch(context, id, wanted, signal);
  const ahead = await takeAhead(context, id, wanted, signal);
  // It is empty, and nobody's; should it stay, that is no reason to lose a cell.
  if (ahead !== null) await rmdir(ownFolder(context, id, wanted)).catch(() => undefined);
  const cell = ahead ?? (await makeNow(context, id, wanted, signal));
  const spawnMs = Math.round(performance.now() - began);
  const { pid } = cell.server.process;
  cell.log.info({ port: cell.port.lease.port, server: pid, ahead: ahead !== null, spawnMs }, 'cell spawned');
  return {
    ...cell,
    config,
    branch: wanted.branch,
    branchBefore: before,
    began,
    spawnMs,
    usage: new UsageCounter(),
    executionMs: 0,
    tokensUsed: 0,
    costUsd: 0,
    snapshot: null,
  };
}

/** Before anything is made or taken: what is wrong with the branch is wrong with the task. */
async function lookAtBranch(
  context: SpawnContext,
  cellId: string,
  wanted: Wanted,
  signal: AbortSignal | undefined,
): Promise<string | null> {
  const artifacts = ownFolder(context, cellId, wanted);
  let step = 'artifact folder';
  try {
    await mkdir(artifacts, { recursive: true, mode: 0o700 });
    step = 'workspace';
    return await branchBefore(context.site.source, wanted.branch, wanted.task.taskId, signal);
  } catch (error) {
    throw spawnFault({ step, artifacts, cellId }, error, signal);
  }
}

async function makeNow(
  context: SpawnContext,
  id: string,
  wanted: Wanted,
  signal: AbortSignal | undefined,
): Promise<PreparedCell> {
  const { site } = context;
  const { config, task, branch } = wanted;
  const artifacts = ownFolder(context, id, wanted);
  const log = site.log.child({ task: task.taskId, attempt: task.attempt, cell: id });
  return prepareCell(context, { id, kind: kindOf(config), task, branch, artifacts, log }, signal);
}

/**
 * null when there is none that can be had: whatever is wrong with one, a cell that is made now may do without. One that
 * was taken and is of no use is removed.
 */
async function takeAhead(
  context: SpawnContext,
  id: string,
  wanted: Wanted,
  signal: AbortSignal | undefined,
): Promise<PreparedCell | null> {
  const { site, shelf } = context;
  const { config, task, branch } = wanted;
  for (let cell = shelf.take(kindOf(config)); cell !== null; cell = shelf.take(kindOf(config))) {
    const given = { task, branch, artifacts: ownFolder(context, cell.id, wanted) };
    let problem: string | undefined;
    const ready = await giveTask(site, cell, given, signal).catch(error => {
      problem = messageOf(error);
      return null;
    });
    if (ready !== null) return ready;
    await removeAll(cell);
    const own = ownFolder(context, id, wanted);
    if (signal?.aborted) throw spawnFault({ step: 'workspace', artifacts: own, cellId: id }, signal.reason, signal);
    site.log.info({ cell: cell.id, task: task.taskId, problem }, 'a cell that was made ahead could not be used');
  }
  return null;
}

/** What outlives the cell. */
function ownFolder({ site }: SpawnContext, cellId: string, { task: { taskId, attempt } }: Wanted): string {
  return artifactFolder(site.home, taskId, `${attempt}-${cellId.slice(-8)}`);
}
