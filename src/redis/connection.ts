/** Connections to Redis, with the options each side needs, and the check that one answers at all. */
import { once } from 'node:events';
import { Redis, type RedisOptions } from 'ioredis';
import { CellpoolError, messageOf } from '../errors.ts';
import { TooLate, within } from '../os/within.ts';
import type { RedisAddress } from './address.ts';

/** A server that has said nothing for this long counts as absent. */
const CHECK_MS = 2_000;
const CONNECT_MS = 5_000;
/** `disconnect()` of a connection that broke before keeps the process alive this long; ioredis alone takes 2 s. */
const DISCONNECT_MS = 200;
/** Longest pause between two attempts to connect again; ioredis alone backs off further. */
const RETRY_CAP_MS = 2_000;
const RETRY_STEP_MS = 200;

/** `producer` fails at once while Redis is away; `worker` waits for it to come back, for ever. */
export type RedisRole = 'producer' | 'worker';

const lastErrors = new WeakMap<Redis, Error>();

/**
 * A client whose `disconnect` is always followed by `end`. ioredis does not tell it while it waits for its next
 * attempt to connect, and leaves the commands that wait unanswered: BullMQ waits for both when it closes a worker or
 * listener, and would wait for ever when Redis is away.
 */
class EndingRedis extends Redis {
  override disconnect(reconnect = false): void {
    // From `wait` ioredis ends a connection at once; there is nothing more to this one either.
    if (!reconnect && this.status === 'reconnecting') this.status = 'wait';
    super.disconnect(reconnect);
  }

  /** BullMQ takes its blocking connections from here, and so they end as well. */
  override duplicate(override: Partial<RedisOptions> = {}): Redis {
    return new EndingRedis({ ...this.options, ...override } as RedisOptions & { replyMapping?: 'legacy' });
  }
}

/**
 * A client that connects in the background and connects again when the connection breaks; `disconnect()` ends it.
 * Commands of a producer are refused until it is connected: await `checkRedis` first. BullMQ queues of a producer
 * also want `skipWaitingForReady: true`. `name` is what `CLIENT LIST` shows.
 */
export function connectRedis(address: RedisAddress, role: RedisRole, name = `cellpool:${role}:${process.pid}`): Redis {
  const options = {
    connectionName: name,
    connectTimeout: CONNECT_MS,
    disconnectTimeout: DISCONNECT_MS,
    retryStrategy: (attempt: number) => Math.min(attempt * RETRY_STEP_MS, RETRY_CAP_MS),
    ...(role === 'producer' ? { enableOfflineQueue: false, maxRetriesPerRequest: 1 } : { maxRetriesPerRequest: null }),
  } satisfies RedisOptions;
  const client =
    'path' in address ? new EndingRedis({ ...options, path: address.path }) : new EndingRedis(address.url, options);
  // Without a listener ioredis prints every failed connect; the reason is kept for whoever asks.
  client.on('error', error => lastErrors.set(client, error));
  return client;
}

/** Why the client could not connect last, if it ever could not. */
export function lastErrorOf(client: Redis): Error | undefined {
  return lastErrors.get(client);
}

/** Resolves when the client is connected and the server has loaded its data; rejects at the first error or abort. */
export async function untilReady(client: Redis, signal: AbortSignal): Promise<void> {
  if (client.status === 'ready') return;
  if (client.status === 'end') throw lastErrorOf(client) ?? new Error('the connection is closed');
  await once(client, 'ready', { signal });
}

export interface RedisFacts {
  readonly version: string;
  /** Anything but `noeviction` lets Redis throw jobs away. */
  readonly maxmemoryPolicy: string;
  /** Whether an append-only file is written; without one a crash of Redis loses jobs. */
  readonly aof: boolean;
}

/**
 * Asks the server who it is. Throws `REDIS_UNAVAILABLE` within 2 s when it does not answer, refuses the connection
 * or the password. Uses INFO only, so that an ACL without dangerous commands is enough.
 */
export async function checkRedis(client: Redis, signal?: AbortSignal): Promise<RedisFacts> {
  try {
    const info = await within(CHECK_MS, signal, async ended => {
      await untilReady(client, ended);
      return await client.info();
    });
    return {
      version: infoField(info, 'redis_version'),
      maxmemoryPolicy: infoField(info, 'maxmemory_policy'),
      aof: infoField(info, 'aof_enabled') === '1',
    };
  } catch (error) {
    signal?.throwIfAborted();
    throw notUsable(client, error);
  }
}

/** One field of an INFO reply; `unknown` when the server does not tell. */
export function infoField(info: string, name: string): string {
  return new RegExp(`^${name}:(.*?)\\r?$`, 'm').exec(info)?.[1] ?? 'unknown';
}

function notUsable(client: Redis, error: unknown): CellpoolError {
  const { path, host, port } = client.options;
  const place = path ? `unix://${path}` : `${host}:${port}`;
  // No `cause`: errors of ioredis carry the arguments of the command, and those of AUTH are the password.
  const reason = messageOf(error instanceof TooLate ? (lastErrorOf(client) ?? error) : error);
  return new CellpoolError('REDIS_UNAVAILABLE', `Redis at ${place} is not usable: ${reason}`, {
    hint: /NOAUTH|WRONGPASS|NOPERM/.test(reason)
      ? 'Check user and password in REDIS_URL.'
      : 'Start that Redis or correct REDIS_URL; without REDIS_URL cellpool starts a private one.',
    facts: { address: place, reason },
  });
}
