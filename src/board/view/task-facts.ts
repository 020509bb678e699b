/** All of one task, and what a list tells of each. */
import { taskIdFault } from '../../job/names.ts';
import { pipelined } from '../../redis/pipelined.ts';
import { modelOf, readCells } from './cell-facts.ts';
import type { ViewContext } from './context.ts';
import type { TaskDetail, TaskFacts, TaskState } from './facts.ts';
import { type ViewedJob, viewJobs } from './viewed-job.ts';

export { type ListOptions, listTasks, type TaskPage } from './task-list.ts';

/** What a list tells of a job that was found in this state. */
export function taskFactsOf(job: ViewedJob, state: TaskState): TaskFacts {
  const { taskId, data, fault, result, attemptsMade } = job;
  const isRunning = state === 'running';
  return {
    taskId,
    title: data?.task.title ?? null,
    repository: data?.repository ?? '',
    state,
    attempt: isRunning ? attemptsMade + 1 : Math.max(attemptsMade, result?.attempt ?? 0),
    attempts: data?.task.attempts ?? 0,
    outcome: result?.outcome ?? null,
    enqueuedAt: job.enqueuedAt,
    endedAt: state === 'completed' || state === 'failed' ? job.endedAt : null,
    waitsFor: state === 'delayed' ? whyDelayed(job) : null,
    fault,
  };
}

function whyDelayed({ data, result }: ViewedJob): string | null {
  if (data === null) return null;
  if (data.waits !== undefined) return data.waits.reason;
  return result === null ? 'its time' : `its next attempt, after one that ended ${result.outcome}`;
}

/** The task with all that is known of it; null when there is no such job. @throws the error of Redis when it is away */
export async function readTask(context: ViewContext, taskId: string): Promise<TaskDetail | null> {
  if (taskIdFault(taskId) !== null) return null;
  // The state first: when it says that the job has ended, what is read after it holds the end.
  const state = stateOf(await context.queue.getJobState(taskId));
  const [[job = null], log, cells] = await Promise.all([
    viewJobs(context, [taskId]),
    readLog(context, taskId),
    state === 'running' ? readCells(context) : [],
  ]);
  if (job === null) return null;
  const { data } = job;
  const own = cells.filter(cell => cell.taskId === taskId && !cell.abandoned);
  const cell = own.at(-1) ?? null;
  return {
    ...taskFactsOf(job, state),
    prompt: data?.task.prompt ?? '',
    base: data?.task.base ?? '',
    test: data?.task.test ?? null,
    setup: data?.plan.setup ?? null,
    model: modelOf(job),
    timeoutMs: data?.task.timeoutMs ?? 0,
    tokenBudget: data?.task.tokenBudget ?? 0,
    dependsOn: data?.task.dependsOn ?? [],
    tokensUsed: (data?.spent?.tokens ?? 0) + (cell?.tokensUsed ?? 0),
    cell,
    results: data?.results ?? [],
    log,
  };
}

const STATES: Readonly<Record<string, TaskState>> = {
  active: 'running',
  waiting: 'waiting',
  prioritized: 'waiting',
  delayed: 'delayed',
  completed: 'completed',
  failed: 'failed',
};

function stateOf(state: string): TaskState {
  return STATES[state] ?? 'unknown';
}

/** Lines of a job's log that are told, the last ones. */
const LOG_LINES = 200;

async function readLog({ redis, queue }: ViewContext, taskId: string): Promise<string[]> {
  const [lines] = await pipelined(redis.pipeline().lrange(`${queue.toKey(taskId)}:logs`, -LOG_LINES, -1));
  return (lines ?? []) as string[];
}
