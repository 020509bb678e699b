/**
 * How much disk the state folder of each host takes, as one of its workers measured it last. Measuring takes a while,
 * so the workers of a host take turns.
 */
import { createHash } from 'node:crypto';
import type { Redis } from 'ioredis';
import { z } from 'zod';
import { DEFAULT_PREFIX, type DiskKeys, diskKeys } from './keys.ts';

/** A host that nobody has measured for a day is gone. */
const FORGET_MS = 86_400_000;

const diskSchema = z.object({
  artifactsBytes: z.number().min(0),
  mirrorsBytes: z.number().min(0),
  cellsBytes: z.number().min(0),
  /** What cells have downloaded, and the data of a private Redis; left out by workers of before. */
  cachesBytes: z.number().min(0).optional(),
  redisBytes: z.number().min(0).optional(),
  /** Epoch ms, by the clock of the host. */
  at: z.number(),
});
export type DiskUse = z.infer<typeof diskSchema>;

export class DiskUses {
  readonly #redis: Redis;
  readonly #keys: DiskKeys;

  /** The client stays the caller's. Throws `InvalidInput` for a bad prefix. */
  constructor(redis: Redis, { prefix = DEFAULT_PREFIX }: { prefix?: string } = {}) {
    this.#redis = redis;
    this.#keys = diskKeys(prefix);
  }

  /** True once in `ms` milliseconds for all who ask for this state folder of the host. */
  async takeTurn(host: string, home: string, ms: number): Promise<boolean> {
    const folder = createHash('sha256').update(`${host}\0${home}`).digest('hex').slice(0, 16);
    return (await this.#redis.set(`${this.#keys.turn}${folder}`, '1', 'PX', ms, 'NX')) === 'OK';
  }

  async write(host: string, use: DiskUse): Promise<void> {
    await this.#redis.hset(this.#keys.uses, host, JSON.stringify(use));
  }

  /** By host; those that were measured within the last day. Nonsense is passed over, what is old removed. */
  async list(): Promise<Map<string, DiskUse>> {
    const found = new Map<string, DiskUse>();
    const old: string[] = [];
    const oldest = Date.now() - FORGET_MS;
    for (const [host, text] of Object.entries(await this.#redis.hgetall(this.#keys.uses))) {
      const use = understood(text);
      if (use === null || use.at < oldest) old.push(host);
      else found.set(host, use);
    }
    if (old.length > 0) await this.#redis.hdel(this.#keys.uses, ...old);
    return new Map([...found].sort(([a], [b]) => (a < b ? -1 : 1)));
  }
}

function understood(text: string): DiskUse | null {
  try {
    return diskSchema.safeParse(JSON.parse(text)).data ?? null;
  } catch {
    // Not even JSON: anybody may write to a shared Redis.
    return null;
  }
}
