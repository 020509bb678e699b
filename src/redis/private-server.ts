/**
 * One private Redis for each state folder, on a unix socket that only its owner may open. The first process that
 * needs it starts it, later ones join, the last one to leave stops it; its append-only file outlives it.
 *
 * Who uses it is what Redis itself says: every process that joined keeps one connection open under the name
 * `cellpool:presence:...`, and a killed process loses that with its life. A server whose last user was killed
 * with SIGKILL therefore runs on, idle, until the next cellpool process on the same state folder leaves.
 *
 * A server that dies while it is used is not started again here: the clients report it, and the next process that
 * opens the same state folder starts one that loads the append-only file.
 */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { CellpoolError, messageOf } from '../errors.ts';
import { connectRedis, untilReady } from './connection.ts';
import { holdLock, isFreeWithin } from './file-lock.ts';
import { knownSocket, makePrivateHome, type PrivateHome, removeSocket } from './private-home.ts';
import { findRedisBinary } from './redis-binary.ts';
import { type StartedServer, startServer } from './server-process.ts';
import { TooLate, within } from './within.ts';

/** Longest wait for other processes that are joining or leaving; more than a start may take. */
const DOOR_MS = 90_000;
/** Longest start, with a large append-only file to load. */
const START_MS = 60_000;
const STOP_MS = 15_000;
const LAST_WORDS_MS = 1_000;
const POLL_MS = 10;
const PRESENCE = 'cellpool:presence:';

export interface PrivateServer {
  /** Path of the unix socket. */
  readonly socket: string;
  /** Leaves; stops the server when nobody else uses it, and resolves when it is gone. */
  close(): Promise<void>;
}

/**
 * Joins the private server of the state folder `home`, or starts it. Throws `REDIS_UNAVAILABLE` or `STATE_FOLDER`
 * with what to do; the signal's reason when aborted, leaving nothing behind.
 */
export async function openPrivateServer(
  home: string,
  options: { say?: ((message: string) => void) | undefined; signal?: AbortSignal | undefined } = {},
): Promise<PrivateServer> {
  const { signal } = options;
  const place = await makePrivateHome(home);
  // Looked for before the door is closed: unpacking takes seconds, and others may want to leave.
  let binary = (await isAnswering(place)) ? undefined : await findRedisBinary(options);
  const openDoor = await holdLock(place.doorLock, DOOR_MS, signal);
  let started: StartedServer | undefined;
  let presence: Redis | undefined;
  try {
    if (!(await isAnswering(place))) {
      binary ??= await findRedisBinary(options);
      started = await startServer(place, binary);
    }
    presence = await join(place, started, signal);
    return leaveOnce(place, presence);
  } catch (error) {
    presence?.disconnect();
    if (started !== undefined && (await started.kill())) await removeSocket(place);
    throw error;
  } finally {
    await openDoor();
  }
}

async function join(home: PrivateHome, started: StartedServer | undefined, signal?: AbortSignal): Promise<Redis> {
  const name = `${PRESENCE}${process.pid}:${randomUUID()}`;
  let presence: Redis | undefined;
  try {
    return await within(START_MS, signal, async ended => {
      await untilAnswering(home, started, ended);
      const socket = (await knownSocket(home)) ?? '';
      presence = connectRedis({ path: socket }, 'worker', name);
      await untilReady(presence, ended);
      // Answered after the name was set on the same connection: from here on nobody stops the server.
      await presence.ping();
      return presence;
    });
  } catch (error) {
    presence?.disconnect();
    signal?.throwIfAborted();
    // A server that cannot load its data accepts connections first, then ends: its log says more than the connection.
    if (started !== undefined && (await isFreeWithin(home.serverLock, LAST_WORDS_MS))) throw await started.fault();
    throw fault(home, 'is not usable', error);
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

function leaveOnce(home: PrivateHome, presence: Redis): PrivateServer {
  const { path } = presence.options;
  let left: Promise<void> | undefined;
  return {
    socket: path ?? '',
    close: () => {
      left ??= leave(home, presence);
      return left;
    },
  };
}

async function leave(home: PrivateHome, presence: Redis): Promise<void> {
  presence.disconnect();
  const openDoor = await holdLock(home.doorLock, DOOR_MS);
  try {
    if ((await isAnswering(home)) && !(await stopUnlessUsed(home, presence))) return;
    if (!(await isFreeWithin(home.serverLock, STOP_MS))) throw new TooLate(STOP_MS);
    await removeSocket(home);
  } catch (error) {
    throw fault(home, 'does not stop', error);
  } finally {
    await openDoor();
  }
}

/** Whether the server was told to stop. */
async function stopUnlessUsed(home: PrivateHome, own: Redis): Promise<boolean> {
  const client = connectRedis({ path: (await knownSocket(home)) ?? '' }, 'producer', 'cellpool:leave');
  try {
    return await within(STOP_MS, undefined, async ended => {
      await untilReady(client, ended);
      const used = async () => isUsedByOthers(String(await client.client('LIST')), own.options.connectionName ?? '');
      // Twice: in its first turn Redis may answer before it notices that a process was killed just now.
      if ((await used()) && (await used())) return false;
      // A server that stops answers by closing the connection; only one that cannot stop says something.
      const closed = once(client, 'close', { signal: ended });
      const refused = client.shutdown().catch(error => (isReply(error) ? Promise.reject(error) : closed));
      await Promise.race([closed, refused]);
      return true;
    });
  } finally {
    client.disconnect();
  }
}

function isReply(error: unknown): boolean {
  return error instanceof Error && error.name === 'ReplyError';
}

function isUsedByOthers(clients: string, own: string): boolean {
  const names = clients.split('\n').map(line => /(?:^| )name=(\S*)/.exec(line)?.[1] ?? '');
  return names.some(name => name.startsWith(PRESENCE) && name !== own);
}

function fault(home: PrivateHome, what: string, error: unknown): CellpoolError {
  if (error instanceof CellpoolError) return error;
  return new CellpoolError('REDIS_UNAVAILABLE', `the private Redis in ${home.folder} ${what}: ${messageOf(error)}`, {
    hint: `See ${home.log}.`,
    cause: error,
  });
}

/** Whether somebody accepts connections on the socket. */
async function isAnswering(home: PrivateHome): Promise<boolean> {
  const path = await knownSocket(home);
  if (path === null) return false;
  const socket = connect({ path });
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
