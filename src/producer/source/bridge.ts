/**
 * The bridge between a task source and the queue: puts what is ready on the queue, once, and writes back what becomes
 * of it. All it knows stands in the ledger and on the queue, so it may be killed at any moment, and any number of
 * bridges to one source may work at once.
 */
import type { Redis } from 'ioredis';
import { CellpoolError } from '../../errors.ts';
import type { TaskQueue } from '../../job/queue.ts';
import { hasEnded, readJob } from '../../job/stored-job.ts';
import { type LedgerEntry, SourceLedger } from '../../redis/source-ledger.ts';
import { cancelTasks } from '../cancel.ts';
import type { EnqueueContext, Producer } from '../producer.ts';
import { unavailable } from '../redis-away.ts';
import type { PlacedTask } from '../tasks-file.ts';
import { Discovery, type DiscoveryOptions, isBegun, nextName } from './discovery.ts';
import { type CloseOn, duesOf, type JobSeen } from './due.ts';
import { writeBack } from './outbox.ts';
import type { Note, Written } from './task-source.ts';

export interface BridgeOptions extends Omit<DiscoveryOptions, 'ledger'> {
  /** A connection in the producer's role; it stays the caller's. */
  redis: Redis;
  prefix: string;
  queue: TaskQueue;
  producer: Producer;
  context: EnqueueContext;
  closeOn: CloseOn;
  onQueued(item: string, taskId: string): void;
  onWritten(note: Note, written: Written): void;
}

/** What a look came to. */
export interface Looked {
  queued: number;
  /** Items that cannot be worked as they are written. */
  faulty: number;
  /** Tasks of the source that have not ended, or whose end was not written back yet. */
  open: number;
  /** Notes that the source has not taken yet. */
  waiting: number;
}

/** After these notes the item is as far from being worked by somebody else as before. */
const STAYS_TAKEN: ReadonlySet<string> = new Set(['claim', 'attempt', 'awaiting-landing']);

export class Bridge {
  readonly #options: BridgeOptions;
  readonly #ledger: SourceLedger;
  readonly #discovery: Discovery;

  constructor(options: BridgeOptions) {
    this.#options = options;
    const { redis, prefix, source } = options;
    this.#ledger = new SourceLedger(redis, { prefix, identity: source.identity });
    this.#discovery = new Discovery({ ...options, ledger: this.#ledger });
  }

