/** Teardown: the server with all it started, the workspace, then the port. Each step runs whatever the others did. */
import { messageOf } from '../errors.ts';
import type { LifecycleMetrics } from '../job/outcome.ts';
import { within } from '../os/within.ts';
import type { Cell } from './cell.ts';

/** Never throws; what could not be removed is logged, and left to the reaper. Returns the times in milliseconds. */
export async function teardown(cell: Cell): Promise<LifecycleMetrics> {
  const began = performance.now();
  cell.registry?.stage(cell.id, 'teardown');
  await removeAll(cell);
  const ended = performance.now();
  const metrics = {
    spawnMs: cell.spawnMs,
    executionMs: cell.executionMs,
    teardownMs: Math.round(ended - began),
    totalMs: Math.round(ended - cell.began),
  };
  cell.log.info(metrics, 'cell torn down');
  return metrics;
}

/** Redis may be away; its entry is then taken out when it is back, by us or by the reaper. */
const REGISTRY_MS = 5_000;

/** Undoes all that was done for the cell, and takes it out of the registry when nothing of it is left. */
export async function removeAll({ id, cleanup, registry, log }: Pick<Cell, 'id' | 'cleanup' | 'registry' | 'log'>) {
  const faults = await cleanup.run();
  if (faults.length > 0) log.error({ faults }, 'the cell could not be removed in full');
  try {
    await within(REGISTRY_MS, undefined, async () => (faults.length > 0 ? registry?.abandon(id) : registry?.erase(id)));
  } catch (error) {
    log.warn({ problem: messageOf(error) }, 'the cell still stands in the registry');
  }
}
