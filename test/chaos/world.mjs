/** The private world of a run: a folder with a repository, two state folders, a model, a Redis, and an environment. */
import { execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { cpSync, lstatSync, mkdirSync, mkdtempSync, realpathSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { startModel } from './model.mjs';
import { startRedis } from './redis.mjs';

export const CLI = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
/** Carried by every process that the run starts itself; what cells start is known by the run's folder. */
export const MARK = 'CELLPOOL_CHAOS';
export const PREFIX = 'chaos';
/** Long enough for a test command on a busy machine; what hangs is ended after it. */
const TEST_MS = 15_000;
/** A command that finds no Redis or no state folder it can use says so with this. */
const LACKING = 3;
/** A start takes a moment: what was missing may be there again when it is told. */
const EXCUSED_MS = 5_000;
const SMALL_DISK = 'size=400m,mode=0700';

/** Ports of the two hosts; they do not overlap, because in truth both are this machine. */
const HOSTS = [
  { name: 'alpha', ports: { from: 21_000, to: 21_099 } },
  { name: 'beta', ports: { from: 22_000, to: 22_099 } },
];

export async function makeWorld() {
  // In /tmp itself: a unix socket's path may not be long.
  const folder = realpathSync(mkdtempSync(join(tmpdir().length > 40 ? '/tmp' : tmpdir(), 'chaos-')));
  const paths = { repository: join(folder, 'repo'), temp: join(folder, 'tmp'), logs: join(folder, 'logs') };
  for (const name of ['user', 'tmp', 'logs', 'alpha', 'beta']) mkdirSync(join(folder, name));
  const mark = randomBytes(6).toString('hex');
  const smallDisk = mountSmallDisk(join(folder, 'beta'));
  const git = (...args) => runGit(paths.repository, args);
  try {
    makeRepository(paths.repository, git);
    const model = await startModel();
    const redis = await startRedis(folder);
    writeFileSync(join(folder, 'opencode.json'), JSON.stringify(model.config));
    const hosts = HOSTS.map(host => ({ ...host, home: join(folder, host.name) }));
    const envOf = host => ({
      PATH: process.env.PATH ?? '',
      HOME: join(folder, 'user'),
      TMPDIR: paths.temp,
      LC_ALL: 'C',
      // Where an unpacked Redis lies, and an opencode that is not the package's.
      ...pass('XDG_CACHE_HOME', 'OPENCODE_BIN'),
      REDIS_URL: redis.url,
      CELLPOOL_HOME: host.home,
      CELLPOOL_HOST: host.name,
      CELLPOOL_PREFIX: PREFIX,
      CELLPOOL_PORTS: `${host.ports.from}-${host.ports.to}`,
      CELLPOOL_MODEL: model.name,
      CELLPOOL_GRACE_MS: '2000',
      // The small disk is smaller than the reserve that is kept by default.
      CELLPOOL_RESERVE_DISK_MB: '32',
      CELLPOOL_RESERVE_MEMORY_MB: '256',
      [MARK]: mark,
    });
    const disk = { fullUntil: 0 };
    return {
      folder,
      ...paths,
      disk,
      /** Whether a worker may end by itself with this exit code: it could not begin without Redis or disk. */
      excuses: (host, exitCode) =>
        exitCode === LACKING &&
        (redis.wasAway(EXCUSED_MS) || (host === hosts[1] && Date.now() < disk.fullUntil + EXCUSED_MS)),
      mark: `${MARK}=${mark}`,
      smallDisk,
      base: git('rev-parse', 'main'),
      git,
      model,
      redis,
      hosts,
      envOf,
      /** Runs a command of the command line to its end. */
      cli: (args, host = hosts[0]) => runCli(args, envOf(host), folder),
      /** What lies on the small disk goes with it; a folder that is kept gets a copy. */
      async close({ keep }) {
        await model.close();
        await redis.close();
        if (!smallDisk) return;
        const beta = join(folder, 'beta');
        const copy = join(folder, 'beta-copy');
        // Cells that were cut off leave sockets, which cannot be copied.
        const filter = path => !lstatSync(path).isSocket();
        if (keep) cpSync(beta, copy, { recursive: true, verbatimSymlinks: true, filter });
        execFileSync('umount', ['--lazy', beta]);
        if (keep) {
          rmSync(beta, { recursive: true });
          renameSync(copy, beta);
        }
      },
      remove: () => rmSync(folder, { recursive: true, force: true, maxRetries: 3 }),
    };
  } catch (error) {
    if (smallDisk) execFileSync('umount', ['--lazy', join(folder, 'beta')]);
    throw error;
  }
}

const pass = (...names) =>
  Object.fromEntries(names.flatMap(name => (process.env[name] === undefined ? [] : [[name, process.env[name]]])));

/** Whether there is a small file system there now; only root may make one. */
function mountSmallDisk(folder) {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return false;
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', SMALL_DISK, 'tmpfs', folder], { stdio: 'ignore' });
    return true;
  } catch {
    // In a container root may not mount either; the fault is then told as skipped.
    return false;
  }
}

function makeRepository(folder, git) {
  mkdirSync(folder);
  git('init', '--quiet', '--template=', '--initial-branch=main');
  writeFileSync(join(folder, 'README.md'), '# A repository to break things on\n');
  writeFileSync(join(folder, 'cellpool.yaml'), `limits:\n  testMs: ${TEST_MS}\n`);
  git('add', '--all');
  git('commit', '--quiet', '--message=first');
}

function runGit(folder, args) {
  const person = { NAME: 'Chaos', EMAIL: 'chaos@example.invalid' };
  const env = {
    PATH: process.env.PATH ?? '',
    HOME: '/nonexistent',
    LC_ALL: 'C',
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_CONFIG_NOSYSTEM: '1',
    ...Object.fromEntries(
      ['AUTHOR', 'COMMITTER'].flatMap(role =>
        Object.entries(person).map(([key, value]) => [`GIT_${role}_${key}`, value]),
      ),
    ),
  };
  const stdio = ['ignore', 'pipe', 'pipe'];
  return execFileSync('git', args, { cwd: folder, env, encoding: 'utf8', stdio, maxBuffer: 2 ** 26 }).trimEnd();
}

async function runCli(args, env, cwd) {
  const child = spawn(process.execPath, [CLI, ...args], { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] });
  const [stdout, stderr, [exitCode]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'close'),
  ]);
  return { exitCode, stdout, stderr };
}

/** The objects of an answer on stdout, one a line. */
export const jsonLines = stdout =>
  stdout
    .split('\n')
    .filter(Boolean)
    .map(line => JSON.parse(line));