  /**
   * Writes back what has happened, then puts on the queue what is ready; `signal` ends it after what is being done.
   * @throws {CellpoolError} SOURCE_UNAVAILABLE, REDIS_UNAVAILABLE; whatever was not done is done by the next look
   */
  async look(signal: AbortSignal): Promise<Looked> {
    await this.writeBack(signal);
    return withRedis(async () => {
      const { queued, faulty } = await this.#queueReady(signal);
      const [live, waiting] = await Promise.all([this.#ledger.live(), this.#ledger.waiting()]);
      return { queued, faulty, open: live.filter(({ settledAt }) => settledAt === null).length, waiting };
    });
  }

  /** What would be put on the queue now. Nothing is written anywhere. @throws as `look` */
  async wouldQueue(): Promise<{ tasks: PlacedTask[]; faulty: number }> {
    const { wanted, faulty } = await withRedis(() => this.#discovery.wanted());
    const tasks = wanted.map(({ placed, entry, item }) => ({
      ...placed,
      task: { ...placed.task, id: nextName(item, entry) },
    }));
    return { tasks, faulty };
  }

  /**
   * Notes what has happened since the last look, and writes back what waits. Returns whether an item was closed or
   * released, so that others may be ready now. @throws as `look`
   */
  async writeBack(signal: AbortSignal): Promise<boolean> {
    return withRedis(() => this.#writeBack(signal));
  }

  async #writeBack(signal: AbortSignal): Promise<boolean> {
    let freed = false;
    for (const entry of await this.#ledger.live()) await this.#note(entry);
    await writeBack({
      ledger: this.#ledger,
      source: this.#options.source,
      signal,
      insisted: this.#options.insisted,
      onWritten: (note, written) => {
        freed ||= !STAYS_TAKEN.has(note.kind);
        return this.#written(note, written);
      },
    });
    for (const entry of await this.#ledger.live()) await this.#settle(entry);
    return freed;
  }

  async #note(entry: LedgerEntry): Promise<void> {
    if (entry.lost !== null) return;
    const { item, taskId } = entry;
    const job = await this.#job(taskId);
    if (!entry.queued) {
      // Whoever put it on the queue may have died before it could say so.
      if (job === null) return;
      await this.#ledger.queued(entry);
    }
    const { due } = duesOf(entry, job, this.#options.closeOn);
    for (const { key, news } of due) {
      const note: Note & { generation: number } = { ...news, item, taskId, key, generation: entry.generation };
      await this.#ledger.put(entry, key, JSON.stringify(note));
    }
  }

  /** An item that somebody else has is not to be worked by us. */
  async #written(note: Note & { generation: number }, written: Written): Promise<void> {
    this.#options.onWritten(note, written);
    const isGone = note.kind === 'claim' && (written.how === 'lost' || written.how === 'refused');
    if (!isGone) return;
    await this.#ledger.lost(note, written.reason);
    const { redis, prefix } = this.#options;
    await cancelTasks({ redis, prefix }, [note.taskId], { waitMs: 0 });
  }

  async #settle(entry: LedgerEntry): Promise<void> {
    if (!entry.queued || [...entry.notes.values()].includes('waits')) return;
    const job = await this.#job(entry.taskId);
    if (entry.lost !== null) {
      if (job === null || job.ended) await this.#ledger.settle(entry, 'lost', true);
      return;
    }
    // It was settled before; only that its job is forgotten by now would change anything.
    if (entry.settledAt !== null && job !== null) return;
    const { due, end } = duesOf(entry, job, this.#options.closeOn);
    if (end === null || due.length > 0 || end === 'awaiting-landing') return;
    // A task that did not end well may be retried for as long as its job is kept.
    await this.#ledger.settle(entry, end, end === 'done' || job === null);
  }

  async #job(taskId: string): Promise<JobSeen | null> {
    const stored = await readJob(this.#options.queue, taskId);
    if (stored === null) return null;
    const results = stored.data?.results ?? (stored.result === null ? [] : [stored.result]);
    const ended = hasEnded(stored);
    return { begun: ended || stored.state === 'active' || results.length > 0, ended, results, fault: stored.fault };
  }

  async #queueReady(signal: AbortSignal): Promise<{ queued: number; faulty: number }> {
    const { wanted, faulty } = await this.#discovery.wanted();
    const { producer, context, onQueued } = this.#options;
    let queued = 0;
    for (const { item, entry, placed } of wanted) {
      if (signal.aborted) break;
      const begun = await this.#begin(item, entry);
      const tasks = [{ ...placed, task: { ...placed.task, id: begun.taskId } }];
      const [done] = await producer.enqueue(tasks, context);
      await this.#ledger.queued({ item, generation: begun.generation });
      if (done?.how !== 'queued') continue;
      queued += 1;
      onQueued(item, begun.taskId);
    }
    return { queued, faulty };
  }

  /** One generation an item, and of each the task that was named first. */
  async #begin(item: string, entry: LedgerEntry | null): Promise<{ generation: number; taskId: string }> {
    if (entry !== null && isBegun(entry)) return entry;
    const name = nextName(item, entry);
    // Another source on the same Redis may call its items the same.
    const taken = await readJob(this.#options.queue, name);
    const taskId = taken === null ? name : `${name}-${this.#ledger.mark.slice(0, 6)}`;
    return this.#ledger.begin(item, entry?.generation ?? 0, taskId);
  }
}

async function withRedis<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw unavailable(error, 'Redis went away', 'What was not done is done by the next look.');
  }
}

/** Whether an error means that the source or Redis is away for now. */
export function isAway(error: unknown): error is CellpoolError {
  return error instanceof CellpoolError && ['SOURCE_UNAVAILABLE', 'REDIS_UNAVAILABLE'].includes(error.code);
}
