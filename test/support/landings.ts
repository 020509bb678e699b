/** Landings put on the queue by hand, and a lander that merges nothing: it only gives candidates their fates. */
import { type Job, UnrecoverableError, Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import { expect, vi } from 'vitest';
import { addJobs } from '../../src/job/add-jobs.ts';
import type { Fate } from '../../src/job/fate.ts';
import type { TaskJob } from '../../src/job/job.ts';
import {
  LANDING_JOB,
  type LandingJob,
  type LandingQueue,
  landingOf,
  landingOptions,
  openLandingQueue,
} from '../../src/job/landing.ts';
import { LANDING_QUEUE } from '../../src/job/names.ts';
import type { AttemptResult } from '../../src/job/outcome.ts';
import { openQueue, type TaskQueue } from '../../src/job/queue.ts';
import { readJob } from '../../src/job/stored-job.ts';
import { resultOf } from './jobs.ts';
import type { TestRedis } from './redis.ts';

export type Queues = Awaited<ReturnType<typeof openQueues>>;

/** Both queues of a pool of its own, as a producer has them; whoever opens them closes them. */
export async function openQueues(server: TestRedis) {
  const [redis, prefix] = [await server.connect('producer'), server.prefix()];
  const [queue, landings] = [openQueue(redis, prefix), openLandingQueue(redis, prefix)];
  const close = async () => {
    await Promise.all([queue.close(), landings.close()]);
    redis.disconnect();
  };
  return { redis, prefix, queue, landings, close };
}

/** What an attempt comes to whose commit is `digit` again and again. */
export function committedAs(digit: string, taskId: string, attempt = 1): AttemptResult {
  return { ...resultOf(taskId, 'committed', attempt), branch: `cellpool/${taskId}`, commit: digit.repeat(40) };
}

/** As the worker does before BullMQ hears that the task has ended. */
export async function addLanding(queue: LandingQueue, data: TaskJob, result: AttemptResult, enqueuedAt = 1) {
  const landing = landingOf(data, result, enqueuedAt) ?? expect.fail('nothing of it is to land');
  await queue.add(LANDING_JOB, landing, landingOptions(landing));
  return landing;
}

export type Verdict = Pick<Fate, 'kind' | 'why' | 'message' | 'commit'>;

export const LANDED: Verdict = { kind: 'landed', message: 'landed', commit: 'f'.repeat(40) };
export const REFUSED: Verdict = { kind: 'refused', why: 'red', message: 'expected 3, found 4', commit: null };
export const RETURNED: Verdict = { kind: 'returned', why: 'conflict', message: 'a.txt', commit: null };

/** A lander that says of each candidate what `judge` says; one that is returned is on the queue of tasks before that. */
export function landWith(
  connection: Redis,
  prefix: string,
  tasks: TaskQueue,
  judge: (landing: LandingJob) => Verdict | Promise<Verdict>,
): Worker {
  const worker = new Worker(
    LANDING_QUEUE,
    async (job: Job<LandingJob>) => {
      const verdict = await judge(job.data);
      if (verdict.kind === 'returned') await giveBack(tasks, job.data, verdict);
      const fate: Fate = { ...verdict, batch: [job.data.taskId], flaky: false, at: Date.now() };
      await job.updateData({ ...job.data, fate });
      if (verdict.kind === 'refused') throw new UnrecoverableError(verdict.message);
    },
    { connection, prefix },
  );
  worker.on('error', () => undefined);
  return worker;
}

/** Puts the task on the queue anew, as its work could not land. */
export async function giveBack(queue: TaskQueue, landing: LandingJob, { why, message }: Verdict): Promise<void> {
  const { taskId, commit, target, returns } = landing;
  // Its job is there before BullMQ hears that the task's has ended.
  const ended = async () => (await readJob(queue, taskId))?.finishedOn ?? null;
  await vi.waitUntil(async () => (await ended()) !== null, { timeout: 30_000, interval: 10 });
  const [stored, replaces] = [await readJob(queue, taskId), await ended()];
  const data = stored?.data ?? expect.fail(`there is no task ${taskId}`);
  const returned = {
    ...{ times: returns + 1, commit, target, tip: 'e'.repeat(40) },
    ...{ why: why === 'red' ? why : ('conflict' as const), message },
  };
  expect(await addJobs(queue, [{ data: { ...data, kept: data.results.length, returned }, replaces }])).toEqual([
    'replaced',
  ]);
}
