/**
 * How the tasks stand that others depend on, and who waits for them. A worker that finds one open enters its task with
 * it, and whoever brings about an end (a worker, or a person who cancels) sends on what is entered there.
 *
 * BullMQ forgets ended jobs when there are too many, so how a task ended is kept beside its job while others may ask.
 */
import type { Redis } from 'ioredis';
import { DEFAULTS } from '../config.ts';
import { endedWell, OUTCOMES, type Outcome } from '../job/outcome.ts';
import type { TaskQueue } from '../job/queue.ts';
import { KEEP, LOOK, WELL } from './dependency-scripts.ts';
import { DEFAULT_PREFIX, endedKeys, taskKeys } from './keys.ts';
import { queueFirst } from './queue-first.ts';
import { Script } from './script.ts';

/** As long as an ended job is usually kept itself; counted from the last time that somebody asked. */
const KEEP_MS = DEFAULTS.retention.jobDays * 24 * 3_600_000;
/** Longer than any task waits before it looks again, and is entered anew. */
const ENTRY_MS = 3_600_000;
/** Tasks in one script: Redis serves nobody else meanwhile. */
const CHUNK = 200;

const keep = new Script(KEEP);
const look = new Script(LOOK);

export interface Standing {
  taskId: string;
  /** `gone`: there is no such job, and nobody knows how it ended. */
  state: 'well' | 'open' | 'failed' | 'gone';
  /** How it ended, when that is known beside the job. */
  outcome: Outcome | null;
}

export class Dependencies {
  readonly #redis: Redis;
  readonly #prefix: string;

  /** The client stays the caller's. */
  constructor(redis: Redis, { prefix = DEFAULT_PREFIX }: { prefix?: string } = {}) {
    this.#redis = redis;
    this.#prefix = prefix;
  }

  /** From now on it is kept how these tasks end. Call it before a task that depends on them is on the queue. */
  async keep(taskIds: readonly string[]): Promise<void> {
    const { completed } = endedKeys(this.#prefix);
    for (let from = 0; from < taskIds.length; from += CHUNK) {
      const ids = taskIds.slice(from, from + CHUNK);
      const outcomes = ids.map(id => taskKeys(this.#prefix, id).outcome);
      await keep.run(this.#redis, [completed, ...outcomes], [KEEP_MS, ...ids]);
    }
  }

  /** Which of these somebody has depended on lately. */
  async kept(taskIds: readonly string[]): Promise<string[]> {
    const kept: string[] = [];
    for (let from = 0; from < taskIds.length; from += CHUNK) {
      const ids = taskIds.slice(from, from + CHUNK);
      const values = await this.#redis.mget(ids.map(id => taskKeys(this.#prefix, id).outcome));
      kept.push(...ids.filter((_, index) => values[index] !== null));
    }
    return kept;
  }

  /** How each of the tasks stands. A task that is to `wait` is entered with those that are open. */
  async look(taskIds: readonly string[], { wait = '' }: { wait?: string } = {}): Promise<Standing[]> {
    if (taskIds.length === 0) return [];
    const { completed, failed } = endedKeys(this.#prefix);
    const keys = taskIds.flatMap(id => {
      const { job, outcome, dependents } = taskKeys(this.#prefix, id);
      return [job, outcome, dependents];
    });
    const args = [wait, KEEP_MS, ENTRY_MS, ...taskIds];
    const found = (await look.run(this.#redis, [completed, failed, ...keys], args)) as string[];
    return taskIds.map((taskId, index) => ({ taskId, ...standingOf(found[index] ?? '') }));
  }

  /**
   * Queues what waits for the end of this task, in its old order and before all others: it has waited in line once.
   * Harmless for one that waits for something else by now, as it looks again. Returns how many were queued.
   */
  async release(queue: TaskQueue, taskId: string): Promise<number> {
    const { dependents } = taskKeys(this.#prefix, taskId);
    let released = 0;
    for (;;) {
      // The last comes first, since each is put before those that were queued before it.
      const popped = await this.#redis.zpopmax(dependents, CHUNK);
      const ids = popped.filter((_, index) => index % 2 === 0);
      if (ids.length === 0) return released;
      const moved = await Promise.all(ids.map(id => this.queueFirst(queue, id)));
      released += moved.filter(done => done).length;
    }
  }

  /** Queues a delayed task before all others of its priority; false when it is not delayed. */
  queueFirst(queue: TaskQueue, taskId: string): Promise<boolean> {
    return queueFirst(this.#redis, this.#prefix, queue, taskId);
  }
}

function standingOf(found: string): Omit<Standing, 'taskId'> {
  const [state, word] = found.split(' ');
  const outcome = OUTCOMES.find(one => one === word) ?? null;
  if (state === 'completed') return { state: 'well', outcome };
  if (state === 'failed') return { state: 'failed', outcome };
  if (state === 'open') return { state: 'open', outcome: null };
  if (word === WELL || (outcome !== null && endedWell(outcome))) return { state: 'well', outcome };
  return { state: outcome === null ? 'gone' : 'failed', outcome };
}
