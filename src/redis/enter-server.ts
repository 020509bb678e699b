/** How a process gets to a private Redis that answers: it joins the one that runs, or starts it. Door lock held. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { CellpoolError, messageOf } from '../errors.ts';
import { within } from '../os/within.ts';
import { connectRedis, untilReady } from './connection.ts';
import { holdLock, isFreeWithin } from './file-lock.ts';
import { knownSocket, type PrivateHome } from './private-home.ts';
import { findRedisBinary, type RedisBinary } from './redis-binary.ts';
import { type StartedServer, startServer } from './server-process.ts';
import { isListening } from './user-mark.ts';

/** Longest wait for other processes that are joining or leaving; more than a start may take. */
const DOOR_MS = 90_000;
/** Longest start, with a large append-only file to load. */
const START_MS = 60_000;
/** How long a server that was killed may still hold its lock, through the flock(1) that waits for it. */
const LAST_WORDS_MS = 1_000;
const POLL_MS = 10;

export interface EnterOptions {
  /** Told, once, before something slow happens. */
  say?: ((message: string) => void) | undefined;
  signal?: AbortSignal | undefined;
}

export interface Entered {
  /** A connection that was ready; it breaks when the server dies. */
  readonly presence: Redis;
  readonly startedHere: boolean;
}

/** Keeps everybody else from joining and leaving until the returned function is called. */
export async function closeDoor(home: PrivateHome, signal?: AbortSignal): Promise<() => Promise<void>> {
  return await holdLock(home.doorLock, DOOR_MS, signal);
}

/** Looked for before the door is closed: unpacking takes seconds, and others may want to leave. */
export async function binaryIfNeeded(home: PrivateHome, options: EnterOptions): Promise<RedisBinary | undefined> {
  return (await isAnswering(home)) ? undefined : await findRedisBinary(options);
}

/**
 * Joins or starts the server. Throws `REDIS_UNAVAILABLE` or `STATE_FOLDER`, or the signal's reason. A server it has
 * started is ended again when the signal is aborted, and with `endLate` also when it takes too long.
 */
export async function enterServer(
  home: PrivateHome,
  known: RedisBinary | undefined,
  options: EnterOptions & { endLate: boolean },
): Promise<Entered> {
  const { signal, endLate } = options;
  let started: StartedServer | undefined;
  try {
    if (!(await isAnswering(home))) {
      const binary = known ?? (await findRedisBinary(options));
      await isFreeWithin(home.serverLock, LAST_WORDS_MS);
      signal?.throwIfAborted();
      started = await startServer(home, binary);
    }
    return { presence: await join(home, started, signal), startedHere: started !== undefined };
  } catch (error) {
    if (endLate || signal?.aborted) await started?.kill();
    throw error;
  }
}

/** Whether somebody accepts connections on the server's socket. */
export async function isAnswering(home: PrivateHome): Promise<boolean> {
  const path = await knownSocket(home);
  return path !== null && (await isListening(path));
}

/** What went wrong, as an error that names the server and its log. */
export function serverFault(home: PrivateHome, what: string, error: unknown): CellpoolError {
  if (error instanceof CellpoolError) return error;
  return new CellpoolError('REDIS_UNAVAILABLE', `the private Redis in ${home.folder} ${what}: ${messageOf(error)}`, {
    hint: `See ${home.log}.`,
    cause: error,
  });
}

async function join(home: PrivateHome, started: StartedServer | undefined, signal?: AbortSignal): Promise<Redis> {
  let presence: Redis | undefined;
  try {
    return await within(START_MS, signal, async ended => {
      await untilAnswering(home, started, ended);
      const socket = (await knownSocket(home)) ?? '';
      ended.throwIfAborted();
      presence = connectRedis({ path: socket }, 'worker', `cellpool:presence:${process.pid}`);
      await untilReady(presence, ended);
      await presence.ping();
      return presence;
    });
  } catch (error) {
    presence?.disconnect();
    signal?.throwIfAborted();
    // A server that cannot load its data accepts connections first, then ends: its log says more than the connection.
    if (started !== undefined && (await isFreeWithin(home.serverLock, LAST_WORDS_MS))) throw await started.fault();
    throw serverFault(home, 'is not usable', error);
  }
}

async function untilAnswering(
  home: PrivateHome,
  started: StartedServer | undefined,
  ended: AbortSignal,
): Promise<void> {
  while (!(await isAnswering(home))) {
    // It ends at once when a server is there that has not opened its socket yet, left by a killed process.
    if (started?.hasEnded() && (await isFreeWithin(home.serverLock, 0))) throw await started.fault();
    await sleep(POLL_MS, undefined, { signal: ended });
  }
}
