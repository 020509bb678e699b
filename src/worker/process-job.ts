/**
 * One job, one attempt: read it, see that it may begin, run its cell, decide, and tell BullMQ what becomes of it.
 * Whatever a job came to stands in its data before BullMQ hears of it, so that nothing is lost in between.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Job, UnrecoverableError, WaitingError } from 'bullmq';
import { asCellpoolError, CellpoolError, type ErrorCode, messageOf } from '../errors.ts';
import { lastOfRound, type TaskJob, taskJobSchema } from '../job/job.ts';
import { type AttemptResult, endedWell, type Outcome } from '../job/outcome.ts';
import { redactedResult } from '../job/redacted.ts';
import { isUrl } from '../job/repository.ts';
import type { Begun } from '../redis/fence.ts';
import { baseOf } from './base-branch.ts';
import { spentBudget } from './budget-report.ts';
import { decide, LACKING, LACKING_MS } from './decide.ts';
import { keepsWork, workAfter, workBefore } from './earlier-work.ts';
import { type BegunJob, type HeldJob, type JobContext, modelOf, REASONS } from './held-job.ts';
import { conclude, isVerdict, requeue } from './job-ending.ts';
import { offerLanding } from './offer-landing.ts';
import { setAside, standBack, waitForOthers } from './put-back.ts';
import { runAttempt } from './run-attempt.ts';
import type { PooledSpawner } from './spawner-pool.ts';
import { countAttempt } from './tally-report.ts';
import { leftOf, spentWith } from './totals.ts';
import { failWithoutCell, type Refusal, refusedResult } from './without-cell.ts';

/** So many attempts in a row that began and never ended: their workers died, and the task may be what kills them. */
const MAX_UNENDED = 10;
/** How long the remote of a job is waited for that is cancelled already. */
const LATE_MS = 5_000;
/** Before the next job, where one could not be ended. */
const LEFT_MS = 1_000;

/**
 * @throws what BullMQ understands, and nothing else: `RetryAfter`, `UnrecoverableError`, `WaitingError` or
 * `DelayedError`.
 */
export async function processJob(
  context: JobContext,
  job: Job,
  token: string,
  signal: AbortSignal,
): Promise<AttemptResult> {
  const log = context.log.child({ task: job.id, attempt: job.attemptsMade + 1 });
  try {
    return await work({ ...context, log }, job, token, signal);
  } catch (error) {
    if (isVerdict(error)) throw error;
    // Redis has refused something, or the lock is gone. To BullMQ any error is a failed attempt, and after the last
    // one the task would have failed for good, whatever stands on its branch. So the job is left like that of a worker
    // that died: its lock runs out, and whoever takes it then finds out how far it had come.
    log.warn({ problem: messageOf(error) }, 'the job could not be ended; it is left to its lock');
    // Not at once to the next one, which may fare no better: the whole queue would be gone through like that.
    await sleep(LEFT_MS);
    throw new WaitingError();
  }
}

async function work(context: JobContext, job: Job, token: string, signal: AbortSignal): Promise<AttemptResult> {
  const data = readData(job);
  const held: HeldJob = { context, job, token, data, attempt: job.attemptsMade + 1, begun: null };
  const known = doneBefore(held);
  if (known !== null) {
    await offerLanding(held, known);
    await countAttempt(held, known);
    return known;
  }
  const lacking = await context.labels.ask(data);
  if (lacking !== null) return setAside(held, lacking.afterMs, lacking.wait);
  const holdMs = context.holdMs();
  if (holdMs !== null) return requeue(held, holdMs, null);
  const answer = await context.dependencies.ask(data.task, data.waits);
  if (answer !== null && 'wait' in answer) return waitForOthers(held, answer.afterMs, answer.wait);
  const refusal: Refusal | null = answer === null ? null : { outcome: 'failed', error: answer.failed };
  const { begun, ended } = await inSlot(held, refusal, signal).finally(() => context.fleet.give(data.task.id));
  const { result: told, waitMs, unended } = ended;
  // What follows goes to Redis: the job's data, its log, and why it failed.
  const result = redactedResult(told, context.redactor);
  const after = { ...data, spent: spentWith(data, result) };
  // The job may be another worker's by now. If it is not, it goes back uncounted, with what was spent on it.
  if (signal.reason === REASONS.lockLost) {
    return requeue({ ...held, data: after }, 0, { reason: REASONS.lockLost, code: '' });
  }
  const decision = decide(result, {
    attempts: data.task.attempts,
    left: leftOf(after),
    // A worker that stops while it ends what a person has cancelled has nothing to hand back.
    cancelledBy: signal.reason === REASONS.stopping && !begun.cancelled ? 'worker' : 'person',
    retryOverBudget: data.plan.retryOverBudget === true,
    waitMs,
    // For something else than what is lacking now nobody has waited yet.
    waitedMs: data.waits !== undefined && data.waits.code === result.error?.code ? Date.now() - data.waits.since : 0,
  });
  return conclude({ ...held, data: after, begun: { ...begun, unended } }, result, decision);
}

