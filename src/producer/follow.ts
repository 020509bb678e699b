/** Follows tasks on the queue until each has its outcome, whichever worker on whichever host works on it. */
import { QueueEvents } from 'bullmq';
import type { Redis } from 'ioredis';
import { TASK_QUEUE } from '../job/names.ts';
import { type AttemptResult, type Progress, progressSchema, resultWithoutCell } from '../job/outcome.ts';
import type { TaskQueue } from '../job/queue.ts';
import { hasEnded, readJob, type StoredJob } from '../job/stored-job.ts';

export interface FollowHandlers {
  onProgress?(taskId: string, progress: Progress): void;
  /** An attempt did not end well and another will follow. */
  onRetry?(taskId: string, result: AttemptResult): void;
  /** The task was put back uncounted, and waits for this reason. */
  onWait?(taskId: string, reason: string): void;
  /** Called once a task. */
  onOutcome(taskId: string, result: AttemptResult): void;
}

/** Events can be missed while Redis restarts: what has ended is looked for this often as well. */
const LOOK_MS = 2_000;

export class TaskFollower {
  readonly #queue: TaskQueue;
  readonly #events: QueueEvents;
  readonly #handlers: FollowHandlers;
  readonly #pending: Set<string>;
  #finish: () => void = () => undefined;

  private constructor(queue: TaskQueue, events: QueueEvents, taskIds: Iterable<string>, handlers: FollowHandlers) {
    this.#queue = queue;
    this.#events = events;
    this.#handlers = handlers;
    this.#pending = new Set(taskIds);
  }

  /** Begins to listen; from here on no event of these tasks is missed while Redis is there. */
  static async open(
    options: { queue: TaskQueue; redis: Redis; prefix: string; taskIds: Iterable<string> } & FollowHandlers,
  ): Promise<TaskFollower> {
    const { queue, redis, prefix, taskIds, ...handlers } = options;
    const events = new QueueEvents(TASK_QUEUE, { connection: redis, prefix });
    // Redis being away for a while is seen by the connection itself; events go on when it is back.
    events.on('error', () => undefined);
    await events.waitUntilReady();
    return new TaskFollower(queue, events, taskIds, handlers);
  }

  get pending(): readonly string[] {
    return [...this.#pending];
  }

  /** Resolves when every task has its outcome, or when `signal` is aborted. */
  async untilAllEnded(signal: AbortSignal): Promise<void> {
    const ended = new Promise<void>(resolve => {
      this.#finish = resolve;
      signal.addEventListener('abort', () => resolve(), { once: true });
    });
    const look = ({ jobId }: { jobId: string }) => void this.#check(jobId);
    this.#events.on('completed', look);
    this.#events.on('failed', look);
    this.#events.on('removed', look);
    this.#events.on('delayed', ({ jobId }) => void this.#tellDelay(jobId));
    this.#events.on('progress', ({ jobId, data }) => this.#tellProgress(jobId, data));
    const timer = setInterval(() => void this.lookOnce(), LOOK_MS);
    await this.lookOnce();
    if (this.#pending.size > 0 && !signal.aborted) await ended;
    clearInterval(timer);
  }

  /** Looks once at every task that is still open, and tells of those that have ended. */
  async lookOnce(): Promise<void> {
    await Promise.all([...this.#pending].map(id => this.#check(id)));
  }

  async close(): Promise<void> {
    this.#events.removeAllListeners();
    this.#events.on('error', () => undefined);
    await this.#events.close();
  }

  async #check(id: string): Promise<void> {
    if (!this.#pending.has(id)) return;
    // Redis away: the next look tells. Two looks at once are fine, and the later one may see more.
    const stored = await readJob(this.#queue, id).catch(() => undefined);
    if (stored === undefined || (stored !== null && !hasEnded(stored)) || !this.#pending.delete(id)) return;
    this.#handlers.onOutcome(id, stored === null ? goneResult(id) : endResult(stored));
    if (this.#pending.size === 0) this.#finish();
  }

  async #tellDelay(id: string): Promise<void> {
    if (!this.#pending.has(id)) return;
    const stored = await readJob(this.#queue, id).catch(() => null);
    // Read too late, it would tell of the attempt after.
    if (stored === null || stored.data === null || hasEnded(stored) || !this.#pending.has(id)) return;
    const { results, waits } = stored.data;
    const last = results.at(-1);
    if (waits !== undefined) this.#handlers.onWait?.(id, waits.reason);
    else if (last !== undefined) this.#handlers.onRetry?.(id, last);
  }

  #tellProgress(id: string, data: unknown): void {
    const progress = progressSchema.safeParse(data);
    if (progress.success && this.#pending.has(id)) this.#handlers.onProgress?.(id, progress.data);
  }
}

/** A job can fail without an attempt that tells why: its data is nonsense, or its workers died again and again. */
function endResult(stored: StoredJob): AttemptResult {
  return stored.result ?? withoutAttempt(stored.id, 'failed', stored.fault ?? 'the job failed before an attempt ended');
}

function goneResult(id: string): AttemptResult {
  return withoutAttempt(id, 'cancelled', 'the job was removed from the queue');
}

function withoutAttempt(taskId: string, outcome: 'failed' | 'cancelled', message: string): AttemptResult {
  return resultWithoutCell(taskId, 1, outcome, { code: outcome === 'cancelled' ? 'CANCELLED' : 'INTERNAL', message });
}
