/** Decide: what becomes of a job after an attempt. Pure. */
import { isRetryable } from '../errors.ts';
import { type AttemptResult, endedWell } from '../job/outcome.ts';
import { backoffMs } from '../job/queue.ts';

export type Decision =
  | { next: 'done' }
  | { next: 'retry'; afterMs: number }
  /** Back on the queue without having used up an attempt. */
  | { next: 'requeue'; afterMs: number }
  | { next: 'give-up'; why: string | null };

export interface Situation {
  /** Attempts of the task, the one that has just ended included in its own number. */
  attempts: number;
  /** What the task may still use over all further attempts. */
  left: { tokens: number; executionMs: number };
  /** Who it was that ended a cancelled attempt; of others it says nothing. */
  cancelledBy: 'person' | 'worker';
  /** Whether going over the budget of one attempt is worth another one. */
  retryOverBudget: boolean;
  /** Milliseconds until the provider may be asked again, or until a lack or a budget is looked at again. */
  waitMs: number;
  /** Milliseconds for which the job has waited, uncounted, for what was lacking. */
  waitedMs: number;
  /** Numbers from 0 up to 1, for the jitter of the back-off. */
  random?: () => number;
}

export type JudgedResult = Pick<AttemptResult, 'outcome' | 'attempt' | 'error' | 'metrics'>;

/** How long a job waits for what its worker lacks, and for a provider that refuses the key, before it is given up. */
export const LACKING_MAX_MS = 3_600_000;
export const REFUSED_MAX_MS = 24 * LACKING_MAX_MS;

/** How long a job waits before a worker looks again for what was missing. */
export const LACKING_MS = 60_000;

/** The worker's faults, or those of its host: another try here or elsewhere will go better, whatever the task is. */
export const LACKING: ReadonlySet<string> = new Set([
  'NOT_A_REPOSITORY',
  'REMOTE_UNREACHABLE',
  'REMOTE_REFUSED',
  'OPENCODE_MISSING',
  'GIT_MISSING',
  'STATE_FOLDER',
]);

/** What is waited for as long as it takes: the task has no part in it. */
const ENDLESS: ReadonlySet<string> = new Set(['PROVIDER_BUSY', 'BUDGET_USED_UP', 'FENCED', 'LEASE_LOST']);

/**
 * The first row that fits counts.
 *
 * | the attempt | decision |
 * |---|---|
 * | committed, no-changes | done |
 * | cancelled, because the worker stops | requeue at once |
 * | cancelled by a person | give up |
 * | PROVIDER_BUSY: rate limit, overload, 5xx | requeue when the provider's cool-down is over |
 * | PROVIDER_REFUSED: 401, 403 | requeue when the provider is asked again; after a day of that give up |
 * | BUDGET_USED_UP: of the day or of the fleet | requeue when the day is over, or somebody may have raised it |
 * | FENCED, LEASE_LOST: Redis does not know the attempt as ours any more | requeue at once |
 * | the worker lacks repository, opencode, git or state folder | requeue after a while; after an hour of that give up |
 * | REMOTE_UNREACHABLE, REMOTE_REFUSED: its repository's server does not answer, or not to this worker | the same |
 * | DISK_FULL before the agent was asked anything | the same |
 * | over-budget | give up, unless the repository wants it tried again |
 * | an error that no new attempt mends: invalid task, unknown base, model or URL, a dependency that failed, a branch of its name that is somebody else's, ... | give up |
 * | the task's tokens or time over all attempts are used up | give up |
 * | the task's attempts are used up | give up |
 * | OUT_OF_MEMORY, DISK_LIMIT: more than a cell may use | retry after a back-off: it counts, an agent may do better |
 * | anything else: tests failed, spawn failed, server exited, stalled, timed out, disk full, ... | retry after a back-off |
 *
 * The back-off grows exponentially, has jitter and a cap (`backoffMs`).
 */
export function decide(result: JudgedResult, situation: Situation): Decision {
  const { outcome, attempt, error } = result;
  const code = error?.code ?? null;
  if (endedWell(outcome)) return { next: 'done' };
  if (outcome === 'cancelled') {
    return situation.cancelledBy === 'worker' ? { next: 'requeue', afterMs: 0 } : giveUp(null);
  }
  const patience = patienceMs(code, result.metrics.executionMs);
  if (patience > situation.waitedMs) return { next: 'requeue', afterMs: situation.waitMs };
  if (patience > 0) return giveUp(`after ${Math.round(situation.waitedMs / 60_000)} minutes of waiting`);
  if (outcome === 'over-budget' ? !situation.retryOverBudget : code !== null && !isRetryable(code)) return giveUp(null);
  if (situation.left.tokens <= 0) return giveUp('the tokens of the whole task are used up');
  if (situation.left.executionMs <= 0) return giveUp('the time of the whole task is used up');
  if (attempt >= situation.attempts) return giveUp(null);
  return { next: 'retry', afterMs: backoffMs(attempt, situation.random) };
}

/** How long a job may wait, uncounted, when its attempt ended with this error; 0: the attempt counts. */
function patienceMs(code: string | null, executionMs: number): number {
  if (code === 'DISK_FULL' && executionMs === 0) return LACKING_MAX_MS;
  if (code !== null && ENDLESS.has(code)) return Number.POSITIVE_INFINITY;
  if (code === 'PROVIDER_REFUSED') return REFUSED_MAX_MS;
  return code !== null && LACKING.has(code) ? LACKING_MAX_MS : 0;
}

function giveUp(why: string | null): Decision {
  return { next: 'give-up', why };
}
