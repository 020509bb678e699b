/** Connections to Redis, with the options each side needs, and the check that one answers at all. */
import { once } from 'node:events';
import { Cluster, type ClusterNode, type ClusterOptions, Redis, type RedisOptions } from 'ioredis';
import { CellpoolError, messageOf } from '../errors.ts';
import { TooLate, within } from '../os/within.ts';
import { describeAddress, type RedisAddress } from './address.ts';
import type { ClusterAddress, SentinelAddress } from './address-list.ts';

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

/** How the types of ioredis say that replies are what they have always been. */
type Options<T> = T & { replyMapping?: 'legacy' };

const lastErrors = new WeakMap<Redis, Error>();
/** Where each client's server is, for people. */
const places = new WeakMap<Redis, string>();

/**
 * A client whose `disconnect` is always followed by `end`. ioredis does not tell it while it waits for its next
 * attempt to connect, and leaves the commands that wait unanswered: BullMQ waits for both when it closes a worker or
 * listener, and would wait for ever when Redis is away.
 */
class EndingRedis extends Redis {
  #corked: Redis['stream'] | null = null;

  /**
   * What is sent in one turn of the event loop goes to the server in one write, in its order: a worker with many jobs has
   * many commands at once, and each write costs more than all there is to them.
   */
  override sendCommand(...sent: Parameters<Redis['sendCommand']>): unknown {
    const { stream } = this;
    if (this.status === 'ready' && stream !== this.#corked) {
      stream.cork();
      this.#corked = stream;
      setImmediate(() => {
        if (this.#corked === stream) this.#corked = null;
        stream.uncork();
      });
    }
    return super.sendCommand(...sent);
  }

  override disconnect(reconnect = false): void {
    // From `wait` ioredis ends a connection at once; there is nothing more to this one either.
    if (!reconnect && this.status === 'reconnecting') this.status = 'wait';
    super.disconnect(reconnect);
  }

  /** BullMQ takes its blocking connections from here, and so they end as well. */
  override duplicate(override: Partial<RedisOptions> = {}): Redis {
    return new EndingRedis({ ...this.options, ...override } as Options<RedisOptions>);
  }
}

/** The same for a Cluster, which has no `end` of its own either while it looks for its nodes again. */
class EndingCluster extends Cluster {
  readonly #nodes: ClusterNode[];

  constructor(nodes: ClusterNode[], options: Options<ClusterOptions>) {
    super(nodes, options as ConstructorParameters<typeof Cluster<'legacy'>>[1]);
    this.#nodes = nodes;
  }

  override disconnect(reconnect = false): void {
    if (!reconnect && this.status === 'reconnecting') this.status = 'wait';
    super.disconnect(reconnect);
  }

  override duplicate(nodes: ClusterNode[] = [], override: ClusterOptions = {}): Cluster {
    return new EndingCluster(nodes.length > 0 ? nodes : this.#nodes, {
      ...this.options,
      ...override,
    } as Options<ClusterOptions>);
  }
}

const retry = (attempt: number) => Math.min(attempt * RETRY_STEP_MS, RETRY_CAP_MS);

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
    retryStrategy: retry,
    ...(role === 'producer' ? { enableOfflineQueue: false, maxRetriesPerRequest: 1 } : { maxRetriesPerRequest: null }),
  } satisfies Options<RedisOptions>;
  const client = open(address, options);
  places.set(client, 'url' in address ? hostAndPort(address.url) : describeAddress(address));
  // Without a listener ioredis prints every failed connect; the reason is kept for whoever asks.
  client.on('error', error => lastErrors.set(client, error));
  return client;
}

function open(address: RedisAddress, options: Options<RedisOptions>): Redis {
  if ('path' in address) return new EndingRedis({ ...options, path: address.path });
  if ('url' in address) return new EndingRedis(address.url, options);
  return 'nodes' in address ? openCluster(address, options) : new EndingRedis(sentinelOptions(address, options));
}

function sentinelOptions(address: SentinelAddress, options: Options<RedisOptions>): Options<RedisOptions> {
  const { sentinels, master, db, tls, of, ofSentinels } = address;
  return {
    ...options,
    ...of,
    sentinels: [...sentinels],
    name: master,
    db,
    sentinelRetryStrategy: retry,
    // A master that has just been demoted still takes connections, and refuses what is written.
    reconnectOnError: error => error.message.startsWith('READONLY'),
    ...(ofSentinels.username === undefined ? {} : { sentinelUsername: ofSentinels.username }),
    ...(ofSentinels.password === undefined ? {} : { sentinelPassword: ofSentinels.password }),
    ...(tls ? { tls: {}, sentinelTLS: {}, enableTLSForSentinelMode: true } : {}),
  };
}

/**
 * BullMQ and all that is ours call commands, `duplicate` and `disconnect` only, which a Cluster has as well; where it
 * differs from one server is in this file.
 */
function openCluster({ nodes, tls, of }: ClusterAddress, options: Options<RedisOptions>): Redis {
  const { enableOfflineQueue = true, ...redisOptions } = options;
  return new EndingCluster([...nodes], {
    enableOfflineQueue,
    clusterRetryStrategy: retry,
    redisOptions: { ...redisOptions, ...of, ...(tls ? { tls: {} } : {}) },
    // Certificates are of names, and a cluster tells addresses.
    ...(tls ? { dnsLookup: (host, callback) => callback(null, host) } : {}),
  }) as unknown as Redis;
}

/** A connection like this one that waits for Redis while it is away, whatever its role: for listening. */
export function listenerLike(connection: Redis): Redis {
  if (!connection.isCluster) return connection.duplicate({ enableOfflineQueue: true, maxRetriesPerRequest: null });
  const cluster = connection as unknown as Cluster;
  const redisOptions = { ...cluster.options.redisOptions, maxRetriesPerRequest: null } as Options<RedisOptions>;
  return cluster.duplicate([], { enableOfflineQueue: true, redisOptions }) as unknown as Redis;
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

function hostAndPort(url: string): string {
  const { hostname, port } = new URL(url);
  return `${hostname}:${port === '' ? '6379' : port}`;
}

function notUsable(client: Redis, error: unknown): CellpoolError {
  const place = places.get(client) ?? 'an address nobody knows';
  // No `cause`: errors of ioredis carry the arguments of the command, and those of AUTH are the password.
  const reason = messageOf(error instanceof TooLate ? (lastErrorOf(client) ?? error) : error);
  return new CellpoolError('REDIS_UNAVAILABLE', `Redis at ${place} is not usable: ${reason}`, {
    hint: /NOAUTH|WRONGPASS|NOPERM/.test(reason)
      ? 'Check user and password in REDIS_URL.'
      : 'Start that Redis or correct REDIS_URL; without REDIS_URL cellpool starts a private one.',
    facts: { address: place, reason },
  });
}
