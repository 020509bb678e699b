/**
 * The bridge between a task source and the queue: puts what is ready on the queue, once, and writes back what becomes
 * of it. All it knows stands in the ledger and on the queue, so it may be killed at any moment, and any number of
 * bridges to one source may work at once.
 */
import type { Redis } from 'ioredis';
import { CellpoolError, InvalidInput } from '../../errors.ts';
import type { LandingQueue } from '../../job/landing.ts';
import { taskIdFault } from '../../job/names.ts';
import type { TaskQueue } from '../../job/queue.ts';
import { hasEnded, readJob } from '../../job/stored-job.ts';
import { inRedis } from '../../redis/redis-away.ts';
import { type LedgerEntry, SourceLedger } from '../../redis/source-ledger.ts';
import { cancelTasks } from '../cancel.ts';
import type { EnqueueContext, Producer } from '../producer.ts';
import type { PlacedTask } from '../tasks-file.ts';
import { Discovery, type DiscoveryOptions, isBegun, nextName } from './discovery.ts';
import { type CloseOn, duesOf } from './due.ts';
import { type StoredNote, type Stuck, writeBack } from './outbox.ts';
import { readSeen } from './read-seen.ts';
import type { Note, Written } from './task-source.ts';

export interface BridgeOptions extends Omit<DiscoveryOptions, 'ledger'> {
  /** A connection in the producer's role; it stays the caller's. */
  redis: Redis;
  prefix: string;
  queue: TaskQueue;
  /** Where items are closed when they have landed; left out: what is committed waits for that without end. */
  landings?: LandingQueue | undefined;
  producer: Producer;
  context: EnqueueContext;
  closeOn: CloseOn;
  /** Milliseconds for which a note is tried that the source does not take, while it answers otherwise. */
  patienceMs?: number;
  onQueued(item: string, taskId: string): void;
  onWritten(note: Note, written: Written): void;
  /** A note was not taken, while the source answered otherwise; it is tried again. */
  onStuck(note: Note, error: CellpoolError): void;
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

/** What writing back came to. */
export interface WroteBack {
  /** An item was closed or released, so that others may be ready now. */
  freed: boolean;
  /** Milliseconds after which to try again, when not all could be written; null: all was. */
  againMs: number | null;
}

/** After these notes the item is as far from being worked by somebody else as before. */
const STAYS_TAKEN: ReadonlySet<string> = new Set(['claim', 'attempt', 'awaiting-landing']);
/** Another bridge that is writing may be one that has just died. */
const TURN_MS = 2_000;
/** Something may hold a lock on the item, or somebody be editing it. */
const STUCK_MS = 30_000;
/** For how long a note is tried in vain, while its source answers otherwise, until it counts as refused. */
const PATIENCE_MS = 15 * 60_000;

export class Bridge {
  readonly #options: BridgeOptions;
  readonly #ledger: SourceLedger;
  readonly #discovery: Discovery;
  #stuck: Stuck[] = [];

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
      const queued = await this.#queueReady(signal);
      // The source has answered, so what it could not take just now is a matter of these notes.
      for (const stuck of this.#stuck) await this.#triedInVain(stuck);
      const [live, waiting] = await Promise.all([this.#ledger.live(), this.#ledger.waiting()]);
      const open = live.filter(entry => entry.queued && entry.settledAt === null).length;
      return { queued, faulty: this.#discovery.faulty.size, open, waiting };
    });
  }

  /** What would be put on the queue now. Nothing is written anywhere. @throws as `look` */
  async wouldQueue(signal: AbortSignal): Promise<{ tasks: PlacedTask[]; faulty: number }> {
    return withRedis(async () => {
      const tasks: PlacedTask[] = [];
      for await (const { placed, entry, item } of this.#discovery.wanted(signal)) {
        tasks.push({ ...placed, task: { ...placed.task, id: nextName(item, entry) } });
      }
      return { tasks, faulty: this.#discovery.faulty.size };
    });
  }

  /** Notes what has happened since the last look, and writes back what waits. @throws as `look` */
  async writeBack(signal: AbortSignal): Promise<WroteBack> {
    return withRedis(async () => {
      let freed = false;
      for (const entry of await this.#ledger.live()) await this.#note(entry);
      const { source, insisted } = this.#options;
      const stuck = await writeBack({
        ledger: this.#ledger,
        source,
        signal,
        insisted,
        onWritten: (note, written) => {
          freed ||= !STAYS_TAKEN.has(note.kind);
          return this.#written(note, written);
        },
      });
      this.#stuck = stuck ?? [];
      for (const entry of await this.#ledger.live()) await this.#settle(entry);
      const againMs = stuck === null ? TURN_MS : stuck.length > 0 ? STUCK_MS : null;
      return { freed, againMs };
    });
  }

  async #note(entry: LedgerEntry): Promise<void> {
    const { item, taskId, generation } = entry;
    const job = await readSeen(this.#options, taskId);
    // Somebody may have retried what is not ours to work.
    if (entry.lost !== null) {
      if (job !== null && job.endedAt === null) await this.#cancel(taskId);
      return;
    }
    if (!entry.queued) {
      // Whoever put it on the queue may have died before it could say so.
      if (job === null) return;
      await this.#ledger.queued(entry);
    }
    for (const { key, news } of duesOf(entry, job, this.#options.closeOn).due) {
      const note: StoredNote = { ...news, item, taskId, key, generation };
      await this.#ledger.put(entry, key, JSON.stringify(note));
    }
  }

  /** An item that somebody else has is not to be worked by us. */
  async #written(note: StoredNote, written: Written): Promise<void> {
    this.#options.onWritten(note, written);
    if (note.kind !== 'claim' || (written.how !== 'lost' && written.how !== 'refused')) return;
    await this.#ledger.lost(note, written.reason);
    await this.#cancel(note.taskId);
  }

  async #cancel(taskId: string): Promise<void> {
    const { redis, prefix } = this.#options;
    await cancelTasks({ redis, prefix }, [taskId], { waitMs: 0 });
  }

  async #triedInVain({ note, text, error }: Stuck): Promise<void> {
    this.#options.onStuck(note, error);
    if ((await this.#ledger.stuck(note)) < (this.#options.patienceMs ?? PATIENCE_MS)) return;
    const written: Written = { how: 'refused', reason: `given up: ${error.message}` };
    await this.#written(note, written);
    await this.#ledger.written(note, note.key, text, written.how);
  }

  async #settle(entry: LedgerEntry): Promise<void> {
    if (!entry.queued || [...entry.notes.values()].includes('waits')) return;
    const job = await readSeen(this.#options, entry.taskId);
    // It was settled before; only that its job is forgotten by now would change anything.
    if (entry.settledAt !== null && job !== null) return;
    if (entry.lost !== null) {
      if (job === null || job.endedAt !== null) await this.#ledger.settle(entry, 'lost', job === null);
      return;
    }
    const { due, end } = duesOf(entry, job, this.#options.closeOn);
    if (end === null || due.length > 0) return;
    // A task that did not end well may be retried for as long as its job is kept, and a landing may still come.
    await this.#ledger.settle(entry, end, end === 'done' || job === null);
  }

  async #queueReady(signal: AbortSignal): Promise<number> {
    const { producer, context, onQueued } = this.#options;
    let queued = 0;
    for await (const { item, entry, placed } of this.#discovery.wanted(signal)) {
      try {
        const begun = await this.#begin(item, entry);
        if (begun === null) continue;
        const tasks = [{ ...placed, task: { ...placed.task, id: begun.taskId } }];
        const [done] = await producer.enqueue(tasks, context);
        await this.#ledger.queued({ item, generation: begun.generation });
        if (done?.how !== 'queued') continue;
        queued += 1;
        onQueued(item, begun.taskId);
      } catch (error) {
        // Its id may be taken by a task of another repository: that is a fault of this item alone.
        if (!(error instanceof InvalidInput)) throw error;
        this.#discovery.tellFaults(item, error.faults);
      }
    }
    return queued;
  }

  /** One generation an item, and of each the task that was named first; null when another bridge has just begun it. */
  async #begin(item: string, entry: LedgerEntry | null): Promise<{ generation: number; taskId: string } | null> {
    if (entry !== null && isBegun(entry)) return entry;
    const { queue } = this.#options;
    const name = nextName(item, entry);
    // Another source on the same Redis may call its items the same.
    const taken = await readJob(queue, name);
    const taskId = taken === null ? name : `${name}-${this.#ledger.mark.slice(0, 6)}`;
    const fault = taskIdFault(taskId);
    if (fault !== null) throw new InvalidInput([{ where: item, what: `cannot become a task: its id ${fault}` }]);
    const seen = entry?.generation ?? 0;
    if (!(await this.#ledger.begin(item, seen, taskId))) return null;
    // The task of the generation before may not be retried beside this one.
    if (entry !== null) await this.#forget(entry.taskId);
    return { generation: seen + 1, taskId };
  }

  async #forget(taskId: string): Promise<void> {
    const { queue } = this.#options;
    const stored = await readJob(queue, taskId);
    if (stored !== null && hasEnded(stored)) await queue.remove(taskId);
  }
}

function withRedis<T>(work: () => Promise<T>): Promise<T> {
  return inRedis('Redis went away', 'What was not done is done by the next look.', work);
}

/** Whether an error means that the source, Redis or the repository does not answer for now. */
export function isAway(error: unknown): error is CellpoolError {
  return (
    error instanceof CellpoolError && ['SOURCE_UNAVAILABLE', 'REDIS_UNAVAILABLE', 'GIT_FAILED'].includes(error.code)
  );
}
