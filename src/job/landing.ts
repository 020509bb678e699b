/** The landing job: a finished branch on its way onto its target, and what became of it. */
import { createHash } from 'node:crypto';
import { type JobsOptions, Queue } from 'bullmq';
import type { Redis } from 'ioredis';
import { z } from 'zod';
import { DEFAULTS, LAND, sayIssue } from '../config.ts';
import { CellpoolError } from '../errors.ts';
import { fateSchema } from './fate.ts';
import { planSchema, type TaskJob } from './job.ts';
import { branchOf, isTaskBranch, LANDING_QUEUE, taskIdFault } from './names.ts';
import type { AttemptResult } from './outcome.ts';
import { type JobRetention, jobOptions } from './queue.ts';
import { isUrl, repositorySchema } from './repository.ts';
import { faultsOf, isLanding, taskSchema } from './task.ts';

/** The name of every job on it. */
export const LANDING_JOB = 'landing';

/** What a job holds is unknown until `landingJobSchema` has parsed it. */
export type LandingQueue = Queue<unknown, unknown, typeof LANDING_JOB>;

const commitId = z.string().regex(/^[0-9a-f]{40}(?:[0-9a-f]{24})?$/, 'must be the full id of a commit');

const landingKeys = z.strictObject({
  version: z.literal(1),
  taskId: taskSchema.shape.id,
  title: taskSchema.shape.title,
  /** When the task's own job was put on the queue, epoch ms: tells this enqueuing of the task from later ones. */
  enqueuedAt: z.number(),
  repository: repositorySchema,
  /** The host that has its branch, of a repository that is a folder: on others that may be another one of the same path. */
  host: z.string().optional(),
  branch: z.string(),
  /** What is to land: the tip of `branch` as its tests let it through. */
  commit: commitId,
  target: taskSchema.shape.base.refine(name => !isTaskBranch(name), 'is the branch of a task, on which nothing lands'),
  land: z.enum(LAND).exclude(['none']),
  test: taskSchema.shape.test.unwrap(),
  labels: taskSchema.shape.labels,
  /** Tasks on whose work it may build. */
  dependsOn: taskSchema.shape.dependsOn,
  plan: planSchema,
  /** How often the task has come back already. */
  returns: z.int().min(0),
  /** Left out as long as it is not known. */
  fate: fateSchema.optional(),
});
export const landingJobSchema = landingKeys.refine(({ taskId, branch }) => branch === branchOf(taskId), {
  path: ['branch'],
  message: 'must be the branch of the task',
});
export type LandingJob = z.infer<typeof landingJobSchema>;

/** What names the target of a landing, the same on all hosts. */
export function targetMarkOf({ repository, target, land, plan }: LandingJob): string {
  // A repository that is named by URL is its own remote, so both ways lead to the same branch.
  const to = isUrl(repository) || land === 'merge' ? null : (plan.landing?.remote ?? DEFAULTS.landing.remote);
  return digestOf([repository, to, target]);
}

/** The same with the way in which it is tested: what is red by one test command may be green by another. */
export function trialMarkOf(landing: LandingJob): string {
  const { test, labels = [], plan } = landing;
  const { setup, setupMs, testMs, allow, python, caches, author } = plan;
  return digestOf([targetMarkOf(landing), test, labels, setup, setupMs, testMs, allow, python, caches, author]);
}

const digestOf = (of: unknown[]) => createHash('sha256').update(JSON.stringify(of)).digest('hex').slice(0, 24);

/** One candidate is one job, however often it is put on the queue; a task has another one for each commit. */
export function landingIdOf({ taskId, commit }: Pick<LandingJob, 'taskId' | 'commit'>): string {
  return `${taskId}.${commit.slice(0, 12)}`;
}

/** The task that a landing job's id names; null for what is the id of none. */
export function taskOfLanding(landingId: string): string | null {
  const [, taskId = ''] = /^(.+)\.[0-9a-f]{12}$/.exec(landingId) ?? [];
  return taskIdFault(taskId) === null ? taskId : null;
}

/** Opens the queue on a connection that stays the caller's, as `openQueue` does. */
export function openLandingQueue(redis: Redis, prefix: string): LandingQueue {
  const queue: LandingQueue = new Queue(LANDING_QUEUE, { connection: redis, prefix, skipWaitingForReady: true });
  // Every call rejects with its own error; without a listener BullMQ prints them a second time.
  queue.on('error', () => undefined);
  return queue;
}

/** What is to land of a task whose attempt has ended; null when nothing is. `enqueuedAt`: of the task's job. */
export function landingOf(
  { task, repository, plan, returned }: Omit<TaskJob, 'results'>,
  { outcome, branch, commit, host }: Pick<AttemptResult, 'outcome' | 'branch' | 'commit' | 'host'>,
  enqueuedAt: number,
): LandingJob | null {
  const { id, title, base, land = 'none', landOn = base, test, labels, dependsOn } = task;
  if (!isLanding(task) || land === 'none' || test === undefined) return null;
  if (outcome !== 'committed' || branch === null || commit === null) return null;
  const of = { taskId: id, enqueuedAt, repository, branch, commit, target: landOn, land, test, plan };
  const optional = {
    ...(title === undefined ? {} : { title }),
    ...(labels === undefined ? {} : { labels }),
    ...(dependsOn === undefined ? {} : { dependsOn }),
    ...(host === undefined || isUrl(repository) ? {} : { host }),
  };
  return { version: 1, ...of, ...optional, returns: returned?.times ?? 0 };
}

/** How often a task may come back to be worked anew. */
export function returnsOf({ plan }: Pick<LandingJob, 'plan'>): number {
  return plan.landing?.returns ?? DEFAULTS.landing.returns;
}

/** The options of its job. It is kept after its end like the job of a task. */
export function landingOptions(job: LandingJob, retention?: JobRetention): JobsOptions & { jobId: string } {
  return { ...jobOptions({ id: job.taskId, attempts: 1 }, retention), jobId: landingIdOf(job) };
}

/** What a job of the landing queue holds, or why it is nothing of ours. */
export function understoodLanding(data: unknown): { data: LandingJob; fault: null } | { data: null; fault: string } {
  const parsed = landingJobSchema.safeParse(data, { error: sayIssue });
  if (parsed.success) return { data: parsed.data, fault: null };
  return { data: null, fault: faultsOf(parsed.error, '')[0]?.what ?? 'is no landing job of cellpool' };
}

/** @throws {CellpoolError} INTERNAL: what was built here does not pass what is read there */
export function checkedLanding(job: LandingJob): LandingJob {
  const { data, fault } = understoodLanding(job);
  if (data !== null) return data;
  throw new CellpoolError('INTERNAL', `the landing of task ${job.taskId} cannot be put on the queue: ${fault}`);
}
