/** `cellpool doctor`: is everything here that cells need, and if not, what to do about it. */
import { randomBytes } from 'node:crypto';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isBindable } from '../cell/held-port.ts';
import { findOpencode } from '../cell/opencode-binary.ts';
import { largest, smallest } from '../cell/profile.ts';
import { opencodeVersion } from '../cell/spawner-site.ts';
import { CONCURRENCY_CAP, type Settings } from '../config.ts';
import { asCellpoolError } from '../errors.ts';
import { chooseIsolation, ISOLATION_HINT } from '../os/isolation.ts';
import { type LeashLevel, leashLevel } from '../os/leash.ts';
import { availableMemory, CELL_MEMORY_BYTES, cellsThatFit, RESERVE_BYTES } from '../os/memory.ts';
import { findProgram } from '../os/program.ts';
import { achievedLevels } from '../os/resource-limits.ts';
import { run } from '../os/run.ts';
import { checkRedis } from '../redis/connection.ts';
import { PortLeases } from '../redis/port-lease.ts';
import { type Connected, withRedis } from './connected.ts';
import { interruptible } from './interrupts.ts';
import type { CommonFlags } from './options.ts';
import { settingsOf } from './settings-of.ts';
import { printable, table } from './words.ts';

export interface DoctorFlags extends CommonFlags {
  json?: boolean;
}

type State = 'ok' | 'warning' | 'fault';

export interface Check {
  check: string;
  state: State;
  found: string;
  /** What to do; null when all is well. */
  advice: string | null;
}

/** The same as `src/git` says when git is missing. */
const GIT_MINIMUM = [2, 34] as const;
const REDIS_MINIMUM = [6, 2] as const;
const MIB = 1024 ** 2;
const GIB = 1024 ** 3;
/** Bind probes are cheap, a thousand of them are not. */
const PORTS_PROBED = 50;

export async function doctor(flags: DoctorFlags): Promise<number> {
  const settings = settingsOf(flags);
  return interruptible(async stop => {
    const checks = await checkAll(settings, stop.asked);
    show(checks, flags.json === true);
    return checks.some(({ state }) => state === 'fault') ? 3 : 0;
  });
}

/** Half of the checks would say nothing worth knowing: an interrupt ends them. */
async function checkAll(settings: Settings, asked: AbortSignal): Promise<Check[]> {
  const checks = [
    await attempt('git', checkGit),
    await attempt('opencode', () => checkOpencode(settings)),
    await attempt('state folder', () => checkHome(settings)),
    ...(await checkRedisAndPorts(settings, asked)),
    await attempt('memory', () => checkMemory(settings)),
    await attempt('leash', checkLeash),
    await attempt('limits', () => checkLimits(settings)),
    await attempt('isolation', () => checkIsolation(settings)),
    await attempt('workspace', () => checkWorkspace(settings)),
  ];
  asked.throwIfAborted();
  return checks;
}

function show(checks: readonly Check[], json: boolean): void {
  if (json) for (const check of checks) process.stdout.write(`${JSON.stringify(check)}\n`);
  else {
    const rows = checks.map(({ check, state, found }) => [check, state, printable(found)]);
    const advice = checks.flatMap(({ check, advice }) => (advice === null ? [] : [`${check}: ${advice}`]));
    process.stdout.write(`${[table(['CHECK', 'STATE', 'FOUND'], rows), '', ...advice].join('\n').trimEnd()}\n`);
  }
}

type Finding = Omit<Check, 'check'>;
const ok = (found: string): Finding => ({ state: 'ok', found, advice: null });

async function attempt(check: string, look: () => Promise<Finding>): Promise<Check> {
  try {
    return { check, ...(await look()) };
  } catch (error) {
    const known = asCellpoolError(error);
    return { check, state: 'fault', found: known.message, advice: known.hint ?? 'Mend what is found here.' };
  }
}

async function checkGit(): Promise<Finding> {
  const { exitCode, stdout, problem } = await run(['git', '--version'], { env: { PATH: process.env.PATH ?? '' } });
  const advice = 'Install git 2.34 or newer (Debian: apt-get install git).';
  if (exitCode !== 0) return { state: 'fault', found: problem ?? 'git does not run', advice };
  const version = /\d+\.\d+(\.\d+)?/.exec(stdout)?.[0] ?? '';
  return isAtLeast(version, GIT_MINIMUM) ? ok(version) : { state: 'fault', found: version, advice };
}

async function checkOpencode(settings: Settings): Promise<Finding> {
  const binary = await findOpencode(settings.opencodeBin);
  return ok(`${await opencodeVersion(binary)} (${binary})`);
}

async function checkHome({ home }: Settings): Promise<Finding> {
  const probe = join(home, `.doctor-${randomBytes(4).toString('hex')}`);
  try {
    await mkdir(home, { recursive: true, mode: 0o700 });
    await writeFile(probe, '');
    return ok(home);
  } catch (error) {
    const advice = 'Point CELLPOOL_HOME or --home to a folder that can be written.';
    return { state: 'fault', found: asCellpoolError(error).message, advice };
  } finally {
    await rm(probe, { force: true });
  }
}

async function checkRedisAndPorts(settings: Settings, asked: AbortSignal): Promise<Check[]> {
  let opened = false;
  // What openRedis would say of policy and file is told by the checks below; that a server does not stop, is not.
  const say = (message: string) => opened && process.stderr.write(`${message}\n`);
  const look = async (connected: Connected) => {
    opened = true;
    return [...(await redisChecks(connected)), await attempt('ports', () => checkPorts(settings, connected))];
  };
  try {
    return await withRedis(settings, say, look, asked);
  } catch (error) {
    asked.throwIfAborted();
    return [await attempt('redis', () => Promise.reject(error))];
  }
}

