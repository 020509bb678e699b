/**
 * One job, one attempt: read it, see that it may begin, run its cell, decide, and tell BullMQ what becomes of it.
 * Whatever a job came to stands in its data before BullMQ hears of it, so that nothing is lost in between.
 */
import { type Job, UnrecoverableError } from 'bullmq';
import { asCellpoolError } from '../errors.ts';
import { finishedWork } from '../git/finished.ts';
import { type TaskJob, taskJobSchema } from '../job/job.ts';
import { branchOf } from '../job/names.ts';
import { type AttemptResult, endedWell, type Outcome, resultWithoutCell } from '../job/outcome.ts';
import { decide, LACKING } from './decide.ts';
import { type HeldJob, type JobContext, modelOf, REASONS } from './held-job.ts';
import { conclude, requeue } from './job-ending.ts';
import { runAttempt } from './run-attempt.ts';
import type { PooledSpawner } from './spawner-pool.ts';
import { leftOf, spentWith, type Usage } from './totals.ts';

/** So many attempts in a row that began and never ended: their workers died, and the task may be what kills them. */
const MAX_UNENDED = 10;
/** How long a job waits before the worker looks again for what was missing. */
const LACKING_MS = 60_000;

/** @throws what BullMQ understands: an error to retry, `UnrecoverableError`, `WaitingError` or `DelayedError`. */
export async function processJob(
  context: JobContext,
  job: Job,
  token: string,
  signal: AbortSignal,
): Promise<AttemptResult> {
  const data = readData(job);
  const held: HeldJob = { context, job, token, data, attempt: job.attemptsMade + 1 };
  const holdMs = context.holdMs(data.task.id);
  if (holdMs > 0) return requeue(held, holdMs, null);
  const turn = await context.cooldowns.ask(modelOf(data));
  if (turn.waitMs > 0) return requeue(held, turn.waitMs, turn.reason ?? 'the provider is in a cool-down');

  const begun = await context.fence.begin({ taskId: data.task.id, enqueuedAt: job.timestamp });
  const { result, waitMs } = await attempt(held, begun, signal);
  // The job may be another worker's by now. If it is not, it goes back uncounted.
  if (signal.reason === REASONS.lockLost) return requeue(held, 0, null);
  await context.fence.end(data.task.id, begun.number);

  const after = { ...data, spent: spentWith(data, result) };
  const decision = decide(result, {
    attempts: data.task.attempts,
    left: leftOf(after),
    cancelledBy: signal.reason === REASONS.stopping ? 'worker' : 'person',
    retryOverBudget: data.plan.retryOverBudget === true,
    waitMs,
    waitedMs: data.waits === undefined ? 0 : Date.now() - data.waits.since,
  });
  return conclude({ ...held, data: after }, result, decision);
}

interface Begun {
  /** The attempt's rising number. */
  number: string;
  unended: number;
  cancelled: boolean;
}

interface Ended {
  result: AttemptResult;
  /** Milliseconds to wait should it be put back uncounted. */
  waitMs: number;
}

/** Runs a cell for the job, unless its work is done already or there is a reason not to. */
async function attempt(held: HeldJob, begun: Begun, signal: AbortSignal): Promise<Ended> {
  const opened = await open(held);
  if (begun.unended > 0 && 'source' in opened) {
    const before = await finishedBefore(held, opened);
    if (before !== null) return before;
  }
  const left = leftOf(held.data);
  const reason = whyNot(held, begun, left);
  if (reason !== null) return reason;
  if (!('source' in opened)) return opened;
  const life = runAttempt({ ...held, spawner: opened.spawner, left, number: begun.number, signal });
  held.context.onCell(life);
  const result = await life;
  if (endedWell(result.result.outcome) || begun.unended === 0) return result;
  // An attempt that was thought dead may have come to its commit all the same.
  return (await finishedBefore(held, opened)) ?? result;
}

async function open(held: HeldJob): Promise<PooledSpawner | Ended> {
  const { context, data } = held;
  try {
    return await context.spawners.of(data.repository);
  } catch (error) {
    const { code, message } = asCellpoolError(error);
    const facts = { task: data.task.id, code, problem: message };
    if (LACKING.has(code)) context.log.error(facts, 'this worker lacks what the task needs; it waits');
    return ended(held, 'failed', code, message, LACKING_MS);
  }
}

function whyNot(held: HeldJob, { cancelled, unended }: Begun, left: Usage): Ended | null {
  if (cancelled) return ended(held, 'cancelled', 'CANCELLED', 'cancelled before the attempt began');
  if (unended > MAX_UNENDED) {
    const what = `${unended} attempts in a row never ended: their workers died`;
    return ended(held, 'failed', 'WORKER_DIED', what);
  }
  if (left.tokens <= 0) return ended(held, 'over-budget', 'OVER_BUDGET', 'the tokens of the whole task are used up');
  if (left.executionMs <= 0) return ended(held, 'timed-out', 'TIMED_OUT', 'the time of the whole task is used up');
  return null;
}

/** The work of an attempt whose worker died after the branch had moved and before it could say so. */
async function finishedBefore({ job, data, context }: HeldJob, { source }: PooledSpawner): Promise<Ended | null> {
  const taskId = data.task.id;
  const branch = branchOf(taskId);
  const work = await finishedWork(source, { branch, taskId, enqueuedAt: job.timestamp });
  if (work === null) return null;
  context.log.info({ task: taskId, commit: work.commit }, 'committed by an attempt whose worker died');
  const tests = data.task.test === undefined ? null : { passed: true, exitCode: 0, durationMs: 0 };
  const result = { ...resultWithoutCell(taskId, work.attempt, 'committed', null), ...work, branch, tests };
  return { result, waitMs: 0 };
}

function ended(held: HeldJob, outcome: Outcome, code: string, message: string, waitMs = 0): Ended {
  return { result: resultWithoutCell(held.data.task.id, held.attempt, outcome, { code, message }), waitMs };
}

/** Whoever can write to Redis can write a job; only one that passes the schema is worked. */
function readData(job: Job): TaskJob {
  const parsed = taskJobSchema.safeParse(job.data);
  if (!parsed.success) throw new UnrecoverableError(`this is no job of cellpool: ${parsed.error.issues[0]?.message}`);
  if (parsed.data.task.id !== job.id) throw new UnrecoverableError('the job holds a task of another id');
  return parsed.data;
}
