/** A job in our hands, and what its worker lends to all of them. */
import type { Job } from 'bullmq';
import type { Redis } from 'ioredis';
import type { HookCallbacks } from '../cell/hook-facts.ts';
import type { TaskJob } from '../job/job.ts';
import type { LandingQueue } from '../job/landing.ts';
import type { AttemptResult, Stage } from '../job/outcome.ts';
import type { JobRetention, TaskQueue } from '../job/queue.ts';
import type { Logger } from '../observe/logger.ts';
import type { Redactor } from '../observe/redact.ts';
import type { Tracing } from '../observe/tracing.ts';
import type { Attempts } from '../redis/attempts.ts';
import type { Budgets } from '../redis/budget.ts';
import type { Cooldowns } from '../redis/cooldown.ts';
import type { Begun, Fence } from '../redis/fence.ts';
import type { JobData } from '../redis/job-data.ts';
import type { Tally } from '../redis/tally.ts';
import type { FleetShare } from './fleet-share.ts';
import type { JobDependencies } from './job-dependencies.ts';
import type { JobLabels } from './job-labels.ts';
import type { SpawnerPool } from './spawner-pool.ts';

export interface JobContext {
  spawners: Pick<SpawnerPool, 'of'>;
  redis: Redis;
  queue: TaskQueue;
  /** Where finished branches go that are to land, and for how long such a job is kept. */
  landings: LandingQueue;
  retention: JobRetention;
  attempts: Attempts;
  fence: Fence;
  jobData: JobData;
  cooldowns: Cooldowns;
  budgets: Budgets;
  tally: Tally;
  dependencies: JobDependencies;
  labels: JobLabels;
  fleet: FleetShare;
  host: string;
  /** Called after the hooks of the repository, for every attempt. */
  hooks: HookCallbacks;
  /** For which a job stays ours without renewal, in milliseconds. */
  lockMs: number;
  log: Logger;
  /** Left out or null: nothing is traced. */
  tracing?: Tracing | null | undefined;
  /** What goes to Redis and into prompts is redacted first. */
  redactor: Redactor;
  /** Called with every cell's life, so that the worker knows when the last one has ended. */
  onCell(life: Promise<unknown>): void;
  /** null: a job may begin here now; else it is put back for so many milliseconds, with 0 at the head of the line. */
  holdMs(): number | null;
  onStage(taskId: string, stage: Stage): void;
  /** A cell of the job is about to be spawned, at the tip of `base`. */
  onBegun(data: TaskJob, base: string): void;
  onResult(result: AttemptResult): void;
  /** A provider does not take our credentials. */
  onRefused(provider: string, reason: string): void;
  /** A budget that all tasks share is used up. */
  onUsedUp(reason: string): void;
  onHandedBack(): void;
}

/** Why an attempt is ended from outside: the reason of the signal that `JobLocks` gives. */
export const REASONS = {
  /** Another worker may have the job by now. */
  lockLost: 'lock lost',
  stopping: 'the worker stops',
  cancelled: 'cancelled by a person',
} as const;

/** A job in our hands, and all that is known of it. */
export interface HeldJob {
  context: JobContext;
  job: Job;
  token: string;
  data: TaskJob;
  /** Numbered from 1; one that is put back uncounted leaves its number to the next. */
  attempt: number;
  /** What the fence said when the attempt was begun, null before; at its end what is left unended. */
  begun: Begun | null;
}

export interface BegunJob extends HeldJob {
  begun: Begun;
}

/** The model the task will be worked with, `provider/model`, as far as the job tells. */
export function modelOf({ task, plan }: Pick<TaskJob, 'task' | 'plan'>): string {
  const model = task.model ?? plan.opencode.model;
  return typeof model === 'string' && /^[^/\s]+\/\S+$/.test(model) ? model : 'default/default';
}