async function redisChecks(connected: Connected): Promise<Check[]> {
  const { version, maxmemoryPolicy, aof } = await checkRedis(await connected.connection('producer'));
  const place = connected.origin === 'private' ? 'private server' : 'REDIS_URL';
  const check = (name: string, good: boolean, found: string, advice: string): Check => ({
    check: name,
    ...(good ? ok(found) : { state: 'fault', found, advice }),
  });
  return [
    check('redis', isAtLeast(version, REDIS_MINIMUM), `${version} (${place})`, 'Use Redis 6.2 or newer, or Valkey.'),
    check(
      'redis policy',
      maxmemoryPolicy === 'noeviction',
      maxmemoryPolicy,
      'Set maxmemory-policy noeviction: jobs could vanish.',
    ),
    {
      check: 'redis file',
      ...(aof
        ? ok('append-only file')
        : {
            state: 'warning',
            found: 'no append-only file',
            advice: 'Set appendonly yes: a crash of Redis loses jobs.',
          }),
    },
  ];
}

async function checkPorts({ ports, prefix, host }: Settings, connected: Connected): Promise<Finding> {
  const held = await new PortLeases(await connected.connection('producer'), { prefix, host, range: ports }).held();
  const leased = new Set(held.map(({ port }) => port));
  const all = Array.from({ length: ports.to - ports.from + 1 }, (_, offset) => ports.from + offset);
  const probed = all.filter(port => !leased.has(port)).slice(0, PORTS_PROBED);
  const free: boolean[] = [];
  // One after another: the probe of get-port remembers ports within the process.
  for (const port of probed) free.push(await isBindable(port));
  const occupied = probed.filter((_, index) => free[index] === false);
  const found = `${ports.from}-${ports.to} on ${host}: ${leased.size} leased, ${occupied.length} of ${probed.length} probed occupied`;
  if (probed.length > occupied.length) return ok(found);
  return { state: 'fault', found, advice: 'Choose another range with --ports, below 32768.' };
}

async function checkMemory({ concurrency, profile }: Settings): Promise<Finding> {
  const available = await availableMemory();
  // At `auto` more cells than fit in as fast ones are dense, and none is asked for where no number is.
  const kind = concurrency === undefined ? largest(profile) : smallest(profile);
  const each = CELL_MEMORY_BYTES[kind];
  const fit = cellsThatFit(available, kind);
  const found = `${(available / GIB).toFixed(1)} GiB available: ${Math.min(fit, CONCURRENCY_CAP)} ${kind} cells at once`;
  if (available < RESERVE_BYTES + each) {
    return {
      state: 'warning',
      found,
      advice: `A ${kind} cell needs about ${each / MIB} MiB beside 1 GiB for everything else.`,
    };
  }
  if (concurrency === undefined || concurrency <= fit) return ok(found);
  const need = ((RESERVE_BYTES + concurrency * each) / GIB).toFixed(1);
  return {
    state: 'warning',
    found,
    advice: `${concurrency} ${kind} cells need about ${need} GiB: lower --concurrency.`,
  };
}

/** What happens to a cell's processes when the worker is killed. */
const LEASHES: Record<LeashLevel, string> = {
  'pid-namespace': 'every process of a cell ends with the worker',
  'parent-death-signal': "a cell's server ends with the worker, the reaper ends the rest",
  none: 'only the reaper ends what a killed worker leaves',
};

async function checkLeash(): Promise<Finding> {
  const level = await leashLevel();
  const found = `${level}: ${LEASHES[level]}`;
  if (level === 'pid-namespace' || process.platform !== 'linux') return ok(found);
  return { state: 'warning', found, advice: 'Allow pid namespaces (root, or user namespaces) and install util-linux.' };
}

async function checkLimits({ limits }: Settings): Promise<Finding> {
  const levels = await achievedLevels(limits);
  const { memoryMb, pids, cpus, diskMb } = limits;
  const told = [
    `memory ${memoryMb === null ? '' : `${memoryMb} MB `}${levels.memory}`,
    `processes ${pids === null ? '' : `${pids} `}${levels.pids}`,
    `cpu ${cpus === null ? '' : `${cpus} `}${levels.cpu}`,
    `disk ${diskMb === null ? '' : `${diskMb} MB `}${levels.disk}`,
  ].join(', ');
  const { memory, ...others } = levels;
  if (memory !== 'prlimit' && ![memory, ...Object.values(others)].includes('absent')) return ok(told);
  const advice =
    'Let the worker make control groups: as root, or under systemd with Delegate=yes and DelegateSubgroup=worker.';
  return { state: 'warning', found: told, advice };
}

async function checkIsolation({ isolation: { level: asked, readable } }: Settings): Promise<Finding> {
  const { level, lacking } = await chooseIsolation(asked, readable);
  if (lacking === null) return ok(level);
  return { state: 'warning', found: `${level}: ${lacking}`, advice: ISOLATION_HINT };
}

async function checkWorkspace({ workspace }: Settings): Promise<Finding> {
  if (workspace === 'clone') return ok('clone');
  const found = 'worktree: agents may change refs, config and hooks of your repository';
  if ((await findProgram('flock', process.env.PATH ?? '').catch(() => null)) === null) {
    return { state: 'fault', found: 'worktree: there is no flock on PATH', advice: 'Install util-linux.' };
  }
  return { state: 'warning', found, advice: 'Leave --workspace and CELLPOOL_WORKSPACE unset, unless you accept that.' };
}

function isAtLeast(version: string, [major, minor]: readonly [number, number]): boolean {
  const [have = 0, haveMinor = 0] = version.split('.').map(Number);
  return have > major || (have === major && haveMinor >= minor);
}
