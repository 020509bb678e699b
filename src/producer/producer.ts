/**
 * Puts tasks on the queue. An id is worked once: a task that is queued or running is joined, one that ended well is
 * reported, and only what was asked for is repeated. Everything is checked before anything is added.
 */
import { isDeepStrictEqual } from 'node:util';
import type { Redis } from 'ioredis';
import { sayIssue } from '../config.ts';
import { type Fault, InvalidInput } from '../errors.ts';
import { addJobs, type NewJob } from '../job/add-jobs.ts';
import { type Plan, planSchema, type TaskJob, taskJobSchema } from '../job/job.ts';
import type { AttemptResult } from '../job/outcome.ts';
import { type JobRetention, openQueue, type TaskQueue } from '../job/queue.ts';
import { hasEnded, hasEndedWell, readJob, readJobs, type StoredJob } from '../job/stored-job.ts';
import { faultsOf, type Task } from '../job/task.ts';
import type { Tracing } from '../observe/tracing.ts';
import { checkRedis } from '../redis/connection.ts';
import { Dependencies } from '../redis/dependencies.ts';
import { unavailable } from '../redis/redis-away.ts';
import { checkDependencies, dependenciesOf, type WantedJob } from './check-dependencies.ts';
import type { PlacedTask } from './tasks-file.ts';

export interface Enqueued {
  taskId: string;
  /** `queued`: new. `joined`: queued or running already. `known`: ended, not repeated. `again`: ended, now repeated. */
  how: 'queued' | 'joined' | 'known' | 'again';
  /** The job's state in BullMQ's words, as it was last seen. */
  state: string;
  /** Of a known task: how its last attempt ended; null when that is not told. */
  result: AttemptResult | null;
  /** Whether task or plan on the queue differ from those handed in, which then count for nothing. */
  changed: boolean;
}

export interface EnqueueContext {
  /** Absolute path of the repository's top folder, or of a bare repository. */
  repository: string;
  plan: Plan;
}

export interface EnqueueOptions {
  /** Repeat tasks that ended, however they ended. */
  again?: boolean;
  /** Repeat tasks that did not end well. */
  retryFailed?: boolean;
}

export class Producer {
  readonly #redis: Redis;
  readonly #prefix: string;
  readonly #retention: JobRetention | undefined;
  readonly #tracing: Tracing | null;
  #queue: TaskQueue | null = null;

  /**
   * `redis` is a connection in the producer's role; it stays the caller's and is not closed here. `retention` is for
   * how long and how many ended jobs are kept; left out: 30 days, 10,000. With `tracing` a trace begins with each job.
   */
  constructor(options: { redis: Redis; prefix: string; retention?: JobRetention; tracing?: Tracing | null }) {
    this.#redis = options.redis;
    this.#prefix = options.prefix;
    this.#retention = options.retention;
    this.#tracing = options.tracing ?? null;
  }

