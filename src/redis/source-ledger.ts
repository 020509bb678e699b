/**
 * The ledger of a task source: which of its items became which task, and what was written back of each. It makes one
 * task of one item, however many bridges look and whenever one of them dies, and it holds the outbox: notes that wait
 * until the source has taken them.
 *
 * An item that is worked again after all was told of it (somebody has reopened it) is a new generation, with a task
 * of its own.
 */
import { createHash, randomBytes } from 'node:crypto';
import type { Redis } from 'ioredis';
import { taskIdFault } from '../job/names.ts';
import { DEFAULT_PREFIX, poolKey, type SourceKeys, sourceKeys } from './keys.ts';
import { Script } from './script.ts';
import { BEGIN, PUT, SET, SETTLE, STUCK, WRITTEN } from './source-ledger-scripts.ts';
import { inTurn } from './turn.ts';

const begin = new Script(BEGIN);
const set = new Script(SET);
const put = new Script(PUT);
const written = new Script(WRITTEN);
const settle = new Script(SETTLE);
const stuck = new Script(STUCK);

/** An item that is forgotten would begin at its first generation again, and take the branch of back then. */
const KEEP_MS = 180 * 86_400_000;

/** Items that are done and still listed; older ones are known by their names alone. */
const RECENT = 200;

/** What becomes of a note: it waits in the outbox, or what the source said to it. */
export type NoteState = 'waits' | 'written' | 'known' | 'lost' | 'refused';

export interface LedgerEntry {
  item: string;
  /** From 1. */
  generation: number;
  taskId: string;
  /** Whether its task is known to have been put on the queue. */
  queued: boolean;
  /** Why the task is not to be worked: somebody else has the item. Null otherwise. */
  lost: string | null;
  /** Epoch ms, by the clock of Redis, since when all that is known was told; null while it is not. */
  settledAt: number | null;
  notes: ReadonlyMap<string, NoteState>;
}

export class SourceLedger {
  /** Short, for ids that must tell sources apart. */
  readonly mark: string;
  readonly #redis: Redis;
  readonly #keys: SourceKeys;

  /** The client stays the caller's. `identity` is that of the source. */
  constructor(redis: Redis, { prefix = DEFAULT_PREFIX, identity }: { prefix?: string; identity: string }) {
    this.#redis = redis;
    this.mark = createHash('sha256').update(identity).digest('hex').slice(0, 12);
    this.#keys = sourceKeys(prefix, this.mark);
  }

