/** Redis for the time of one command: found or made, checked, and left in order whatever happens. */
import type { Redis } from 'ioredis';
import type { Settings } from '../config.ts';
import { asCellpoolError } from '../errors.ts';
import { openTracing, type Tracing } from '../observe/tracing.ts';
import { checkRedis, connectRedis, type RedisRole } from '../redis/connection.ts';
import { openRedis, type RedisHandle } from '../redis/open-redis.ts';

export interface Connected {
  readonly origin: RedisHandle['origin'];
  /** A checked connection; closed with the command. */
  connection(role: RedisRole): Promise<Redis>;
  /** Null unless the environment names a collector; what is left is sent when the command ends. */
  tracing(): Promise<Tracing | null>;
}

/**
 * Runs `work` with Redis. A private server is started for it, or joined, and stopped when nobody else uses it.
 * `signal` ends the waiting for it. A private server that does not stop is told to `say` and changes nothing of how
 * the work ended. @throws {CellpoolError} REDIS_UNAVAILABLE, and whatever `work` throws
 */
export async function withRedis<T>(
  settings: Settings,
  say: (message: string) => void,
  work: (connected: Connected) => Promise<T>,
  signal?: AbortSignal,
): Promise<T> {
  const { redisUrl, home, host } = settings;
  const handle = await openRedis({ redisUrl, home, say, signal });
  const clients: Redis[] = [];
  const traces: Promise<Tracing | null>[] = [];
  try {
    return await work({
      origin: handle.origin,
      async connection(role) {
        const client = connectRedis(handle.address, role);
        clients.push(client);
        await checkRedis(client);
        return client;
      },
      tracing() {
        traces[0] ??= openTracing({ host, onProblem: say });
        return traces[0];
      },
    });
  } finally {
    // Whoever asked for it was told if it could not be loaded.
    for (const opened of await Promise.allSettled(traces)) {
      if (opened.status === 'fulfilled') await opened.value?.close();
    }
    for (const client of clients) client.disconnect();
    await handle.close().catch((error: unknown) => {
      const { message, hint } = asCellpoolError(error);
      say(hint === undefined ? message : `${message} ${hint}`);
    });
  }
}
