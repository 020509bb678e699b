/** What a list tells of each task. */
import type { TaskFacts, TaskState } from './facts.ts';
import type { ViewedJob } from './viewed-job.ts';

/** `state` is the one that the job was found in; it may have left it by the time it was read. */
export function listedTask(job: ViewedJob, state: TaskState): TaskFacts {
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
