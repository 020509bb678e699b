/** How a job leaves our hands: ended, to be tried again, or back on the queue as if it had never been taken. */
import { DelayedError, UnrecoverableError, WaitingError } from 'bullmq';
import type { TaskJob } from '../job/job.ts';
import type { AttemptResult } from '../job/outcome.ts';
import type { Decision } from './decide.ts';
import { type HeldJob, REASONS } from './held-job.ts';

/** An attempt that did not end well; another follows after `afterMs` milliseconds. */
export class RetryAfter extends Error {
  override readonly name = 'RetryAfter';
  readonly afterMs: number;

  constructor(message: string, afterMs: number) {
    super(message);
    this.afterMs = afterMs;
  }
}

/** Does what was decided. Returns the result of a job that is done, and throws what BullMQ understands otherwise. */
export async function conclude(held: HeldJob, result: AttemptResult, decision: Decision): Promise<AttemptResult> {
  const { context, job, token, attempt } = held;
  const reason = result.error?.message ?? 'no reason given';
  if (decision.next === 'requeue') {
    if (result.outcome === 'cancelled') context.onHandedBack();
    const why = result.outcome === 'cancelled' ? REASONS.stopping : reason;
    return requeue(held, decision.afterMs, why);
  }
  const { waits: _, ...data } = held.data;
  const kept = decision.next === 'give-up' ? withReason(result, decision.why) : result;
  const results = [...withoutLost(data.results, attempt), kept];
  await context.jobData.write(data.task.id, token, { ...data, results } satisfies TaskJob);
  await job.log(`attempt ${attempt}: ${kept.outcome}${kept.error === null ? '' : `: ${kept.error.message}`}`);
  context.onResult(kept);
  if (decision.next === 'done') return kept;
  const why = `${result.outcome}: ${reason}`;
  throw decision.next === 'retry' ? new RetryAfter(why, decision.afterMs) : new UnrecoverableError(why);
}

/** Up to this part of a wait is added at random, so that jobs that were put back together do not come together. */
const SPREAD = 0.2;

/**
 * Puts the job back on the queue without counting the attempt. With a `reason` the job's data says why and since
 * when it waits. Fails when the job's lock is no longer ours, which leaves the job to whoever has it.
 */
export async function requeue(held: HeldJob, afterMs: number, reason: string | null): Promise<never> {
  const { context, job, token, data, attempt } = held;
  if (reason !== null) {
    const since = data.waits?.since ?? Date.now();
    const waits = afterMs > 0 ? { waits: { reason, since } } : {};
    await context.jobData.write(data.task.id, token, { ...data, ...waits } satisfies TaskJob);
    await job.log(`attempt ${attempt}: put back uncounted: ${reason}`);
  }
  if (afterMs > 0) {
    await job.moveToDelayed(Date.now() + Math.round(afterMs * (1 + Math.random() * SPREAD)), token);
    throw new DelayedError();
  }
  await job.moveToWait(token);
  throw new WaitingError();
}

/** The attempt may have been begun before, by a worker that died between writing its result and telling BullMQ. */
function withoutLost(results: readonly AttemptResult[], attempt: number): readonly AttemptResult[] {
  return results.at(-1)?.attempt === attempt ? results.slice(0, -1) : results;
}

function withReason(result: AttemptResult, why: string | null): AttemptResult {
  if (why === null || result.error === null) return result;
  return { ...result, error: { ...result.error, message: `${result.error.message}; given up: ${why}` } };
}
