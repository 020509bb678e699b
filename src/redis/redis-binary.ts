/** Finds a Redis server program on this machine, or makes one available without root. */
import { access, constants, mkdir } from 'node:fs/promises';
import { homedir } from 'node:os';
import { delimiter, dirname, isAbsolute, join } from 'node:path';
import { execa } from 'execa';
import { CellpoolError, messageOf } from '../errors.ts';
import { unpackDebianRedis } from './debian-redis.ts';
import { holdLock } from './file-lock.ts';

export interface RedisBinary {
  readonly file: string;
  /** Folder of the shared libraries it needs beyond the system's; undefined for an installed one. */
  readonly libraries: string | undefined;
  readonly version: string;
}

export interface FindOptions {
  /** Told, once, before something slow happens. */
  say?: ((message: string) => void) | undefined;
  signal?: AbortSignal | undefined;
  /** Default: the environment of this process; `PATH` and `XDG_CACHE_HOME` are read. */
  env?: NodeJS.ProcessEnv | undefined;
}

const NAMES = ['redis-server', 'valkey-server'];

/** Longest wait for another process that unpacks. */
const UNPACK_MS = 300_000;

const HINT =
  'Install one (Debian, Ubuntu: "sudo apt-get install redis-server"; Fedora: "sudo dnf install valkey"; ' +
  'macOS: "brew install redis"), or run "docker run -d -p 127.0.0.1:6379:6379 redis:7-alpine redis-server ' +
  '--appendonly yes" and set REDIS_URL=redis://127.0.0.1:6379.';

/**
 * `redis-server` or `valkey-server` on PATH; else the one in the cache folder; else, on Debian and Ubuntu, the
 * distribution's package, unpacked there once. Throws `REDIS_UNAVAILABLE` with what to install.
 */
export async function findRedisBinary(options: FindOptions = {}): Promise<RedisBinary> {
  const env = options.env ?? process.env;
  const installed = await onPath(env);
  if (installed !== null) return installed;

  const folder = join(cacheFolder(env), `${process.platform}-${process.arch}`);
  const cached = await unpacked(folder);
  if (cached !== null) return cached;
  let reason = 'no redis-server or valkey-server on PATH';
  if ((await find('apt-get', env)) !== null && (await find('dpkg-deb', env)) !== null) {
    try {
      return await unpackOnce(folder, options);
    } catch (error) {
      options.signal?.throwIfAborted();
      reason += `, and the distribution's package could not be unpacked (${messageOf(error)})`;
    }
  }
  throw new CellpoolError('REDIS_UNAVAILABLE', `there is no Redis: ${reason}`, { hint: HINT });
}

/** Of several processes that need it at once, one unpacks and the others wait for it. */
async function unpackOnce(folder: string, { say, signal }: FindOptions): Promise<RedisBinary> {
  await mkdir(dirname(folder), { recursive: true, mode: 0o700 });
  const release = await holdLock(join(dirname(folder), 'lock'), UNPACK_MS, signal);
  try {
    const cached = await unpacked(folder);
    if (cached !== null) return cached;
    say?.("unpacking Redis from the distribution's package, once ...");
    await unpackDebianRedis(folder, signal);
    const fresh = await unpacked(folder);
    if (fresh !== null) return fresh;
    throw new Error('what came out of it does not run');
  } finally {
    await release();
  }
}

/** The environment the server needs: nothing of ours goes to it. */
export function serverEnvironment(binary: RedisBinary): Record<string, string> {
  const path = { PATH: process.env.PATH ?? '/usr/bin:/bin' };
  return binary.libraries === undefined ? path : { ...path, LD_LIBRARY_PATH: binary.libraries };
}

async function onPath(env: NodeJS.ProcessEnv): Promise<RedisBinary | null> {
  for (const name of NAMES) {
    const file = await find(name, env);
    const binary = file === null ? null : await probe(file, undefined);
    if (binary !== null) return binary;
  }
  return null;
}

function unpacked(folder: string): Promise<RedisBinary | null> {
  return probe(join(folder, 'redis-server'), join(folder, 'lib'));
}

/** Running it is the only proof that it is whole and that its libraries are there. */
async function probe(file: string, libraries: string | undefined): Promise<RedisBinary | null> {
  const env = serverEnvironment({ file, libraries, version: '' });
  const { exitCode, stdout } = await execa(file, ['--version'], {
    env,
    extendEnv: false,
    reject: false,
    timeout: 10_000,
  });
  const version = /\bv=(\S+)/.exec(stdout ?? '')?.[1];
  return exitCode === 0 && version !== undefined ? { file, libraries, version } : null;
}

async function find(name: string, env: NodeJS.ProcessEnv): Promise<string | null> {
  for (const folder of (env.PATH ?? '').split(delimiter)) {
    // A relative entry would let the repository somebody stands in choose the program.
    if (!isAbsolute(folder)) continue;
    const file = join(folder, name);
    const executable = await access(file, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (executable) return file;
  }
  return null;
}

function cacheFolder(env: NodeJS.ProcessEnv): string {
  const base = env.XDG_CACHE_HOME;
  return join(base !== undefined && isAbsolute(base) ? base : join(homedir(), '.cache'), 'cellpool', 'redis');
}
