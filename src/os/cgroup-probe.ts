/** Which control groups we can really make here: found out by making one, with a process in it. */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { entering, type GroupLimits, makeGroup, pidsIn, removeGroup } from './cgroup.ts';
import {
  type CgroupMount,
  CONTROLLERS,
  candidates,
  cgroupMounts,
  groupFolder,
  type Hierarchy,
} from './cgroup-places.ts';

let found: Promise<Hierarchy[]> | null = null;

/** The trees that together bound most, each controller once; none where nothing works. Found out once in a process. */
export function usableHierarchies(): Promise<Hierarchy[]> {
  found ??= probe();
  return found;
}

async function probe(): Promise<Hierarchy[]> {
  if (process.platform !== 'linux') return [];
  const read = (path: string) => readFile(path, 'utf8').catch(() => '');
  const [mountinfo, own] = await Promise.all([read('/proc/self/mountinfo'), read('/proc/self/cgroup')]);
  const usable: Hierarchy[] = [];
  for (const mount of cgroupMounts(mountinfo)) {
    const taken = new Set(usable.flatMap(one => one.controllers));
    const hierarchy = await firstThatWorks(mount, candidates(mount, own));
    const controllers = (hierarchy?.controllers ?? []).filter(name => !taken.has(name));
    if (hierarchy !== null && controllers.length > 0) usable.push({ ...hierarchy, controllers });
  }
  return usable;
}

async function firstThatWorks(
  { version, controllers }: CgroupMount,
  bases: readonly string[],
): Promise<Hierarchy | null> {
  for (const base of bases) {
    const offered = version === 1 ? controllers : await controllersOf(base);
    const hierarchy = { version, controllers: offered, base };
    if (offered.length > 0 && (await works(hierarchy))) return hierarchy;
    // Whoever bounded the memory of a group meant all that is started in it.
    if (version === 2 && (await isBounded(base))) return null;
  }
  return null;
}

async function controllersOf(base: string): Promise<Hierarchy['controllers']> {
  const offered = (await readFile(join(base, 'cgroup.controllers'), 'utf8').catch(() => '')).trim().split(' ');
  return CONTROLLERS.filter(name => offered.includes(name));
}

async function isBounded(base: string): Promise<boolean> {
  const limit = await readFile(join(base, 'memory.max'), 'utf8').catch(() => 'max');
  return limit.trim() !== 'max';
}

const PROBE_LIMITS: GroupLimits = { memoryMb: 64, pids: 16, cpus: 0.5 };
/** A machine under load may take seconds to start a few programs. */
const PROBE_MS = 10_000;

async function works(hierarchy: Hierarchy): Promise<boolean> {
  // A place of its own, so that it is in nobody's way.
  const folder = join(groupFolder(hierarchy.base, 'probe', String(process.pid)), randomBytes(4).toString('hex'));
  try {
    await makeGroup([{ hierarchy, folder }], PROBE_LIMITS);
    return await takesProcesses(folder);
  } catch {
    return false;
  } finally {
    await removeGroup([folder]).catch(() => undefined);
  }
}

async function takesProcesses(folder: string): Promise<boolean> {
  // It answers once it has entered, and stays until it has been looked at.
  const [file, ...args] = entering([folder], ['/bin/sh', '-c', 'echo in; read -r line']);
  const child = spawn(file, args, { cwd: '/', env: {}, stdio: ['pipe', 'pipe', 'ignore'], timeout: PROBE_MS });
  child.stdin.on('error', () => undefined);
  const exited = once(child, 'exit');
  const said = await Promise.race([once(child.stdout, 'data').then(() => true), exited.then(() => false)]);
  const entered = said && (await pidsIn([folder])).includes(child.pid ?? 0);
  child.stdin.end();
  await exited;
  return entered;
}