  /**
   * Adds the tasks in their order, each after those it depends on, and says of each what became of it. Safe while other producers add the same ids
   * and while workers work on them.
   * @throws {InvalidInput} with every fault; nothing was added then.
   * @throws {CellpoolError} `REDIS_UNAVAILABLE`; part of the tasks may be on the queue, and a second call joins them.
   */
  async enqueue(
    tasks: readonly PlacedTask[],
    context: EnqueueContext,
    options: EnqueueOptions = {},
  ): Promise<Enqueued[]> {
    const wanted = toJobs(tasks, context);
    const queue = await this.#open();
    try {
      const stored = await readJobs(
        queue,
        wanted.map(({ task }) => task.id),
      );
      checkStored(tasks, stored, context.repository);
      const all = wanted.map((data, index): WantedJob => {
        const job = stored[index] ?? null;
        return { data, where: tasks[index]?.where ?? '', stored: job, isAdded: isAdded(job, options) };
      });
      const dependencies = new Dependencies(this.#redis, { prefix: this.#prefix });
      const inOrder = await checkDependencies(queue, dependencies, all);
      const toAdd = inOrder.filter(one => one.isAdded);
      await dependencies.keep(dependenciesOf(toAdd.map(({ data }) => data)));
      return await add(queue, all, toAdd, this.#retention);
    } catch (error) {
      throw unavailable(
        error,
        'Redis did not take the tasks',
        'Tasks that were added stay on the queue; the same command again joins them.',
      );
    }
  }

  /** Lets go of the queue. Harmless when called twice or while Redis is away. */
  async close(): Promise<void> {
    const queue = this.#queue;
    this.#queue = null;
    // Closing releases nothing in Redis, so a failure to say goodbye costs nothing.
    await queue?.close().catch(() => undefined);
  }

  async #open(): Promise<TaskQueue> {
    await checkRedis(this.#redis);
    this.#queue ??= openQueue(this.#redis, this.#prefix, this.#tracing?.telemetry);
    return this.#queue;
  }
}

/** What would stand on the queue. Tasks reach this from programs too, so they pass the schema here once more. */
function toJobs(tasks: readonly PlacedTask[], context: EnqueueContext): TaskJob[] {
  const faults: Fault[] = [];
  const plan = planSchema.safeParse(context.plan, { error: sayIssue });
  if (!plan.success) faults.push(...faultsOf(plan.error, 'plan'));
  const repository = taskJobSchema.shape.repository.safeParse(context.repository, { error: sayIssue });
  if (!repository.success) faults.push(...faultsOf(repository.error, 'repository'));

  const first = new Map<string, string>();
  const jobs = tasks.flatMap(({ task, where }): TaskJob[] => {
    const parsed = taskJobSchema.shape.task.safeParse(task, { error: sayIssue });
    if (!parsed.success) {
      faults.push(...faultsOf(parsed.error, where));
      return [];
    }
    const earlier = first.get(parsed.data.id);
    if (earlier !== undefined) faults.push({ where, what: `id "${parsed.data.id}" stands twice, first at ${earlier}` });
    first.set(parsed.data.id, earlier ?? where);
    if (!plan.success || !repository.success) return [];
    return [{ version: 1, task: parsed.data, repository: repository.data, plan: plan.data, results: [] }];
  });
  if (faults.length > 0) throw new InvalidInput(faults);
  return jobs;
}

/** @throws {InvalidInput} when an id is taken by a task of another repository, or by what is no job of ours. */
function checkStored(tasks: readonly PlacedTask[], stored: readonly (StoredJob | null)[], repository: string): void {
  const faults = tasks.flatMap(({ task, where }, index): Fault[] => {
    const job = stored[index];
    if (!job) return [];
    const id = JSON.stringify(task.id);
    if (job.data === null) {
      return [{ where, what: `the queue holds a job ${id} that is not cellpool's (${job.fault}): use another id` }];
    }
    if (job.data.repository === repository) return [];
    return [{ where, what: `id ${id} is a task of another repository, ${job.data.repository}: use another id` }];
  });
  if (faults.length > 0) throw new InvalidInput(faults);
}

function isAdded(job: StoredJob | null, { again = false, retryFailed = false }: EnqueueOptions): boolean {
  return job === null || (hasEnded(job) && (again || (retryFailed && !hasEndedWell(job))));
}

async function add(
  queue: TaskQueue,
  all: readonly WantedJob[],
  toAdd: readonly WantedJob[],
  retention: JobRetention | undefined,
): Promise<Enqueued[]> {
  const jobs = toAdd.map(({ data, stored }): NewJob => ({ data, replaces: stored?.finishedOn ?? null }));
  const added = await addJobs(queue, jobs, retention);
  const byId = new Map(jobs.map(({ data }, index) => [data.task.id, added[index]]));

  return Promise.all(
    all.map(async ({ data, stored }): Promise<Enqueued> => {
      const done = byId.get(data.task.id);
      // Somebody else was faster: what stands there now is what there is to tell.
      const now = done === 'kept' ? await readJob(queue, data.task.id) : stored;
      return done === 'added' || done === 'replaced' ? fresh(data.task, done, stored) : told(data, now);
    }),
  );
}

function fresh(task: Task, done: 'added' | 'replaced', before: StoredJob | null): Enqueued {
  // An ended job that went away in between was still asked for again.
  const how = done === 'replaced' || before !== null ? 'again' : 'queued';
  const state = task.priority === undefined || task.priority === 0 ? 'waiting' : 'prioritized';
  return { taskId: task.id, how, state, result: null, changed: false };
}

function told({ task, plan }: TaskJob, job: StoredJob | null): Enqueued {
  const there = job?.data ?? null;
  const changed =
    there !== null && !isDeepStrictEqual(asStored({ task, plan }), asStored({ task: there.task, plan: there.plan }));
  const known = job !== null && hasEnded(job);
  return {
    taskId: task.id,
    how: known ? 'known' : 'joined',
    state: job?.state ?? 'unknown',
    result: known ? job.result : null,
    changed,
  };
}

/** Words and settings as JSON keeps them: without undefined values and the like. */
function asStored(words: Pick<TaskJob, 'task' | 'plan'>): unknown {
  return JSON.parse(JSON.stringify(words));
}
