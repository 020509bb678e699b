/**
 * The Redis of Debian and Ubuntu without root: apt downloads the packages, dpkg-deb unpacks them, and only the
 * server and the libraries this system lacks are kept. Nothing is installed and nothing of the system is changed.
 */
import { cp, mkdir, mkdtemp, readdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { execa } from 'execa';

/** Each apt command; a mirror that hangs must not hang us for ever. */
const APT_MS = 120_000;
/** A temporary folder this old was left by a process that was killed. */
const ABANDONED_MS = 3_600_000;
const TEMPORARY = '.unpacking-';

/**
 * Makes `folder` hold `redis-server` and `lib/`. Built beside it and renamed into place, so that a killed process
 * leaves nothing half-done there. Rejects with what apt or dpkg said.
 */
export async function unpackDebianRedis(folder: string, signal?: AbortSignal): Promise<void> {
  const cache = dirname(folder);
  await mkdir(cache, { recursive: true, mode: 0o700 });
  await removeAbandoned(cache);
  const work = await mkdtemp(join(cache, TEMPORARY));
  try {
    const packages = await download(work, signal);
    const root = join(work, 'root');
    for (const file of packages) await run('dpkg-deb', ['-x', file, root], work, signal);
    await assemble(root, join(work, 'done'));
    // One that is there already did not run, or nobody would have come here.
    await rename(folder, join(work, 'old')).catch(() => undefined);
    await rename(join(work, 'done'), folder);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** Paths of the downloaded packages. Uses the system's package lists when they do, else fetches fresh ones. */
async function download(work: string, signal?: AbortSignal): Promise<string[]> {
  const target = join(work, 'packages');
  for (const folder of ['cache/archives/partial', 'state/lists/partial', 'packages']) {
    await mkdir(join(work, folder), { recursive: true });
  }
  // As root apt would drop to a user of its own, who cannot write here.
  const ours = ['-o', `Dir::Cache=${join(work, 'cache')}`, '-o', 'APT::Sandbox::User=root', '-o', 'Acquire::Retries=2'];
  const ownLists = [
    ...['-o', `Dir::State=${join(work, 'state')}`, '-o', `Dir::State::lists=${join(work, 'state/lists')}`],
    ...['-o', 'Dir::State::status=/var/lib/dpkg/status'],
  ];
  const fetchAll = async (options: string[]) => {
    const names = await neededPackages(options, work, signal);
    await run('apt-get', [...options, 'download', ...names], target, signal);
  };
  try {
    await fetchAll(ours);
  } catch {
    signal?.throwIfAborted();
    // Images are often shipped without lists, and old lists name versions the mirror has dropped.
    // A source that fails here need not be the one that matters: the download decides.
    await run('apt-get', [...ours, ...ownLists, 'update'], work, signal).catch(() => signal?.throwIfAborted());
    await fetchAll([...ours, ...ownLists]);
  }
  return (await readdir(target)).filter(name => name.endsWith('.deb')).map(name => join(target, name));
}

/** The server's packages, and those libraries of theirs that apt would have to install here. */
async function neededPackages(options: string[], cwd: string, signal?: AbortSignal): Promise<string[]> {
  const simulation = ['install', '--simulate', '--no-install-recommends', 'redis-server'];
  const plan = await run('apt-get', [...options, ...simulation], cwd, signal);
  const missing = [...plan.matchAll(/^Inst (\S+)/gm)].flatMap(match => match[1] ?? []);
  // Never the C library: it must be of one piece with the system's loader.
  const libraries = missing.filter(name => name.startsWith('lib') && !/^libc(6|-)/.test(name));
  // redis-server is a link to a program in redis-tools, which may be installed without it.
  return ['redis-server', 'redis-tools', ...libraries];
}

/** Picks the server and all shared libraries out of the unpacked packages. */
async function assemble(root: string, done: string): Promise<void> {
  const lib = join(done, 'lib');
  await mkdir(lib, { recursive: true });
  await cp(join(root, 'usr/bin/redis-server'), join(done, 'redis-server'), { dereference: true });
  for (const base of ['lib', 'usr/lib']) {
    for (const entry of await readdir(join(root, base), { recursive: true, withFileTypes: true }).catch(() => [])) {
      if (entry.isDirectory() || !/\.so(\.|$)/.test(entry.name)) continue;
      await cp(join(entry.parentPath, entry.name), join(lib, entry.name), { verbatimSymlinks: true });
    }
  }
}

async function removeAbandoned(cache: string): Promise<void> {
  for (const name of await readdir(cache)) {
    if (!name.startsWith(TEMPORARY)) continue;
    const path = join(cache, name);
    const age = Date.now() - ((await stat(path).catch(() => null))?.mtimeMs ?? Date.now());
    if (age > ABANDONED_MS) await rm(path, { recursive: true, force: true });
  }
}

async function run(command: string, args: string[], cwd: string, signal?: AbortSignal): Promise<string> {
  const cancel = signal === undefined ? {} : { cancelSignal: signal };
  const env = { LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive' };
  const result = await execa(command, args, { cwd, env, stdin: 'ignore', timeout: APT_MS, reject: false, ...cancel });
  if (!result.failed) return result.stdout;
  const complaint = result.stderr.trim().split('\n').slice(-3).join(' ');
  throw new Error(`${command}: ${complaint || (result.shortMessage ?? 'failed')}`);
}
