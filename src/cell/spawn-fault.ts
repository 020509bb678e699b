/** How a spawn that failed is told: by the step at which it did. */
import { asCellpoolError, CellpoolError } from '../errors.ts';
import { namingFullDisk } from '../os/disk.ts';

export interface SpawnPlace {
  step: string;
  /** The folder where the server's log has been kept. */
  artifacts: string;
  cellId: string;
}

/** Once `signal` is aborted it is that, whatever else went wrong. */
export function spawnFault(where: SpawnPlace, error: unknown, signal: AbortSignal | undefined): CellpoolError {
  if (signal?.aborted) {
    return new CellpoolError('CANCELLED', `cancelled during spawn, at step "${where.step}"`, { facts: { ...where } });
  }
  const known = namingFullDisk(asCellpoolError(error));
  const code = known.code === 'INTERNAL' ? 'SPAWN_FAILED' : known.code;
  return new CellpoolError(code, `spawn failed at step "${where.step}": ${known.message}`, {
    ...(known.hint === undefined ? {} : { hint: known.hint }),
    facts: { ...known.facts, ...where },
    cause: error,
  });
}
