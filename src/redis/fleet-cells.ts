/**
 * The cells of all hosts as they stand in Redis, for people: what is reaped goes by `CellRegistry`, which knows its
 * host's disk too. A host is known here from its first cell on, and shown while it has one, whoever lives there.
 */
import type { Redis } from 'ioredis';
import { type CellRecord, understoodRecord } from './cell-record.ts';
import { cellKeys, DEFAULT_PREFIX, hostsKey } from './keys.ts';
import { pipelined } from './pipelined.ts';

/** A host without cells is forgotten after so long, in ms; containers come and go under ever new names. */
const FORGET_MS = 86_400_000;
/** More hosts than that are not looked at: anybody may write to a shared Redis. */
const HOSTS_MAX = 1_000;

export interface FleetCell {
  /** As the registry names it; the record's own word does not count. */
  host: string;
  record: CellRecord;
  /** Epoch ms of its worker's last sign of life, by the worker's clock; null without one. */
  beatAt: number | null;
}

export class FleetCells {
  readonly #redis: Redis;
  readonly #prefix: string;

  /** The client stays the caller's. */
  constructor(redis: Redis, { prefix = DEFAULT_PREFIX }: { prefix?: string } = {}) {
    this.#redis = redis;
    this.#prefix = prefix;
  }

  /** All cells, by host and start, in two round trips however many hosts there are. Nonsense is passed over. */
  async list(): Promise<FleetCell[]> {
    const hosts = await this.#hosts();
    if (hosts.length === 0) return [];
    const pipeline = this.#redis.pipeline();
    for (const { name } of hosts) {
      const { records, beats } = cellKeys(this.#prefix, name);
      pipeline.hgetall(records).hgetall(beats);
    }
    const replies = await pipelined(pipeline);
    const cells = hosts.flatMap(({ name }, at) => cellsOf(name, replies[2 * at], replies[2 * at + 1]));
    const empty = hosts.filter(({ seenAt }, at) => seenAt < Date.now() - FORGET_MS && isEmpty(replies[2 * at]));
    // One that comes back meanwhile enters itself again with its next cell or beat.
    if (empty.length > 0) await this.#redis.zrem(hostsKey(this.#prefix), ...empty.map(({ name }) => name));
    return cells;
  }

  async #hosts(): Promise<{ name: string; seenAt: number }[]> {
    const found = await this.#redis.zrevrange(hostsKey(this.#prefix), 0, HOSTS_MAX - 1, 'WITHSCORES');
    const hosts: { name: string; seenAt: number }[] = [];
    for (let at = 0; at + 1 < found.length; at += 2) {
      const [name = '', score] = found.slice(at, at + 2);
      if (/^[^\s{}\p{Cc}]{1,255}$/u.test(name)) hosts.push({ name, seenAt: Number(score) });
    }
    return hosts.sort((a, b) => (a.name < b.name ? -1 : 1));
  }
}

function cellsOf(host: string, records: unknown, beats: unknown): FleetCell[] {
  const signs = asTexts(beats);
  return Object.entries(asTexts(records))
    .flatMap(([cellId, text]): FleetCell[] => {
      const { record } = understoodRecord(cellId, text);
      const beat = Number(signs[cellId] ?? Number.NaN);
      return record === null ? [] : [{ host, record, beatAt: Number.isFinite(beat) ? beat : null }];
    })
    .sort((a, b) => a.record.createdAt - b.record.createdAt);
}

/** A reply of HGETALL; a key of another type has none. */
function asTexts(reply: unknown): Record<string, string> {
  return typeof reply === 'object' && reply !== null ? (reply as Record<string, string>) : {};
}

function isEmpty(reply: unknown): boolean {
  return typeof reply === 'object' && reply !== null && Object.keys(reply).length === 0;
}
