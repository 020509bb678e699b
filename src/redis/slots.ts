/**
 * Slots: how many cells may live at once, on all hosts together and on each. A worker leases a slot before it begins a
 * cell and releases it when the cell is torn down; every second it says which it has. That call enters what Redis has
 * lost, over the cap if need be, for those cells live. A slot of a worker that is proven dead is released by the reaper of
 * its host; that of a host which is gone runs out.
 *
 * After Redis was started anew no slot is granted for 10 s where there is a cap: it may have lost its last second, and
 * whoever has a cell has stopped it or entered it again by then.
 */
import type { Redis } from 'ioredis';
import { z } from 'zod';
import { InvalidInput } from '../errors.ts';
import { taskIdFault } from '../job/names.ts';
import { workerSchema } from './cell-record.ts';
import type { Call } from './chain.ts';
import { type LineKeys, lineKeys, slotKeys } from './fleet-keys.ts';
import { DEFAULT_PREFIX } from './keys.ts';
import { Script } from './script.ts';
import { ACQUIRE, KEEP, LIST, RELEASE, SET } from './slots-scripts.ts';

/** Longer than a worker goes on with a cell when it hears nothing of Redis: it stops it after 7 s. */
const TTL_MS = 60_000;
/** Longer than that too, with the time that it takes to stop. */
const SETTLE_MS = 10_000;

const ownerSchema = z.object({
  host: z.string().min(1),
  /** The state folder. */
  home: z.string(),
  worker: workerSchema,
  taskId: z.string().refine(id => taskIdFault(id) === null, 'is not a task id'),
  attempt: z.int().min(1),
  repository: z.string(),
});
/** Who has a slot; host, worker and task together are its name. */
export type SlotOwner = z.infer<typeof ownerSchema>;

/** null: no cap. */
export interface FleetCaps {
  /** Cells of all hosts together. */
  cells: number | null;
  /** Cells of each host. */
  hostCells: number | null;
}

/** How the fleet stands, as seen by one host. */
export interface FleetView extends FleetCaps {
  used: number;
  usedOnHost: number;
  /** Milliseconds for which no slot is granted, because Redis was started anew. */
  settlingMs: number;
}

/** `toPass`: the mark of a repository of which a task should have the slot instead; null: none, or there is no slot. */
export interface Answer {
  granted: boolean;
  toPass: string | null;
  view: FleetView;
}

export interface FleetState extends FleetCaps {
  slots: SlotOwner[];
  settlingMs: number;
}

const cap = z.string().transform(text => (text === '' ? null : Number(text)));
const count = z.string().transform(Number);
const answerSchema = z.tuple([z.enum(['0', '1']), count, count, cap, cap, count, z.string()]);
const viewSchema = z.tuple([z.enum(['0', '1']), count, count, cap, cap, count], z.unknown());
const listSchema = z.tuple([cap, cap, count], z.string());

const acquire = new Script(ACQUIRE);
const release = new Script(RELEASE);
const keep = new Script(KEEP);
const list = new Script(LIST);
const set = new Script(SET);

export interface SlotsOptions {
  prefix?: string;
  /** Milliseconds for which a slot is leased. */
  ttlMs?: number;
  /** Milliseconds for which a Redis that was started anew grants none. */
  settleMs?: number;
}

export class Slots {
  readonly #redis: Redis;
  readonly #keys: readonly string[];
  readonly #lines: LineKeys;
  readonly #times: readonly [number, number];

  /** The client stays the caller's. @throws {InvalidInput} for a bad prefix */
  constructor(redis: Redis, { prefix = DEFAULT_PREFIX, ttlMs = TTL_MS, settleMs = SETTLE_MS }: SlotsOptions = {}) {
    const { leased, owners, fleet } = slotKeys(prefix);
    this.#redis = redis;
    this.#keys = [leased, owners, fleet];
    this.#lines = lineKeys(prefix);
    this.#times = [ttlMs, settleMs];
  }

