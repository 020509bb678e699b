/** One job, one attempt: read it, run its cell, keep the result on the job, and tell BullMQ what becomes of it. */
import { DelayedError, type Job, UnrecoverableError, WaitingError } from 'bullmq';
import type { AgentSpawner } from '../cell/agent-spawner.ts';
import { runCell } from '../cell/run-cell.ts';
import { asCellpoolError } from '../errors.ts';
import { type TaskJob, taskJobSchema } from '../job/job.ts';
import type { AttemptResult, Progress } from '../job/outcome.ts';
import type { Logger } from '../observe/logger.ts';
import { attemptPrompt } from './attempt-prompt.ts';
import { decide } from './decide.ts';
import type { SpawnerPool } from './spawner-pool.ts';

export interface JobContext {
  spawners: SpawnerPool;
  host: string;
  log: Logger;
  /** Called with every cell's life, so that the worker knows when the last one has ended. */
  onCell(life: Promise<unknown>): void;
  /** Whether this worker is being stopped: a cancelled attempt is then handed back instead of given up. */
  stopping(): boolean;
  /** Called for each job that is handed back. */
  onHandBack(): void;
  onResult(result: AttemptResult): void;
}

/** The reason of an abort when another worker may have the job by now. */
export const LOCK_LOST = 'lock lost';

/** Token counts change many times a second; the job's progress is written at most this often. */
const USAGE_MS = 1_000;

/** @throws what BullMQ understands: any error to retry, `UnrecoverableError` to give up, `WaitingError` to hand back. */
export async function processJob(
  context: JobContext,
  job: Job,
  token: string,
  signal: AbortSignal,
): Promise<AttemptResult> {
  const data = readData(job);
  if (context.stopping()) return handBack(context, job, token);
  const { task } = data;
  const attempt = job.attemptsMade + 1;
  const spawner = await context.spawners
    .of(data.repository)
    .catch(error => waitOrThrow(context, job, token, data, error));
  const report = new ProgressReport(job, context.host, attempt);
  const life = runAttempt(spawner, data, attempt, { token, enqueuedAt: job.timestamp }, report, signal);
  context.onCell(life);
  const result = await life;
  await report.written();
  // The job is no longer ours to write to; BullMQ refuses the end we report for it.
  if (signal.reason === LOCK_LOST) throw new Error(`attempt ${attempt}: the lock was lost, nothing was committed`);

  const decision = decide(result, { attempts: task.attempts, stopping: context.stopping() });
  if (decision === 'hand-back') return handBack(context, job, token);
  const { lackingSince: _, ...kept } = data;
  await job.updateData({ ...kept, results: [...data.results, result] });
  await job.log(`attempt ${attempt}: ${result.outcome}${result.error === null ? '' : `: ${result.error.message}`}`);
  context.onResult(result);
  if (decision === 'done') return result;
  const why = `${result.outcome}: ${result.error?.message ?? 'no reason given'}`;
  throw decision === 'retry' ? new Error(why) : new UnrecoverableError(why);
}

/** Whoever can write to Redis can write a job; only one that passes the schema is worked. */
function readData(job: Job): TaskJob {
  const parsed = taskJobSchema.safeParse(job.data);
  if (!parsed.success) throw new UnrecoverableError(`this is no job of cellpool: ${parsed.error.issues[0]?.message}`);
  if (parsed.data.task.id !== job.id) throw new UnrecoverableError('the job holds a task of another id');
  return parsed.data;
}

/** Gives the job back uncounted; another worker, or this one started anew, takes it. */
async function handBack(context: JobContext, job: Job, token: string): Promise<never> {
  context.onHandBack();
  await job.log('handed back, the worker stops');
  await job.moveToWait(token);
  throw new WaitingError();
}

/** How long a job waits before the worker looks again for what was missing, and how long in all. */
const LACKING_MS = 60_000;
const LACKING_MAX_MS = 3_600_000;

/**
 * The repository, opencode or the state folder is not as it should be: the worker's fault, not the task's. A mount
 * that is gone for a moment must not end a night's queue in a second, so the job waits, uncounted, for up to an hour.
 */
async function waitOrThrow(
  context: JobContext,
  job: Job,
  token: string,
  data: TaskJob,
  error: unknown,
): Promise<never> {
  const { code, message } = asCellpoolError(error);
  const since = data.lackingSince ?? Date.now();
  if (Date.now() - since > LACKING_MAX_MS) throw new UnrecoverableError(`${code}: ${message}`);
  context.log.error({ task: data.task.id, code, problem: message }, 'this worker lacks what the task needs; it waits');
  await job.updateData({ ...data, lackingSince: since });
  await job.log(`waits for what is missing: ${message}`);
  await job.moveToDelayed(Date.now() + LACKING_MS, token);
  throw new DelayedError();
}

function runAttempt(
  spawner: AgentSpawner,
  { task, plan, results }: TaskJob,
  attempt: number,
  job: { token: string; enqueuedAt: number },
  report: ProgressReport,
  signal: AbortSignal,
): Promise<AttemptResult> {
  const { test, title, model, agent } = task;
  return runCell(spawner, {
    config: {
      agentId: task.id,
      taskId: task.id,
      branch: task.base,
      timeoutMs: task.timeoutMs,
      tokenBudget: task.tokenBudget,
      attempt,
      author: plan.author,
      opencode: plan.opencode,
      limits: { setupMs: plan.setupMs, testMs: plan.testMs },
      job,
      ...defined({ test, title, model, agent, setup: plan.setup }),
    },
    prompt: attemptPrompt(task, attempt, results.at(-1)),
    subject: task.title ?? firstLine(task.prompt),
    signal,
    onStage: (stage, spawned) => report.stage(stage, spawned?.cell ?? null),
    onUsage: tokens => report.usage(tokens),
  });
}

/** A commit's first line; git shows about this much of it. */
function firstLine(prompt: string): string {
  const line = prompt.trim().split('\n')[0] ?? '';
  return line.length > 72 ? `${line.slice(0, 71)}…` : line;
}

function defined<T extends object>(values: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as never;
}

/** Writes the job's progress: every stage, and the tokens now and then. */
class ProgressReport {
  readonly #job: Job;
  #progress: Progress;
  #lastWrite: Promise<void> = Promise.resolve();
  #usageAt = 0;

  constructor(job: Job, host: string, attempt: number) {
    this.#job = job;
    this.#progress = { stage: 'spawn', attempt, cellId: null, host, port: null, tokensUsed: 0, startedAt: Date.now() };
  }

  stage(stage: Progress['stage'], cell: { cellId: string; port: number } | null): void {
    this.#progress = { ...this.#progress, stage, ...(cell === null ? {} : { cellId: cell.cellId, port: cell.port }) };
    this.#write();
  }

  usage(tokensUsed: number): void {
    this.#progress = { ...this.#progress, tokensUsed };
    if (Date.now() - this.#usageAt < USAGE_MS) return;
    this.#usageAt = Date.now();
    this.#write();
  }

  /** Progress is news, not truth: a write that fails is not worth an attempt. Order is kept. */
  #write(): void {
    const progress = this.#progress;
    this.#lastWrite = this.#lastWrite.then(() => this.#job.updateProgress(progress)).catch(() => undefined);
  }

  async written(): Promise<void> {
    await this.#lastWrite;
  }
}
