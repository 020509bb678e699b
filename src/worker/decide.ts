/** Decide: what becomes of a job after an attempt. Pure. */
import { isRetryable } from '../errors.ts';
import { type AttemptResult, endedWell } from '../job/outcome.ts';

export type Decision = 'done' | 'retry' | 'give-up' | 'hand-back';

/**
 * | the attempt | decision |
 * |---|---|
 * | committed, no-changes | done |
 * | the worker stops (`stopping`) and the attempt was cancelled by it | hand-back: uncounted, another worker takes it |
 * | cancelled, over-budget, or an error that a new attempt cannot mend | give-up |
 * | anything else, attempts left | retry, after the job's back-off |
 * | anything else, none left | give-up |
 */
export function decide(
  result: Pick<AttemptResult, 'outcome' | 'attempt' | 'error'>,
  limits: { attempts: number; stopping: boolean },
): Decision {
  const { outcome, attempt, error } = result;
  if (endedWell(outcome)) return 'done';
  if (outcome === 'cancelled') return limits.stopping ? 'hand-back' : 'give-up';
  if (outcome === 'over-budget' || !mendable(error)) return 'give-up';
  return attempt < limits.attempts ? 'retry' : 'give-up';
}

function mendable(error: AttemptResult['error']): boolean {
  return error === null || isRetryable(error.code);
}
