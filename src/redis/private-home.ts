/** Where a private Redis keeps its things: `<home>/redis`, readable by its owner only. */
import { chmod, lstat, mkdir, mkdtemp, readFile, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { CellpoolError, messageOf } from '../errors.ts';

/** The kernel takes at most 107 bytes for a unix socket's path. */
const SOCKET_PATH_MAX = 100;
const SOCKET = 'redis.sock';

export interface PrivateHome {
  /** Data, log and locks of the server; its working folder. */
  readonly folder: string;
  /** Held by whoever joins or leaves, so that nobody joins a server that is being stopped. */
  readonly doorLock: string;
  /** Held by the server itself as long as it lives, so that no second one ever writes the same files. */
  readonly serverLock: string;
  readonly log: string;
  /** Names the folder of the socket when the path here would be too long for one. */
  readonly socketNote: string;
}

/** Makes the folder, mode 0700. Throws `STATE_FOLDER` when that cannot be done. */
export async function makePrivateHome(home: string): Promise<PrivateHome> {
  try {
    const given = join(home, 'redis');
    await mkdir(given, { recursive: true, mode: 0o700 });
    await chmod(given, 0o700);
    // One folder has one name: socket paths are compared, and a link could be turned elsewhere.
    const folder = await realpath(given);
    return {
      folder,
      doorLock: join(folder, 'door.lock'),
      serverLock: join(folder, 'server.lock'),
      log: join(folder, 'server.log'),
      socketNote: join(folder, 'socket-folder'),
    };
  } catch (error) {
    throw new CellpoolError('STATE_FOLDER', `cannot use ${home} for a private Redis: ${messageOf(error)}`, {
      hint: 'Point CELLPOOL_HOME at a folder you may write.',
      cause: error,
    });
  }
}

/** The socket's path now in use, or null when the next start has yet to choose one. */
export async function knownSocket(home: PrivateHome): Promise<string | null> {
  const inside = join(home.folder, SOCKET);
  if (Buffer.byteLength(inside) <= SOCKET_PATH_MAX) return inside;
  const outside = (await readFile(home.socketNote, 'utf8').catch(() => '')).trim();
  return outside !== '' && (await isOurs(outside)) ? join(outside, SOCKET) : null;
}

/**
 * The socket's path for a start. The same one again after a crash, so that clients find the new server. To be called
 * with the door lock held.
 */
export async function chooseSocket(home: PrivateHome): Promise<string> {
  const known = await knownSocket(home);
  if (known !== null) return known;
  // A name nobody can guess: in a shared /tmp a guessable one could be somebody else's already.
  const shortEnough = Buffer.byteLength(tmpdir()) < SOCKET_PATH_MAX - 40;
  const outside = await mkdtemp(join(shortEnough ? tmpdir() : '/tmp', 'cellpool-redis-'));
  await writeFile(home.socketNote, `${outside}\n`, { mode: 0o600 });
  return join(outside, SOCKET);
}

/** After the server's end: removes the socket, and its folder where that lies outside. Door lock held. */
export async function removeSocket(home: PrivateHome): Promise<void> {
  const socket = await knownSocket(home);
  if (socket === null) return;
  await rm(socket, { force: true });
  if (dirname(socket) === home.folder) return;
  await rm(dirname(socket), { recursive: true, force: true });
  await rm(home.socketNote, { force: true });
}

async function isOurs(folder: string): Promise<boolean> {
  const stats = await lstat(folder).catch(() => null);
  return stats?.isDirectory() === true && stats.uid === process.getuid?.() && (stats.mode & 0o077) === 0;
}
