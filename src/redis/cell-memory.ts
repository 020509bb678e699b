/**
 * How much memory each cell takes, as its worker last saw it: a hash a host, beside the registry of its cells. A cell
 * that is not in the registry has no entry here either, whoever comes too late with it.
 */
import type { Redis } from 'ioredis';
import { cellKeys, DEFAULT_PREFIX } from './keys.ts';
import { MUST_BE } from './lua.ts';
import { Script } from './script.ts';

/** KEYS: memory, records. ARGV: cell id and bytes by turns. */
const write = new Script(`${MUST_BE}
mustBe('hash', KEYS[1])
for _, id in ipairs(redis.call('HKEYS', KEYS[1])) do
  if redis.call('HEXISTS', KEYS[2], id) == 0 then redis.call('HDEL', KEYS[1], id) end
end
for index = 1, #ARGV, 2 do
  if redis.call('HEXISTS', KEYS[2], ARGV[index]) == 1 then redis.call('HSET', KEYS[1], ARGV[index], ARGV[index + 1]) end
end
return 1
`);

export class CellMemory {
  readonly #redis: Redis;
  readonly #prefix: string;

  /** The client stays the caller's. */
  constructor(redis: Redis, { prefix = DEFAULT_PREFIX }: { prefix?: string } = {}) {
    this.#redis = redis;
    this.#prefix = prefix;
  }

  /** Enters bytes by cell id of some cells of a host; those of others stay. @throws the error of Redis */
  async write(host: string, bytes: ReadonlyMap<string, number>): Promise<void> {
    const { memory, records } = cellKeys(this.#prefix, host);
    const pairs = [...bytes].flatMap(([cellId, count]) => [cellId, Math.round(count)]);
    if (pairs.length > 0) await write.run(this.#redis, [memory, records], pairs);
  }

  /** Bytes by cell id, of all cells of these hosts that somebody has looked at, in one round trip. */
  async read(hosts: readonly string[]): Promise<Map<string, number>> {
    const found = new Map<string, number>();
    if (hosts.length === 0) return found;
    const pipeline = this.#redis.pipeline();
    for (const host of hosts) pipeline.hgetall(cellKeys(this.#prefix, host).memory);
    for (const [error, fields] of (await pipeline.exec()) ?? []) {
      // A key of another type: anybody may write to a shared Redis.
      if (error?.message.startsWith('WRONGTYPE')) continue;
      if (error !== null) throw error;
      for (const [cellId, text] of Object.entries(fields as Record<string, string>)) {
        if (/^\d{1,15}$/.test(text)) found.set(cellId, Number(text));
      }
    }
    return found;
  }
}
