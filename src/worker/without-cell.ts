/** An attempt that is over before a cell was begun for it: all that is run of it is its `onFailure` hook. */
import { randomBytes } from 'node:crypto';
import { CellpoolError, messageOf } from '../errors.ts';
import { type AttemptResult, type Outcome, resultWithoutCell } from '../job/outcome.ts';
import { ARTIFACTS, makeArtifactFolder, writeArtifact } from '../observe/artifacts.ts';
import type { HeldJob } from './held-job.ts';
import { spawnConfigOf } from './run-attempt.ts';
import type { PooledSpawner } from './spawner-pool.ts';

/** Why no cell is begun for a job, and what its attempt has come to by that. */
export interface Refusal {
  outcome: Outcome;
  error: CellpoolError;
}

export function refusedResult({ data, attempt }: HeldJob, { outcome, error }: Refusal): AttemptResult {
  return resultWithoutCell(data.task.id, attempt, outcome, { code: error.code, message: error.message });
}

/**
 * Runs the task's `onFailure`, in an artifact folder of its own, and returns the result with that folder and with
 * what went wrong with the hook. Never throws: the result stands whatever the hook does.
 */
export async function failWithoutCell(
  held: HeldJob,
  { spawner, site }: PooledSpawner,
  refusal: Refusal,
): Promise<AttemptResult> {
  const { context, data, attempt } = held;
  const { id } = data.task;
  const result = refusedResult(held, refusal);
  const callback = context.hooks.onFailure;
  if (data.plan.hooks?.onFailure === undefined && callback === undefined) return result;
  const name = randomBytes(4).toString('hex');
  // A disk that takes no folder keeps nobody from being told: without one the hook works in the system's own.
  const artifacts = await makeArtifactFolder(site.home, id, `${attempt}-${name}`).catch(() => '');
  const { code, message } = refusal.error;
  // The id is that of a cell that is never made: what the command leaves running is found by it.
  const error = new CellpoolError(code, message, { facts: { cellId: `${id}.${name}`, artifacts } });
  const { outcome } = refusal;
  const fault = await spawner.runSpawnFailureHook(spawnConfigOf(held), error, { outcome, error, callback }).then(
    () => null,
    (thrown: unknown) => messageOf(thrown),
  );
  const hookFaults = fault === null ? {} : { hookFaults: [{ hook: 'onFailure' as const, message: fault }] };
  const told = { ...result, ...hookFaults, artifacts };
  if (artifacts !== '') await writeArtifact(artifacts, ARTIFACTS.result, told).catch(() => undefined);
  return told;
}