  /**
   * Leases a slot, unless the caps are reached, or a repository that has fewer is to pass first (its mark, see
   * `FairShare`). `hostCap` is that of the worker's own host besides the fleet's. Asking again for a slot that one has is
   * harmless. @throws {InvalidInput} for a host or worker with a "|" in its name
   */
  async acquire(owner: SlotOwner, hostCap: number | null): Promise<Answer> {
    const { keys, args } = this.acquiring(owner, hostCap);
    return this.acquired(await acquire.run(this.#redis, keys, args));
  }

  /** How `acquire` is asked as part of a chain, and what is answered. @throws {InvalidInput} */
  acquiring(owner: SlotOwner, hostCap: number | null): Call {
    const { lines, wait, prioritized, delayed, jobs } = this.#lines;
    const args = [owner.host, nameOf(owner), JSON.stringify(owner), hostCap ?? '', owner.repository, jobs];
    return { keys: [...this.#keys, lines, wait, prioritized, delayed], args: [...this.#times, ...args] };
  }

  acquired(reply: unknown): Answer {
    const [granted, , , , , , toPass] = answerSchema.parse(reply);
    return { granted: granted === '1', toPass: toPass === '' ? null : toPass, view: understood(reply) };
  }

  /** Gives slots back; harmless for those that nobody has. Returns how many there were. */
  async release(owners: readonly Pick<SlotOwner, 'host' | 'worker' | 'taskId'>[]): Promise<number> {
    return owners.length === 0 ? 0 : Number(await this.#run(release, owners.map(nameOf)));
  }

  /**
   * Says which slots a worker has, to be repeated every second: they are leased from now on, entered where they were
   * lost, and whatever else stands in its name is released, except what it has `asked` for just now.
   */
  async keep(
    worker: Pick<SlotOwner, 'host' | 'worker'>,
    held: readonly SlotOwner[],
    asked: readonly SlotOwner[] = [],
  ): Promise<FleetView> {
    const own = nameOf({ ...worker, taskId: '' });
    const pairs = held.flatMap(owner => [nameOf(owner), JSON.stringify(owner)]);
    return understood(await this.#run(keep, [worker.host, own, held.length, ...pairs, ...asked.map(nameOf)]));
  }

  /** All slots, or those of one host, by host and task, and the caps. What others have written counts, but is not told. */
  async list(host = ''): Promise<FleetState> {
    const [cells, hostCells, settlingMs, ...fields] = listSchema.parse(await this.#run(list, [host]));
    const slots: SlotOwner[] = [];
    for (let index = 0; index < fields.length; index += 2) {
      const owner = ownerOf(fields[index] ?? '', fields[index + 1] ?? '');
      if (owner !== null) slots.push(owner);
    }
    slots.sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1));
    return { cells, hostCells, settlingMs, slots };
  }

  /** What is left out stays as it is; null takes a cap away. Cells that live already are not touched. */
  async set(caps: { [Name in keyof FleetCaps]?: number | null | undefined }): Promise<void> {
    const args = Object.entries(caps).flatMap(([name, value]) => (value === undefined ? [] : [name, value ?? '']));
    await this.#run(set, args);
  }

  #run(script: Script, args: readonly (string | number)[]): Promise<unknown> {
    return script.run(this.#redis, this.#keys, [...this.#times, ...args]);
  }
}

/** How many more cells may begin; infinite without a cap. `hostCap` is that of the host itself. */
export function roomIn(view: FleetView, hostCap: number | null): number {
  const room = Math.min(
    left(view.cells, view.used),
    left(view.hostCells, view.usedOnHost),
    left(hostCap, view.usedOnHost),
  );
  return view.settlingMs > 0 && Number.isFinite(room) ? 0 : room;
}

/** Why no more cells may begin, for people. */
export function whyFull(view: FleetView, hostCap: number | null): string {
  const { cells, used, hostCells } = view;
  if (view.settlingMs > 0) return 'Redis was started anew: it is waited for the other workers to say what they run';
  if (left(cells, used) === 0) return `the fleet's cap of ${inCells(cells)} is reached (cellpool fleet)`;
  const ofHost = Math.min(hostCells ?? Number.POSITIVE_INFINITY, hostCap ?? Number.POSITIVE_INFINITY);
  return `the cap of ${inCells(ofHost)} on this host is reached`;
}

function inCells(count: number | null): string {
  return `${count} cell${count === 1 ? '' : 's'}`;
}

function left(most: number | null, used: number): number {
  return most === null ? Number.POSITIVE_INFINITY : Math.max(0, most - used);
}

function understood(reply: unknown): FleetView {
  const [, used, usedOnHost, cells, hostCells, settlingMs] = viewSchema.parse(reply);
  return { used, usedOnHost, cells, hostCells, settlingMs };
}

function nameOf({ host, worker, taskId }: Pick<SlotOwner, 'host' | 'worker' | 'taskId'>): string {
  for (const [where, name] of Object.entries({ host, worker: worker.id })) {
    if (name.includes('|')) throw new InvalidInput([{ where, what: `may not contain "|": ${JSON.stringify(name)}` }]);
  }
  return `${host}|${worker.id}|${taskId}`;
}

function ownerOf(slot: string, text: string): SlotOwner | null {
  try {
    const { data } = ownerSchema.safeParse(JSON.parse(text));
    return data !== undefined && nameOf(data) === slot ? data : null;
  } catch {
    // Not even JSON, or a name of nobody's: anybody may write to a shared Redis.
    return null;
  }
}
