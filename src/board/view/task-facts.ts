/** All of one task. */
import { taskIdFault } from '../../job/names.ts';
import type { Task } from '../../job/task.ts';
import { pipelined } from '../../redis/pipelined.ts';
import { modelOf, readCells } from './cell-facts.ts';
import type { ViewContext } from './context.ts';
import type { LandingFacts, TaskDetail, TaskState } from './facts.ts';
import { readTaskLandings } from './landing-facts.ts';
import { listedTask } from './listed-task.ts';
import { type ViewedJob, viewJobs } from './viewed-job.ts';

export { type ListOptions, listTasks, type TaskPage } from './task-list.ts';

/** The task with all that is known of it; null when there is no such job. @throws the error of Redis when it is away */
export async function readTask(context: ViewContext, taskId: string): Promise<TaskDetail | null> {
  if (taskIdFault(taskId) !== null) return null;
  // The state first: when it says that the job has ended, what is read after it holds the end.
  const state = stateOf(await context.queue.getJobState(taskId));
  const [[job = null], log, cells] = await Promise.all([
    viewJobs(context, [taskId]),
    readLog(context, taskId),
    state === 'running' ? readCells(context, taskId) : [],
  ]);
  if (job === null) return null;
  const { data } = job;
  const results = data?.results ?? [];
  const hasEnded = state === 'completed' || state === 'failed';
  // What a dead worker left of the task may still be there.
  const own = cells.filter(({ abandoned }) => !abandoned).sort((a, b) => a.startedAt - b.startedAt);
  const cell = own.at(-1) ?? null;
  return {
    ...listedTask(job, state),
    prompt: data?.task.prompt ?? '',
    base: data?.task.base ?? '',
    test: data?.task.test ?? null,
    setup: data?.plan.setup ?? null,
    model: modelOf(job),
    timeoutMs: data?.task.timeoutMs ?? 0,
    tokenBudget: data?.task.tokenBudget ?? 0,
    dependsOn: data?.task.dependsOn ?? [],
    lands: data === null ? null : landsOf(data.task),
    landings: (await readTaskLandings(context, results)).map(one => ({
      ...one,
      ...(hasEnded && isFruitless(one, job) ? { isFruitless: true } : {}),
    })),
    tokensUsed: (data?.spent?.tokens ?? 0) + (cell?.tokensUsed ?? 0),
    cell,
    results,
    log,
  };
}

/** Whether it came back and nothing was committed since. */
function isFruitless({ state, commit }: LandingFacts, { data, result }: ViewedJob): boolean {
  return state === 'returned' && commit === data?.returned?.commit && result?.outcome !== 'committed';
}

function landsOf({ land = 'none', landOn, base }: Task): TaskDetail['lands'] {
  return land === 'none' ? null : { how: land, target: landOn ?? base };
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
