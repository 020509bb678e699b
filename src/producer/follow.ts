/** Follows tasks on the queue until each has its outcome, whichever worker on whichever host works on it. */
import { QueueEvents } from 'bullmq';
import type { Redis } from 'ioredis';
import { lastOfRound } from '../job/job.ts';
import type { LandingQueue } from '../job/landing.ts';
import { TASK_QUEUE } from '../job/names.ts';
import { type AttemptResult, type Progress, progressSchema, resultWithoutCell } from '../job/outcome.ts';
import type { TaskQueue } from '../job/queue.ts';
import { hasEnded, readJob, type StoredJob } from '../job/stored-job.ts';
import { LandingFollower, type LandingNews } from './follow-landing.ts';

export interface FollowHandlers {
  onProgress?(taskId: string, progress: Progress): void;
  /** An attempt did not end well and another will follow. */
  onRetry?(taskId: string, result: AttemptResult): void;
  /** The task was put back uncounted, and waits for this reason. */
  onWait?(taskId: string, reason: string): void;
  /** A finished branch waits for its landing, or came back from it. */
  onLanding?(taskId: string, news: LandingNews): void;
  /** Called once a task. */
  onOutcome(taskId: string, result: AttemptResult): void;
}

export interface FollowOptions extends FollowHandlers {
  queue: TaskQueue;
  /** A connection in the worker's role; it stays the caller's. */
  redis: Redis;
  prefix: string;
  taskIds: Iterable<string>;
  /** Waits for landings too, which it asks for on a connection in the producer's role; left out: a commit is an end. */
  landing?: { queue: LandingQueue; redis: Redis } | undefined;
}

/** Events can be missed while Redis restarts: what has ended is looked for this often as well. */
const LOOK_MS = 2_000;

export class TaskFollower {
  readonly #queue: TaskQueue;
  readonly #events: QueueEvents;
  readonly #handlers: FollowHandlers;
  readonly #pending: Set<string>;
  readonly #landings: LandingFollower | null;
  #finish: () => void = () => undefined;

  private constructor(options: FollowOptions, events: QueueEvents, landings: LandingFollower | null) {
    this.#queue = options.queue;
    this.#events = events;
    this.#handlers = options;
    this.#pending = new Set(options.taskIds);
    this.#landings = landings;
  }

  /** Begins to listen; from here on no event of these tasks is missed while Redis is there. */
  static async open(options: FollowOptions): Promise<TaskFollower> {
    const { redis, prefix, landing } = options;
    const events = new QueueEvents(TASK_QUEUE, { connection: redis, prefix });
    // Redis being away for a while is seen by the connection itself; events go on when it is back.
    events.on('error', () => undefined);
    await events.waitUntilReady();
    if (landing === undefined) return new TaskFollower(options, events, null);
    const onNews = (taskId: string, news: LandingNews) => options.onLanding?.(taskId, news);
    return new TaskFollower(options, events, await LandingFollower.open({ ...landing, events: redis, prefix, onNews }));
  }

  get pending(): readonly string[] {
    return [...this.#pending];
  }

  /** Those of them that wait for nothing but a landing which a person has to let through. */
  get held(): ReadonlySet<string> {
    return this.#landings?.held ?? new Set();
  }

  /**
   * Resolves when every task has its outcome, or when `signal` is aborted. When all that is left waits for landings
   * that a person has to let through, that is told as their outcome.
   */
  async untilAllEnded(signal: AbortSignal): Promise<void> {
    const ended = new Promise<void>(resolve => {
      this.#finish = resolve;
      signal.addEventListener('abort', () => resolve(), { once: true });
    });
    const look = ({ jobId }: { jobId: string }) => void this.#check(jobId);
    this.#landings?.onEnded(taskId => void this.#check(taskId));
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
    // Redis away: the next look tells.
    await this.#landings?.look().catch(() => undefined);
    if (this.#pending.size > 0 && this.pending.every(id => this.held.has(id))) this.leaveLandings();
  }

  /** Waits for no landing any more: tells how those stand that have none yet. */
  leaveLandings(): void {
    for (const [id, result] of this.#landings?.unlanded() ?? []) this.#tellOutcome(id, result);
  }

  async close(): Promise<void> {
    await this.#landings?.close();
    this.#events.removeAllListeners();
    this.#events.on('error', () => undefined);
    await this.#events.close();
  }

  async #check(id: string): Promise<void> {
    if (!this.#pending.has(id)) return;
    // Redis away: the next look tells. Two looks at once are fine, and the later one may see more.
    const stored = await readJob(this.#queue, id).catch(() => undefined);
    if (stored === undefined || !this.#pending.has(id)) return;
    if (stored !== null && !hasEnded(stored)) return this.#landings?.goesOn(id, stored.data ?? {});
    const ended = await this.#endOf(id, stored).catch(() => null);
    if (ended !== null) this.#tellOutcome(id, ended);
  }

  /** Null while the task waits for its landing. @throws the error of Redis */
  async #endOf(id: string, stored: StoredJob | null): Promise<AttemptResult | null> {
    const landings = this.#landings;
    if (stored === null) return landings === null ? goneResult(id) : landings.gone(id, goneResult(id));
    const result = endResult(stored);
    return landings === null ? result : landings.ended(id, result, stored.data?.returned);
  }

  #tellOutcome(id: string, result: AttemptResult): void {
    if (!this.#pending.delete(id)) return;
    this.#handlers.onOutcome(id, result);
    if (this.#pending.size === 0) this.#finish();
  }

  async #tellDelay(id: string): Promise<void> {
    if (!this.#pending.has(id)) return;
    const stored = await readJob(this.#queue, id).catch(() => null);
    // Read too late, it would tell of the attempt after.
    if (stored === null || stored.data === null || hasEnded(stored) || !this.#pending.has(id)) return;
    const { waits } = stored.data;
    const last = lastOfRound(stored.data);
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
