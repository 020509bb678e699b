/** How a job leaves our hands: ended, to be tried again, or back on the queue as if it had never been taken. */
import { DelayedError, UnrecoverableError, WaitingError } from 'bullmq';
import { messageOf } from '../errors.ts';
import { backToLine } from '../job/back-to-line.ts';
import type { TaskJob } from '../job/job.ts';
import type { AttemptResult, Outcome } from '../job/outcome.ts';
import type { Decision } from './decide.ts';
import { type HeldJob, REASONS } from './held-job.ts';
import { offerLanding } from './offer-landing.ts';
import { countAttempt } from './tally-report.ts';

/** An attempt that did not end well; another follows after `afterMs` milliseconds. */
export class RetryAfter extends Error {
  override readonly name = 'RetryAfter';
  readonly afterMs: number;

  constructor(message: string, afterMs: number) {
    super(message);
    this.afterMs = afterMs;
  }
}

/** Whether `error` tells BullMQ on purpose what becomes of a job. */
export function isVerdict(error: unknown): boolean {
  return [RetryAfter, UnrecoverableError, WaitingError, DelayedError].some(verdict => error instanceof verdict);
}

/** Does what was decided. Returns the result of a job that is done, and throws what BullMQ understands otherwise. */
export async function conclude(held: HeldJob, result: AttemptResult, decision: Decision): Promise<AttemptResult> {
  const { context, attempt } = held;
  const reason = result.error?.message ?? 'no reason given';
  if (decision.next === 'requeue') {
    if (result.outcome === 'cancelled') context.onHandedBack();
    const why = result.outcome === 'cancelled' ? REASONS.stopping : reason;
    return requeue(held, decision.afterMs, { reason: why, code: result.error?.code ?? '' });
  }
  const { waits: _, ...data } = held.data;
  const kept = decision.next === 'give-up' ? withReason(result, decision.why) : result;
  const outcome = decision.next === 'retry' ? '' : kept.outcome;
  await setDown(held, { ...data, results: [...withoutLost(data, attempt), kept] }, outcome);
  // Not waited for. The tally is in one command, so that what BullMQ is told next goes to Redis behind it, on the same
  // connection. A line of the log may come behind that, or never where the worker dies: it is news.
  void note(held, `${kept.outcome}${kept.error === null ? '' : `: ${kept.error.message}`}`);
  void countAttempt(held, kept);
  tell(held, kept);
  if (decision.next === 'done') {
    await offerLanding(held, kept);
    return kept;
  }
  const why = `${result.outcome}: ${reason}`;
  throw decision.next === 'retry' ? new RetryAfter(why, decision.afterMs) : new UnrecoverableError(why);
}

/**
 * Writes what the job came to, and only then says that its attempt has ended: whoever finds the job after we died in
 * between must see the one or the other, or it would work again what is committed.
 */
async function setDown({ context, token, begun }: HeldJob, data: TaskJob, outcome: Outcome | '' = ''): Promise<void> {
  const { id: taskId } = data.task;
  if (begun === null) await context.jobData.write(taskId, token, data, outcome);
  else await context.attempts.end({ taskId, token, data, outcome, begun });
}

/** A line in the job's log is news: that it cannot be written must not make a failure of what was done. */
async function note({ context, job, attempt }: HeldJob, what: string): Promise<void> {
  await job.log(`attempt ${attempt}: ${what}`).catch(error => {
    context.log.warn({ problem: messageOf(error) }, 'the log of the job could not be written');
  });
}

function tell({ context }: HeldJob, result: AttemptResult): void {
  try {
    context.onResult(result);
  } catch (error) {
    context.log.warn({ problem: messageOf(error) }, 'the listener to results failed');
  }
}

/** Up to this part of a wait is added at random, so that jobs that were put back together do not come together. */
const SPREAD = 0.2;

/** Why a job is put back: in words, and by the code that tells one lack from another. */
export interface Wait {
  reason: string;
  code: string;
}

/**
 * Puts the job back on the queue without counting the attempt. With a `wait` the job's data says why and since when
 * it waits. Fails when the job's lock is no longer ours, which leaves the job to whoever has it.
 */
export async function requeue(held: HeldJob, afterMs: number, wait: Wait | null): Promise<never> {
  const { context, job, token, data } = held;
  if (wait !== null) {
    // Patience with one lack is not used up by another that came before.
    const since = data.waits?.code === wait.code ? data.waits.since : Date.now();
    await setDown(held, { ...data, ...(afterMs > 0 ? { waits: { ...wait, since } } : {}) });
    await note(held, `put back uncounted: ${wait.reason}`);
  } else if (held.begun !== null) {
    await setDown(held, data);
  }
  if (afterMs > 0) {
    await job.moveToDelayed(Date.now() + Math.round(afterMs * (1 + Math.random() * SPREAD)), token);
    throw new DelayedError();
  }
  await backToLine(context.queue, job, token);
  throw new WaitingError();
}

/** The attempt may have been begun before, by a worker that died between writing its result and telling BullMQ. */
function withoutLost({ results, kept = 0 }: TaskJob, attempt: number): readonly AttemptResult[] {
  return results.length > kept && results.at(-1)?.attempt === attempt ? results.slice(0, -1) : results;
}

function withReason(result: AttemptResult, why: string | null): AttemptResult {
  // Of an attempt that was refused for that very reason it is said already.
  if (why === null || result.error === null || result.error.message === why) return result;
  return { ...result, error: { ...result.error, message: `${result.error.message}; given up: ${why}` } };
}
