/** How a spawn that failed is told: by the step at which it did. */
import { asCellpoolError, CellpoolError } from '../errors.ts';
import { namingFullDisk } from '../os/disk.ts';

/** `artifacts` is the folder where the server's log has been kept. */
export function atStep(where: { step: string; artifacts: string; cellId: string }, error: unknown): CellpoolError {
  const known = namingFullDisk(asCellpoolError(error));
  const code = known.code === 'INTERNAL' ? 'SPAWN_FAILED' : known.code;
  return new CellpoolError(code, `spawn failed at step "${where.step}": ${known.message}`, {
    ...(known.hint === undefined ? {} : { hint: known.hint }),
    facts: { ...known.facts, ...where },
    cause: error,
  });
}
