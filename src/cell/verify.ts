/** Setup and test: commands of the operator, run by the worker in the workspace and believed by their exit code. */
import { CellpoolError } from '../errors.ts';
import type { TestsVerdict } from '../job/outcome.ts';
import { ARTIFACTS } from '../observe/artifacts.ts';
import type { CommandResult } from '../os/command.ts';
import { isDiskFull } from '../os/disk.ts';
import type { Cell } from './cell.ts';
import { placeIn, runWatched } from './command-place.ts';
import { outOfMemory } from './out-of-memory.ts';
import { cachesOf } from './own-tools.ts';
import { markSetupDone, type Snapshot, snapshot } from './settle.ts';
import type { SpawnerSite } from './spawner-site.ts';

export interface TestResult extends TestsVerdict {
  /** The end of what the command printed. */
  tail: string;
  timedOut: boolean;
  /** Why the tests failed, when a process of theirs was killed for want of memory. */
  outOfMemory: CellpoolError | null;
}

/** Runs the setup command, if there is one. @throws {CellpoolError} SETUP_FAILED, DISK_LIMIT, CANCELLED */
export async function setUp(site: SpawnerSite, cell: Cell, signal?: AbortSignal): Promise<void> {
  const { setup, limits } = cell.config;
  if (setup === undefined) return;
  const timeoutMs = limits.setupMs ?? site.setupMs;
  const result = await inCell(site, cell, setup, { log: ARTIFACTS.setupLog, timeoutMs, signal });
  if (signal?.aborted) throw new CellpoolError('CANCELLED', 'cancelled during the setup command');
  if (result.exitCode !== 0) {
    const how = result.timedOut ? `was not done after ${timeoutMs} ms` : `ended with code ${result.exitCode}`;
    throw new CellpoolError('SETUP_FAILED', `the setup command ${how}: ${result.tail.trim().slice(-1_000)}`, {
      facts: { exitCode: result.exitCode, timedOut: result.timedOut },
      // A full disk shows first in the log that could not be written.
      ...(result.logProblem === null ? {} : { cause: result.logProblem }),
    });
  }
  if (cell.config.caches === 'shared') await cachesOf(site).take(cell.folders.home, cell.log, signal);
  const leftOut = await markSetupDone(cell.workspace);
  cell.log.info({ leftOut: leftOut.slice(0, 50) }, 'setup done');
}

/**
 * Runs the test command on the work as it is now, and keeps a snapshot of it: what is committed later is exactly what
 * was judged, without the files that the tests themselves left behind.
 * @throws {CellpoolError} INVALID_INPUT when the cell has no test command, DISK_FULL, DISK_LIMIT, CANCELLED
 */
export async function runTests(site: SpawnerSite, cell: Cell, signal?: AbortSignal): Promise<TestResult> {
  return testWork(site, cell, demandTest(cell), await snapshot(cell.workspace), signal);
}

/**
 * The same where there is work to judge, which is looked at once: null without a change. `begins` is called when
 * there is one, before the command runs. @throws as `runTests`
 */
export async function runTestsOfChanges(
  site: SpawnerSite,
  cell: Cell,
  begins: () => void,
  signal?: AbortSignal,
): Promise<TestResult | null> {
  const test = demandTest(cell);
  const work = await snapshot(cell.workspace);
  // Nothing that comes up later is committed, since nobody has judged that.
  cell.snapshot = work;
  if (!work.changed) return null;
  begins();
  return testWork(site, cell, test, work, signal);
}

function demandTest({ config }: Cell): string {
  if (config.test !== undefined) return config.test;
  throw new CellpoolError('INVALID_INPUT', `task ${config.taskId} has no test command`);
}

/** Nothing may happen in the workspace between the taking of `work` and this. */
async function testWork(
  site: SpawnerSite,
  cell: Cell,
  test: string,
  work: Snapshot,
  signal?: AbortSignal,
): Promise<TestResult> {
  const { limits } = cell.config;
  cell.snapshot = work;
  const timeoutMs = limits.testMs ?? site.testMs;
  const killsBefore = await cell.bounds.memoryKills();
  const result = await inCell(site, cell, test, { log: ARTIFACTS.testLog, timeoutMs, signal });
  if (signal?.aborted) throw new CellpoolError('CANCELLED', 'cancelled during the tests');
  const { exitCode, durationMs, timedOut, logProblem } = result;
  if (exitCode !== 0 && isDiskFull(logProblem)) {
    // No verdict on the work: the tests may have failed for want of space.
    throw new CellpoolError('DISK_FULL', `the disk was full during the tests: ${result.tail.trim().slice(-1_000)}`);
  }
  cell.log.info({ exitCode, durationMs, timedOut }, 'tests ended');
  const passed = exitCode === 0;
  const lackedMemory = passed ? null : await outOfMemory(cell, killsBefore);
  return { passed, exitCode, durationMs, timedOut, tail: result.tail, outOfMemory: lackedMemory };
}

/** @throws {CellpoolError} DISK_LIMIT when the cell outgrew its limit meanwhile */
function inCell(
  site: SpawnerSite,
  cell: Cell,
  command: string,
  options: { log: string; timeoutMs: number; signal?: AbortSignal | undefined },
): Promise<CommandResult> {
  const how = { ...options, ids: cell.config, passed: site.env.commands };
  return runWatched(placeIn(site, cell), cell.disk, command, how);
}
