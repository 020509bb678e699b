/** Jobs put on the queue by hand, and workers that do nothing but hold one: no cell is needed to see a queue move. */
import { type Processor, Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import { vi } from 'vitest';
import type { TaskJob } from '../../src/job/job.ts';
import { TASK_QUEUE } from '../../src/job/names.ts';
import type { AttemptResult, Outcome } from '../../src/job/outcome.ts';
import { jobOptions, TASK_JOB, type TaskQueue } from '../../src/job/queue.ts';
import { parseTask, type TaskInput } from '../../src/job/task.ts';

export function jobOf(id: string, more: Partial<TaskInput> = {}, repository = '/repo'): TaskJob {
  const { task, faults } = parseTask({ id, prompt: 'do it', ...more }, id);
  if (task === null) throw new Error(JSON.stringify(faults));
  const plan = { setupMs: 1_000, testMs: 1_000, author: { name: 'a', email: 'b@c' }, opencode: {} };
  return { version: 1, task, repository, plan, results: [] };
}

export async function addJob(queue: TaskQueue, data: TaskJob, delay = 0): Promise<void> {
  await queue.add(TASK_JOB, data, { ...jobOptions(data.task), ...(delay === 0 ? {} : { delay }) });
}

export function resultOf(taskId: string, outcome: Outcome, attempt = 1): AttemptResult {
  const metrics = { spawnMs: 1, executionMs: 1, teardownMs: 1, totalMs: 3 };
  const common = { taskId, outcome, attempt, branch: null, commit: null, filesModified: [], tokensUsed: 1 };
  return { ...common, tests: null, metrics, error: null, artifacts: '/tmp/a' };
}

/** A worker that takes jobs, one at a time, and does with each what `processor` says. The connection is the caller's. */
export function holdJobs(redis: Redis, prefix: string, processor: Processor): Worker {
  const worker = new Worker(TASK_QUEUE, processor, {
    connection: redis,
    prefix,
    settings: { backoffStrategy: () => 20 },
  });
  worker.on('error', () => undefined);
  return worker;
}

/** Bounded; under load Redis may take its time. */
export async function untilState(queue: TaskQueue, id: string, state: string): Promise<void> {
  await vi.waitUntil(async () => (await queue.getJobState(id)) === state, { timeout: 30_000, interval: 10 });
}
