/** A job as it lies in Redis, read without trusting it. */
import type { Job, JobState } from 'bullmq';
import { isRecord, sayIssue } from '../config.ts';
import { messageOf } from '../errors.ts';
import { lastOfRound, type Returned, type TaskJob, taskJobSchema } from './job.ts';
import { jobIdOf } from './names.ts';
import { type AttemptResult, attemptResultSchema, endedWell } from './outcome.ts';
import type { TASK_JOB, TaskQueue } from './queue.ts';
import { faultsOf } from './task.ts';

/** Only what is read of a BullMQ job. */
export type JobRecord = Pick<Job<unknown, unknown, typeof TASK_JOB>, 'data' | 'returnvalue'>;

export type StoredJob = {
  id: string;
  state: JobState | 'unknown';
  /** Epoch ms at which the job ended; null while it has not. */
  finishedOn: number | null;
  /** How many attempts BullMQ knows to be over; a result is written before it is told. */
  attemptsMade: number;
  /** How the last attempt of its present round ended; null before one has. */
  result: AttemptResult | null;
} & ({ data: TaskJob; fault: null } | { data: null; fault: string });

/** The state in which a job waits for nothing more; any other may still change by itself. */
export function hasEnded(stored: StoredJob): boolean {
  return stored.finishedOn !== null && (stored.state === 'completed' || stored.state === 'failed');
}

/** Whether the job's task is done: it has ended, and its last attempt committed or found nothing to change. */
export function hasEndedWell(stored: StoredJob): boolean {
  return hasEnded(stored) && stored.result !== null && endedWell(stored.result.outcome);
}

/**
 * What stands on the branch of a task that has ended: what its last round has committed, or else the work that came back
 * before that. Null: nothing that could land.
 */
export function standingCommit(
  result: Pick<AttemptResult, 'outcome' | 'commit'>,
  returned: Pick<Returned, 'commit'> | undefined,
): string | null {
  return result.outcome === 'committed' ? result.commit : (returned?.commit ?? null);
}

/**
 * The task's job, or null when there is none. A job that cannot be understood is returned with its `fault`; only
 * trouble with Redis itself is thrown.
 */
export async function readJob(queue: TaskQueue, taskId: string): Promise<StoredJob | null> {
  const id = jobIdOf(taskId);
  // The state first: when it says the job has ended, the data read after it holds the end.
  const state = await queue.getJobState(id);
  try {
    const job = await queue.getJob(id);
    if (job === undefined) return null;
    const common = {
      id,
      state,
      finishedOn: job.finishedOn ?? null,
      attemptsMade: job.attemptsMade,
      result: resultOf(job),
    };
    return { ...common, ...understoodData(taskId, job.data) };
  } catch (error) {
    if (!isNonsense(error)) throw error;
    return { id, state, finishedOn: null, attemptsMade: 0, result: null, data: null, fault: messageOf(error) };
  }
}

/** What a job holds for the task, or why that is nothing of ours. */
export function understoodData(
  taskId: string,
  data: unknown,
): { data: TaskJob; fault: null } | { data: null; fault: string } {
  const parsed = taskJobSchema.safeParse(data, { error: sayIssue });
  if (!parsed.success) return { data: null, fault: firstFault(parsed.error) };
  if (parsed.data.task.id === taskId) return { data: parsed.data, fault: null };
  return { data: null, fault: `holds the task ${JSON.stringify(parsed.data.task.id)}` };
}

/** Jobs looked up at once; their answers are held in memory together. */
const AT_ONCE = 200;

/** The jobs of many tasks, in the order of the ids. */
export async function readJobs(queue: TaskQueue, taskIds: readonly string[]): Promise<(StoredJob | null)[]> {
  const stored: (StoredJob | null)[] = [];
  for (let from = 0; from < taskIds.length; from += AT_ONCE) {
    stored.push(...(await Promise.all(taskIds.slice(from, from + AT_ONCE).map(id => readJob(queue, id)))));
  }
  return stored;
}

/**
 * The result of the last attempt of the present round, from the job's return value or else its data: that an earlier
 * round has committed does not make a task done that came back since.
 */
export function resultOf({ data, returnvalue }: JobRecord): AttemptResult | null {
  const returned = attemptResultSchema.safeParse(returnvalue);
  if (returned.success) return returned.data;
  const { results, kept } = isRecord(data) ? data : {};
  const round = { results: Array.isArray(results) ? results : [], kept: typeof kept === 'number' ? kept : 0 };
  const last = attemptResultSchema.safeParse(lastOfRound<unknown>(round));
  return last.success ? last.data : null;
}

/** Data BullMQ cannot parse, or a key of another type than a job's; anything else is Redis being away. */
function isNonsense(error: unknown): boolean {
  return error instanceof SyntaxError || error instanceof TypeError || messageOf(error).startsWith('WRONGTYPE');
}

function firstFault(error: Parameters<typeof faultsOf>[0]): string {
  return faultsOf(error, '')[0]?.what ?? 'is not a job of cellpool';
}