/** All that is done for the attempt while it has a slot; what becomes of the job is told to Redis after that. */
async function inSlot(
  held: HeldJob,
  refusal: Refusal | null,
  signal: AbortSignal,
): Promise<{ begun: Begun; ended: Ended }> {
  const { context, job, data } = held;
  // A task that is to fail anyway waits for nothing.
  const begun =
    refusal === null
      ? await mayBegin(held)
      : await context.fence.begin({ taskId: data.task.id, enqueuedAt: job.timestamp });
  return { begun, ended: await attempt({ ...held, begun }, refusal, signal) };
}

/**
 * Begins the attempt, which has a slot then unless it is cancelled; throws when the job is put back, since budget, fleet
 * or provider say wait.
 */
async function mayBegin(held: HeldJob): Promise<Begun> {
  const { context, job, data, attempt } = held;
  const model = modelOf(data);
  const slot = { taskId: data.task.id, attempt, repository: data.repository };
  const { asked, taken } = await context.fleet.take(slot, (owner, hostCap) =>
    context.attempts.begin({ owner, hostCap, enqueuedAt: job.timestamp, model }),
  );
  const { budgets, turn, begun } = asked;
  if (begun?.cancelled === true) return begun;
  const back = { ...held, begun };
  const spent = spentBudget(context, budgets);
  if (spent !== null) return requeue(back, spent.waitMs, { reason: spent.reason, code: 'BUDGET_USED_UP' });
  if (taken !== null && taken !== 'granted') return standBack(back, taken);
  if (turn !== null && turn.waitMs > 0) {
    const reason = turn.reason ?? 'the provider is in a cool-down';
    const code = turn.kind === 'refused' ? 'PROVIDER_REFUSED' : 'PROVIDER_BUSY';
    return requeue(back, turn.waitMs, { reason, code });
  }
  if (begun === null) throw new CellpoolError('INTERNAL', 'Redis did not say whether it may begin');
  return begun;
}

interface Ended {
  result: AttemptResult;
  /** Milliseconds to wait should it be put back uncounted. */
  waitMs: number;
  /** Attempts whose workers died, and for whose commit nobody has looked yet. */
  unended: number;
}

