/**
 * One private Redis for each state folder, on a unix socket that only its owner may open. The first process that
 * needs it starts it, later ones join, the last one to leave stops it; its append-only file outlives it. When it dies
 * while it is used, those who use it start it again.
 *
 * A server whose last user was killed with SIGKILL runs on, idle, until the next cellpool process on the same state
 * folder leaves: Redis has no setting that ends it when nobody is connected, and its scripts may not stop it.
 */
import { once } from 'node:events';
import { dirname } from 'node:path';
import { TooLate, within } from '../os/within.ts';
import { connectRedis, untilReady } from './connection.ts';
import { binaryIfNeeded, closeDoor, type EnterOptions, enterServer, isAnswering, serverFault } from './enter-server.ts';
import { isFreeWithin } from './file-lock.ts';
import { keepServer } from './keep-server.ts';
import { chooseSocket, knownSocket, makePrivateHome, type PrivateHome, removeSocket } from './private-home.ts';
import { isUsed, markUse } from './user-mark.ts';

const STOP_MS = 15_000;

export interface PrivateServer {
  /** Path of the unix socket; it stays the same when the server is started again. */
  readonly socket: string;
  /** Leaves; stops the server when nobody else uses it, and resolves when it is gone. */
  close(): Promise<void>;
}

/**
 * Joins the private server of the state folder `home`, or starts it. Throws `REDIS_UNAVAILABLE` or `STATE_FOLDER`
 * with what to do; the signal's reason when aborted, leaving nothing behind. `say` is told later, too, when the server
 * died and was started again, and, once each time, when it cannot be.
 */
export async function openPrivateServer(home: string, options: EnterOptions = {}): Promise<PrivateServer> {
  const place = await makePrivateHome(home);
  const binary = await binaryIfNeeded(place, options);
  const openDoor = await closeDoor(place, options.signal);
  let unmark: (() => Promise<void>) | undefined;
  try {
    const socket = await chooseSocket(place);
    unmark = await markUse(dirname(socket));
    const { presence } = await enterServer(place, binary, { ...options, endLate: true });
    return leaveOnce(place, socket, unmark, keepServer(place, presence, options.say));
  } catch (error) {
    await unmark?.();
    // Others may have lost the server too, and bring it back at the same place.
    if ((await isFreeWithin(place.serverLock, 0)) && !(await isUsedAt(place))) await removeSocket(place);
    throw options.signal?.aborted ? error : serverFault(place, 'cannot be used', error);
  } finally {
    await openDoor();
  }
}

function leaveOnce(
  home: PrivateHome,
  socket: string,
  unmark: () => Promise<void>,
  stopKeeping: () => Promise<void>,
): PrivateServer {
  let left: Promise<void> | undefined;
  const leave = async () => {
    await stopKeeping();
    await unmark();
    await stopUnlessUsed(home);
  };
  return {
    socket,
    close: () => {
      left ??= leave();
      return left;
    },
  };
}

async function stopUnlessUsed(home: PrivateHome): Promise<void> {
  const openDoor = await closeDoor(home);
  try {
    if (await isUsedAt(home)) return;
    if (await isAnswering(home)) await stop(home);
    if (!(await isFreeWithin(home.serverLock, STOP_MS))) throw new TooLate(STOP_MS);
    await removeSocket(home);
  } catch (error) {
    throw serverFault(home, 'does not stop', error);
  } finally {
    await openDoor();
  }
}

async function isUsedAt(home: PrivateHome): Promise<boolean> {
  const socket = await knownSocket(home);
  return socket !== null && (await isUsed(dirname(socket)));
}

async function stop(home: PrivateHome): Promise<void> {
  const client = connectRedis({ path: (await knownSocket(home)) ?? '' }, 'producer', 'cellpool:leave');
  try {
    await within(STOP_MS, undefined, async ended => {
      await untilReady(client, ended);
      // A server that stops answers by closing the connection; only one that cannot stop says something.
      const closed = once(client, 'close', { signal: ended });
      const refused = client.shutdown().catch(error => (isReply(error) ? Promise.reject(error) : closed));
      await Promise.race([closed, refused]);
    });
  } finally {
    client.disconnect();
  }
}

function isReply(error: unknown): boolean {
  return error instanceof Error && error.name === 'ReplyError';
}
