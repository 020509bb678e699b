/** Teardown: the server with all it started, the workspace, then the port. Each step runs whatever the others did. */
import type { LifecycleMetrics } from '../job/outcome.ts';
import type { Cell } from './cell.ts';

/** Never throws; what could not be removed is logged. Returns the times of the whole life in milliseconds. */
export async function teardown(cell: Cell): Promise<LifecycleMetrics> {
  const began = performance.now();
  const faults = await cell.cleanup.run();
  const ended = performance.now();
  const metrics = {
    spawnMs: cell.spawnMs,
    executionMs: cell.executionMs,
    teardownMs: Math.round(ended - began),
    totalMs: Math.round(ended - cell.began),
  };
  if (faults.length > 0) cell.log.error({ faults }, 'the cell could not be removed in full');
  cell.log.info(metrics, 'cell torn down');
  return metrics;
}
