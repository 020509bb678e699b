/** The Redis a command works with: the one it was told of, or a private one. */
import { describeAddress, parseRedisUrl, type RedisAddress } from './address.ts';
import { checkRedis, connectRedis } from './connection.ts';
import { openPrivateServer } from './private-server.ts';

export interface RedisHandle {
  readonly address: RedisAddress;
  readonly origin: 'url' | 'private';
  /** Stops the private server when nobody else uses it; harmless when called twice. */
  close(): Promise<void>;
}

export interface OpenRedisOptions {
  /** `REDIS_URL`; undefined or empty for the private server. */
  redisUrl?: string | undefined;
  /** The state folder. */
  home: string;
  /** Told of what takes a while or should be changed. */
  say?: ((message: string) => void) | undefined;
  signal?: AbortSignal | undefined;
}

/**
 * Makes sure that a Redis answers. Throws `INVALID_INPUT` for a bad URL, `REDIS_UNAVAILABLE` (within 2 s when a URL
 * was given) or `STATE_FOLDER`; the signal's reason when aborted.
 */
export async function openRedis(options: OpenRedisOptions): Promise<RedisHandle> {
  const { redisUrl, home, say, signal } = options;
  if (redisUrl !== undefined && redisUrl !== '') return await verify(parseRedisUrl(redisUrl), say, signal);
  const server = await openPrivateServer(home, { say, signal });
  return { address: { path: server.socket }, origin: 'private', close: () => server.close() };
}

async function verify(address: RedisAddress, say: OpenRedisOptions['say'], signal?: AbortSignal): Promise<RedisHandle> {
  const client = connectRedis(address, 'producer');
  try {
    const { maxmemoryPolicy, aof } = await checkRedis(client, signal);
    const place = describeAddress(address);
    if (maxmemoryPolicy !== 'noeviction') {
      say?.(`Redis at ${place} may throw jobs away: its maxmemory-policy is ${maxmemoryPolicy}, set it to noeviction`);
    }
    if (!aof) say?.(`Redis at ${place} keeps no append-only file: when it crashes, jobs are lost (set appendonly yes)`);
  } finally {
    client.disconnect();
  }
  return { address, origin: 'url', close: async () => undefined };
}