/** Runs a cell for the job, unless there is a reason not to: `refused`, or what is found here. */
async function attempt(held: BegunJob, refused: Refusal | null, signal: AbortSignal): Promise<Ended> {
  const { context, data } = held;
  const { unended } = held.begun;
  const refusal = reasonNotTo(held, refused);
  let { base } = data.task;
  const { cancelled } = held.begun;
  // One that is cancelled already is looked at all the same, for what was done before; but a remote may be away.
  const late = signal.aborted || cancelled;
  const wanted = !isUrl(data.repository) ? undefined : late ? AbortSignal.timeout(LATE_MS) : signal;
  let looking = unended > 0;
  let spawner: PooledSpawner;
  try {
    spawner = await context.spawners.of(data.repository, wanted);
    const { source } = spawner.site;
    // What an attempt before this one may have committed counts whatever else there is to say.
    looking = unended > 0 || (!cancelled && (await keepsWork(held, source)));
    if (looking) {
      const publishing = !cancelled && !signal.aborted;
      const before = await workBefore(held, source, { publishing, signal: wanted });
      if (before !== null) return { result: before, waitMs: 0, unended: 0 };
    }
    if (refusal === null) base = await baseOf(held, source, wanted);
  } catch (thrown) {
    // A remote was waited for.
    if (wanted?.aborted && thrown === wanted.reason) {
      return { result: refusedResult(held, refusal ?? CANCELLED), waitMs: 0, unended };
    }
    if (refusal !== null && !looking) return { result: refusedResult(held, refusal), waitMs: 0, unended };
    const error = asCellpoolError(thrown);
    const facts = { code: error.code, problem: error.message };
    if (LACKING.has(error.code)) context.log.error(facts, 'this worker lacks what the task needs; it waits');
    return { result: refusedResult(held, { outcome: 'failed', error }), waitMs: LACKING_MS, unended };
  }
  if (refusal !== null) return refuse(held, spawner, refusal);
  if (signal.reason === REASONS.cancelled) return refuse(held, spawner, CANCELLED);
  // It goes back to the queue before anything was done for it: there is no end to tell anybody of.
  if (signal.aborted) return { result: refusedResult(held, CANCELLED), waitMs: 0, unended };
  const run = await runAttempt({ ...held, base, spawner: spawner.spawner, left: leftOf(data), signal });
  if (endedWell(run.result.outcome)) return { ...run, unended: 0 };
  try {
    // One that was thought dead may have come to its commit all the same, and ours may have moved the branch before
    // git failed.
    const after = await workAfter(held, spawner.site.source, signal);
    return after === null ? { ...run, unended: 0 } : { result: after, waitMs: 0, unended: 0 };
  } catch (error) {
    context.log.warn({ problem: messageOf(error) }, 'nobody knows if the branch has moved');
    // The next attempt is to look first; but a remote that is away for an hour is no worker that dies again and again.
    const isAway = error instanceof CellpoolError && LACKING.has(error.code);
    return { ...run, unended: isAway ? Math.max(unended, 1) : unended + 1 };
  }
}

async function refuse(held: HeldJob, spawner: PooledSpawner, refusal: Refusal): Promise<Ended> {
  const failing = failWithoutCell(held, spawner, refusal);
  // A worker that stops waits for this hook as for those in its cells.
  held.context.onCell(failing);
  return { result: await failing, waitMs: 0, unended: 0 };
}

const CANCELLED: Refusal = refusalOf('cancelled', 'CANCELLED', 'cancelled before the attempt began');

/** Why no attempt is to be made any more; null when one is. */
function reasonNotTo({ data, begun: { cancelled, unended } }: BegunJob, refused: Refusal | null): Refusal | null {
  if (cancelled) return CANCELLED;
  if (refused !== null) return refused;
  if (unended > MAX_UNENDED) {
    return refusalOf('failed', 'WORKER_DIED', `${unended} attempts in a row never ended: their workers died`);
  }
  const left = leftOf(data);
  if (left.tokens <= 0) return refusalOf('over-budget', 'OVER_BUDGET', 'the tokens of the whole task are used up');
  if (left.executionMs <= 0) return refusalOf('timed-out', 'TIMED_OUT', 'the time of the whole task is used up');
  return null;
}

function refusalOf(outcome: Outcome, code: ErrorCode, message: string): Refusal {
  return { outcome, error: new CellpoolError(code, message) };
}

/**
 * The result of a job that is done, when its worker died (or Redis went away) before BullMQ heard of it. What was
 * committed in a round before, and came back, is worked anew.
 */
function doneBefore({ data }: HeldJob): AttemptResult | null {
  const last = lastOfRound(data);
  return last !== undefined && endedWell(last.outcome) ? last : null;
}

/** Whoever can write to Redis can write a job; only one that passes the schema is worked. */
function readData(job: Job): TaskJob {
  const parsed = taskJobSchema.safeParse(job.data);
  if (!parsed.success) throw new UnrecoverableError(`this is no job of cellpool: ${parsed.error.issues[0]?.message}`);
  if (parsed.data.task.id !== job.id) throw new UnrecoverableError('the job holds a task of another id');
  return parsed.data;
}