  /** Epoch ms by the clock of Redis, which is the one that `settledAt` goes by. */
  async now(): Promise<number> {
    const [seconds, micros] = (await this.#redis.time()).map(Number);
    return (seconds ?? 0) * 1_000 + Math.floor((micros ?? 0) / 1_000);
  }

  /** Items whose tasks may still have news. */
  async live(): Promise<LedgerEntry[]> {
    // Whoever can write to Redis can write names.
    const items = (await this.#redis.smembers(this.#keys.live)).filter(item => taskIdFault(item) === null).sort();
    return [...(await this.read(items)).values()];
  }

  /** Items whose tasks have no more news, the latest first, `most` of them at the most. */
  async recent(most: number): Promise<LedgerEntry[]> {
    const found = await this.#redis.zrevrange(this.#keys.recent, '0', String(most - 1));
    const items = found.filter(item => taskIdFault(item) === null);
    return [...(await this.read(items)).values()];
  }

  /** What is known of these items, by their names; what was never begun is left out. */
  async read(items: readonly string[]): Promise<Map<string, LedgerEntry>> {
    const found = await Promise.all(items.map(item => this.#redis.hgetall(this.#keys.item(item))));
    const entries = items.flatMap((item, at) => entryOf(item, found[at] ?? {}) ?? []);
    return new Map(entries.map(entry => [entry.item, entry]));
  }

  /**
   * Begins the generation after `seen` (0: there was none) with this task id. False when somebody else was faster: then
   * it is theirs to put on the queue, and anybody's at the next look.
   */
  async begin(item: string, seen: number, taskId: string): Promise<boolean> {
    const keys = [this.#keys.item(item), this.#keys.live, this.#keys.recent];
    const [, , begun] = (await begin.run(this.#redis, keys, [seen, taskId, item])) as [string, string, number];
    return begun === 1;
  }

  /** The task of this generation is on the queue: when its job is gone one day, somebody has taken it away. */
  async queued({ item, generation }: Pick<LedgerEntry, 'item' | 'generation'>): Promise<void> {
    await set.run(this.#redis, [this.#keys.item(item)], [generation, 'queued', '1']);
  }

  async lost({ item, generation }: Pick<LedgerEntry, 'item' | 'generation'>, reason: string): Promise<void> {
    await set.run(this.#redis, [this.#keys.item(item)], [generation, 'lost', reason]);
  }

  /** Puts a note into the outbox, once for each key of a generation; false when it was there before. */
  async put({ item, generation }: Pick<LedgerEntry, 'item' | 'generation'>, key: string, note: string) {
    const keys = [this.#keys.item(item), this.#keys.outbox];
    return (await put.run(this.#redis, keys, [generation, key, note])) === 1;
  }

  /** Notes that wait, oldest first. */
  async outbox(): Promise<string[]> {
    return this.#redis.lrange(this.#keys.outbox, 0, -1);
  }

  async waiting(): Promise<number> {
    return this.#redis.llen(this.#keys.outbox);
  }

  /** Takes a note off the outbox: the source has said `how` to it. */
  async written(
    { item, generation }: Pick<LedgerEntry, 'item' | 'generation'>,
    key: string,
    note: string,
    how: Exclude<NoteState, 'waits'>,
  ): Promise<void> {
    await written.run(this.#redis, [this.#keys.item(item), this.#keys.outbox], [generation, key, note, how]);
  }

  /** The item's first note was not taken; returns for how many milliseconds that has been so. */
  async stuck({ item, generation }: Pick<LedgerEntry, 'item' | 'generation'>): Promise<number> {
    return Number(await stuck.run(this.#redis, [this.#keys.item(item)], [generation]));
  }

  /** Drops a note that nobody understands. */
  async drop(note: string): Promise<void> {
    await this.#redis.lrem(this.#keys.outbox, 1, note);
  }

  /** All that there is to tell was told. `forGood`: the task has no more news whatever anybody does with its job. */
  async settle({ item, generation }: Pick<LedgerEntry, 'item' | 'generation'>, how: string, forGood: boolean) {
    const keys = [this.#keys.item(item), this.#keys.live, this.#keys.recent];
    await settle.run(this.#redis, keys, [generation, item, how, KEEP_MS, forGood ? '1' : '0', RECENT]);
  }

  /** Runs `work` when no other bridge writes back just now; null when one does. See `inTurn`. */
  inTurn<T>(work: (over: AbortSignal) => Promise<T>): Promise<{ result: T } | null> {
    return inTurn(this.#redis, this.#keys.turn, work);
  }
}

const STATES: ReadonlySet<string> = new Set(['waits', 'written', 'known', 'lost', 'refused']);

function entryOf(item: string, fields: Record<string, string>): LedgerEntry | null {
  const { generation, taskId, queued, lost, settledAt } = fields;
  if (generation === undefined || taskId === undefined) return null;
  const notes = Object.entries(fields)
    .filter(([name, state]) => name.startsWith('note:') && STATES.has(state))
    .map(([name, state]) => [name.slice('note:'.length), state as NoteState] as const);
  return {
    item,
    generation: Number(generation),
    taskId,
    queued: queued === '1',
    lost: lost ?? null,
    settledAt: settledAt === undefined ? null : Number(settledAt),
    notes: new Map(notes),
  };
}

/** A short name of the pool that this Redis and prefix are: made at first, and the same from then on. */
export async function poolId(redis: Redis, prefix: string = DEFAULT_PREFIX): Promise<string> {
  const key = poolKey(prefix);
  await redis.set(key, randomBytes(3).toString('hex'), 'NX');
  const id = await redis.get(key);
  return id !== null && /^[a-z0-9]{1,32}$/i.test(id) ? id : 'pool';
}
