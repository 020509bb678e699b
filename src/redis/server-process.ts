/** Starts the program of a private Redis. */
import { spawn } from 'node:child_process';
import { open, readFile } from 'node:fs/promises';
import { CellpoolError, messageOf } from '../errors.ts';
import { isFreeWithin } from './file-lock.ts';
import { chooseSocket, type PrivateHome } from './private-home.ts';
import { type RedisBinary, serverEnvironment } from './redis-binary.ts';

/** A log larger than this is begun anew at the next start. */
const LOG_MAX_BYTES = 1_000_000;
const KILL_MS = 10_000;

export interface StartedServer {
  hasEnded(): boolean;
  /** Ends it and waits for that; only for a start that failed, by the process that began it. False: it lives on. */
  kill(): Promise<boolean>;
  /** The error to throw when it ended by itself, with the end of its log. */
  fault(): Promise<CellpoolError>;
}

/**
 * Starts the server under flock(1), which holds the server lock as long as either lives: a second server on the same
 * files is impossible even when the process that started the first was killed half-way. To be called with the door
 * lock held. Throws `STATE_FOLDER` when the log cannot be written.
 */
export async function startServer(home: PrivateHome, binary: RedisBinary): Promise<StartedServer> {
  const socket = await chooseSocket(home);
  const log = await open(home.log, 'a', 0o600).catch(error => {
    throw new CellpoolError('STATE_FOLDER', `cannot write ${home.log}: ${messageOf(error)}`, { cause: error });
  });
  try {
    if ((await log.stat()).size > LOG_MAX_BYTES) await log.truncate();
    // Not execa: it has no way to hand over an open file, and a pipe would end with this process.
    const server = spawn('flock', ['-n', home.serverLock, binary.file, ...settings(socket)], {
      cwd: home.folder,
      // A session of its own: Ctrl-C in a terminal goes to the processes that use it, and they stop it in order.
      detached: true,
      env: serverEnvironment(binary),
      stdio: ['ignore', log.fd, log.fd],
    });
    server.unref();
    let ended = false;
    const onEnd = () => {
      ended = true;
    };
    server.on('exit', onEnd).on('error', onEnd);
    return {
      hasEnded: () => ended,
      kill: () => killGroup(home, ended ? undefined : server.pid),
      fault: () => startFault(home),
    };
  } finally {
    await log.close();
  }
}

/** `group` is a child of ours not yet waited for, so its number cannot be somebody else's. */
async function killGroup(home: PrivateHome, group: number | undefined): Promise<boolean> {
  try {
    // The group, because flock does not pass signals on.
    if (group !== undefined) process.kill(-group, 'SIGTERM');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
  return await isFreeWithin(home.serverLock, KILL_MS);
}

async function startFault(home: PrivateHome): Promise<CellpoolError> {
  const lines = (await readFile(home.log, 'utf8').catch(() => '')).trim().split('\n').slice(-5);
  return new CellpoolError('REDIS_UNAVAILABLE', `the private Redis in ${home.folder} did not start`, {
    hint: `See ${home.log}.`,
    facts: { log: lines },
  });
}

/** The folder is the working folder, so that no path of the user's has to survive Redis's own quoting. */
function settings(socket: string): string[] {
  return [
    ...['--port', '0', '--unixsocket', socket, '--unixsocketperm', '700'],
    ...['--dir', '.', '--appendonly', 'yes', '--appendfsync', 'everysec', '--save', ''],
    ...['--maxmemory-policy', 'noeviction', '--daemonize', 'no'],
  ];
}
