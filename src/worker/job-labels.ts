/**
 * The labels that a task asks for, as its worker meets them. A worker that lacks some sets the task aside, out of the way
 * of those behind it, and one that has them calls it back as soon as it has room. Nobody need watch what is set aside:
 * it comes back by itself now and then, for the case that nobody has called it.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { lackingLabels } from '../config.ts';
import { messageOf } from '../errors.ts';
import type { TaskJob } from '../job/job.ts';
import type { TaskQueue } from '../job/queue.ts';
import type { Logger } from '../observe/logger.ts';
import type { SetAside } from '../redis/set-aside.ts';
import type { WorkerEntry, WorkerList } from '../redis/worker-list.ts';

/** The code of a task that waits for a worker with its labels. */
export const LABELS_MISSING = 'LABELS_MISSING';
/** Until a task comes back by itself at first, and at the most. */
const COME_BACK_MS = 60_000;
const COME_BACK_MAX_MS = 600_000;
/**
 * How long a worker stands back from the line when it has set the same task aside a second time within `LATELY_MS`.
 * Without that it would be at the head of it when the task is called, before those that wait there, and take it again
 * and again.
 */
const STAND_BACK_MS = 100;
const LATELY_MS = 1_000;
const LATELY_MAX = 1_000;
/** For so long it is known who has which labels. */
const KNOWN_MS = 5_000;
/** Workers that one message names. */
const NAMES_MAX = 3;

/** Why a task is set aside, and for how many milliseconds. */
export interface Lacking {
  wait: { reason: string; code: string };
  afterMs: number;
}

export interface JobLabelsOptions {
  /** Those of this worker. */
  labels: readonly string[];
  aside: SetAside;
  workers: Pick<WorkerList, 'list'>;
  queue: TaskQueue;
  log: Logger;
  /** Told that a task was set aside, which another worker may have been waiting for. */
  onSetAside(): void;
}

export class JobLabels {
  readonly #options: JobLabelsOptions;
  /** When it set aside which task, the latest last. */
  readonly #lately = new Map<string, number>();
  #known: { at: number; workers: Promise<WorkerEntry[]> } | null = null;

  constructor(options: JobLabelsOptions) {
    this.#options = options;
  }

  /** null: this worker may work on the task. */
  async ask({ task, waits }: Pick<TaskJob, 'task' | 'waits'>): Promise<Lacking | null> {
    const { labels = [] } = task;
    if (lackingLabels(labels, this.#options.labels).length === 0) return null;
    const others = (await this.#workers()).filter(one => lackingLabels(labels, one.labels).length === 0);
    // Who has waited for long can wait a little longer: thousands that nobody can do must not keep the workers busy.
    const waitedMs = waits?.code === LABELS_MISSING ? Date.now() - waits.since : 0;
    const afterMs = Math.max(COME_BACK_MS, Math.min(waitedMs, COME_BACK_MAX_MS));
    return { wait: { reason: reasonFor(labels, others), code: LABELS_MISSING }, afterMs };
  }

  /** The task was put back to wait: now it can be called. Takes 100 ms when that happens again and again. Without the note it comes back by itself all the same. */
  async setAside({ id, labels = [], priority = 0 }: TaskJob['task'], enqueuedAt: number): Promise<void> {
    const { aside, log, onSetAside } = this.#options;
    try {
      await aside.note({ taskId: id, labels, priority, enqueuedAt });
      onSetAside();
    } catch (error) {
      log.warn({ task: id, problem: messageOf(error) }, 'a task was set aside, and nobody can call it for a while');
    }
    if (this.#setAsideLately(id)) await sleep(STAND_BACK_MS);
  }

  /** Queues tasks that were set aside and that this worker can do, `room` of them at most. Never throws. */
  async call(room: number): Promise<void> {
    const { aside, queue, labels, log } = this.#options;
    try {
      const called = await aside.call(queue, labels, room);
      if (called > 0) log.info({ called }, 'tasks that ask for labels of this worker are queued');
    } catch (error) {
      // They come back by themselves.
      log.warn({ problem: messageOf(error) }, 'tasks that ask for labels of this worker could not be called');
    }
  }

  /** Whether this worker did that with the same task a moment ago; from now on it has. */
  #setAsideLately(id: string): boolean {
    const now = performance.now();
    const before = this.#lately.get(id) ?? Number.NEGATIVE_INFINITY;
    this.#lately.delete(id);
    this.#lately.set(id, now);
    const [oldest] = this.#lately.keys();
    if (this.#lately.size > LATELY_MAX && oldest !== undefined) this.#lately.delete(oldest);
    return now - before < LATELY_MS;
  }

  #workers(): Promise<WorkerEntry[]> {
    const now = performance.now();
    if (this.#known === null || now - this.#known.at > KNOWN_MS) {
      // Only to be told to people: a list that cannot be had now is no reason not to set the task aside.
      this.#known = { at: now, workers: this.#options.workers.list().catch(() => []) };
    }
    return this.#known.workers;
  }
}

function reasonFor(labels: readonly string[], others: readonly WorkerEntry[]): string {
  const names = `the label${labels.length === 1 ? '' : 's'} ${labels.join(', ')}`;
  if (others.length === 0) return `no worker has ${names}`;
  const hosts = [...new Set(others.map(({ host }) => host))].sort();
  const more = hosts.length > NAMES_MAX ? ` and ${hosts.length - NAMES_MAX} more` : '';
  return `it asks for a worker with ${names}, as on ${hosts.slice(0, NAMES_MAX).join(', ')}${more}`;
}
