/**
 * A control group: processes that the kernel bounds together, in memory, number and CPU time, and from which none of
 * them or of their children gets out. A group has a folder in each of the trees it takes to bind it.
 */
import { mkdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { CellpoolError } from '../errors.ts';
import { type Controller, type Hierarchy, TOP } from './cgroup-places.ts';
import { killEntry, readProcess } from './process-table.ts';

/** What a group may use; null: as much as there is. */
export interface GroupLimits {
  readonly memoryMb: number | null;
  /** Processes and threads. */
  readonly pids: number | null;
  /** Of the time of one processor: 1.5 is one and a half. */
  readonly cpus: number | null;
}

export interface GroupPlace {
  readonly hierarchy: Hierarchy;
  readonly folder: string;
}

export interface MemoryEvents {
  /** Processes of the group that the kernel has killed for want of memory. */
  readonly kills: number;
  /** Whether it was the group's own limit; else all of the machine, or a group above, was short of it. */
  readonly ownLimit: boolean;
}

const MIB = 1024 * 1024;
/** The kernel takes memory off a limit in lots. */
const CHARGED_AT_ONCE = MIB;
/** In which the CPU time is dealt out, in microseconds. */
const PERIOD_US = 100_000;
/** After SIGKILL the kernel needs a moment to take back memory; longer than this something is wrong. */
const GONE_MS = 5_000;
const POLL_MS = 5;
const POLL_MOST_MS = 100;
/** Somebody else may remove the folder above, as the last who used it, just before ours is made in it. */
const MAKE_TRIES = 20;

/**
 * Makes the group and sets its limits. One of which a part cannot be made is removed again.
 * @throws the file system's error, or CellpoolError INTERNAL when the kernel does not keep a limit
 */
export async function makeGroup(places: readonly GroupPlace[], limits: GroupLimits): Promise<void> {
  try {
    for (const { hierarchy, folder } of places) {
      await makeFolder(hierarchy, folder);
      for (const controller of hierarchy.controllers) await setLimit(hierarchy.version, controller, folder, limits);
    }
  } catch (error) {
    await removeGroup(places.map(one => one.folder)).catch(() => undefined);
    throw error;
  }
}

async function makeFolder(hierarchy: Hierarchy, folder: string): Promise<void> {
  for (let tries = 1; ; tries += 1) {
    try {
      if (hierarchy.version === 2) await passOn(hierarchy, hierarchy.base);
      for (const above of [dirname(dirname(folder)), dirname(folder)]) {
        await mkdir(above).catch(unlessThere);
        if (hierarchy.version === 2) await passOn(hierarchy, above);
      }
      return await mkdir(folder);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || tries >= MAKE_TRIES) throw error;
    }
  }
}

function unlessThere(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EEXIST') throw error;
}

/** Version 2: lets the groups in `folder` have limits of these kinds. */
async function passOn({ controllers }: Hierarchy, folder: string): Promise<void> {
  const path = join(folder, 'cgroup.subtree_control');
  const passed = (await readFile(path, 'utf8')).trim().split(' ');
  const missing = controllers.filter(name => !passed.includes(name));
  if (missing.length > 0) await writeFile(path, missing.map(name => `+${name}`).join(' '));
}

async function setLimit(version: 1 | 2, controller: Controller, folder: string, limits: GroupLimits): Promise<void> {
  const set = async (file: string, value: string) => {
    await writeFile(join(folder, file), value);
    const kept = (await readFile(join(folder, file), 'utf8')).trim();
    if (kept !== value) throw new CellpoolError('INTERNAL', `the kernel made ${kept} of ${value} in ${folder}/${file}`);
  };
  const { memoryMb, pids, cpus } = limits;
  if (controller === 'memory' && memoryMb !== null) {
    const bytes = String(memoryMb * MIB);
    // Nor in swap: a cell that swaps keeps all others from the disk.
    if (version === 1) {
      await set('memory.limit_in_bytes', bytes);
      await set('memory.memsw.limit_in_bytes', bytes).catch(unlessNotCounted);
    } else {
      await set('memory.swap.max', '0').catch(unlessNotCounted);
      await set('memory.max', bytes);
    }
  }
  if (controller === 'pids' && pids !== null) await set('pids.max', String(pids));
  if (controller === 'cpu' && cpus !== null) {
    const quota = Math.round(cpus * PERIOD_US);
    if (version === 2) await set('cpu.max', `${quota} ${PERIOD_US}`);
    else {
      await set('cpu.cfs_period_us', String(PERIOD_US));
      await set('cpu.cfs_quota_us', String(quota));
    }
  }
}

/** Kernels that do not count swap have no file for it. */
function unlessNotCounted(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOENT' && error.code !== 'EACCES' && error.code !== 'EOPNOTSUPP') throw error;
}

/** `sh -c ENTER sh <file>... -- <argv>`: 0 is whoever writes it, however pids are counted there. */
const ENTER = 'while [ "$1" != -- ]; do echo 0 >"$1" || exit 126; shift; done; shift; exec "$@"';

/** `argv` as a process of the group from its first moment on. Its environment goes through a shell. */
export function entering(folders: readonly string[], argv: readonly string[]): [string, ...string[]] {
  const files = folders.map(folder => join(folder, 'cgroup.procs'));
  return ['/bin/sh', '-c', ENTER, 'sh', ...files, '--', ...argv];
}

/** Pids in the groups, as far as we can see them. */
export async function pidsIn(folders: readonly string[]): Promise<number[]> {
  const texts = await Promise.all(folders.map(folder => textOf(join(folder, 'cgroup.procs'))));
  return [...new Set(texts.flatMap(text => (text ?? '').split('\n').map(Number)))].filter(pid => pid > 0);
}

/**
 * Kills all that is in the groups, also what starts meanwhile, and waits until nothing is. Harmless for groups that are
 * gone. Returns how many were seen. @throws {CellpoolError} INTERNAL when it takes more than 5 s
 */
export async function killGroup(folders: readonly string[]): Promise<number> {
  const deadline = performance.now() + GONE_MS;
  const seen = new Set<number>();
  for (let wait = POLL_MS; ; wait = Math.min(wait * 2, POLL_MOST_MS)) {
    const pids = await pidsIn(folders);
    if (pids.length === 0) return seen.size;
    if (performance.now() > deadline) {
      throw new CellpoolError('INTERNAL', `processes survive SIGKILL for ${GONE_MS / 1_000} s: ${pids.join(', ')}`);
    }
    for (const pid of pids) seen.add(pid);
    const atOnce = folders.map(folder => writeThere(join(folder, 'cgroup.kill'), '1'));
    if (!(await Promise.all(atOnce)).includes(true)) await killEach(folders, pids);
    await sleep(wait);
  }
}

/** Where the kernel does not kill a group at once: nobody in it may start another one while they are killed. */
async function killEach(folders: readonly string[], pids: readonly number[]): Promise<void> {
  const limits = await Promise.all(folders.map(folder => textOf(join(folder, 'pids.max'))));
  await Promise.all(folders.map((folder, at) => limits[at] !== null && writeThere(join(folder, 'pids.max'), '0')));
  const entries = await Promise.all(pids.map(readProcess));
  const still = new Set(await pidsIn(folders));
  await Promise.all(entries.map(entry => entry !== null && still.has(entry.pid) && killEntry(entry)));
  await Promise.all(folders.map((folder, at) => writeThere(join(folder, 'pids.max'), limits[at] ?? 'max')));
}

/** Kills all in the groups and removes them, and the folders above them if these are empty then. Harmless when repeated. */
export async function removeGroup(folders: readonly string[]): Promise<void> {
  const deadline = performance.now() + GONE_MS;
  for (const folder of folders) {
    for (;;) {
      await killGroup([folder]);
      const fault = await rmdir(folder).then(
        () => null,
        error => error as NodeJS.ErrnoException,
      );
      if (fault === null || fault.code === 'ENOENT') break;
      // Those who have just ended are let go of a moment later.
      if (fault.code !== 'EBUSY' || performance.now() > deadline) throw fault;
      await sleep(POLL_MS);
    }
    const [home, top] = [dirname(folder), dirname(dirname(folder))];
    // Others may be in use, and the next one who makes a group makes these again.
    if (basename(top) === TOP)
      await rmdir(home)
        .then(() => rmdir(top))
        .catch(() => undefined);
  }
}

/** Null when the groups do not count memory. */
export async function memoryEvents(folders: readonly string[]): Promise<MemoryEvents | null> {
  for (const folder of folders) {
    const files = ['memory.events', 'memory.events.local', 'memory.oom_control'];
    const [events = null, local = null, control = null] = await Promise.all(
      files.map(name => textOf(join(folder, name))),
    );
    const told = events ?? control;
    if (told === null) continue;
    const count = (name: string, text: string) => Number(new RegExp(`^${name} (\\d+)`, 'm').exec(text)?.[1] ?? 0);
    const ownLimit = events === null ? await wasFull(folder) : count('oom', local ?? events) > 0;
    return { kills: count('oom_kill', told), ownLimit };
  }
  return null;
}

/** Version 1: its count of refusals stands still on newer kernels, the most that was ever used does not. */
async function wasFull(folder: string): Promise<boolean> {
  const files = ['memory.limit_in_bytes', 'memory.max_usage_in_bytes'];
  const [limit, most] = await Promise.all(files.map(async name => Number(await textOf(join(folder, name)))));
  return limit !== undefined && most !== undefined && most >= limit - CHARGED_AT_ONCE;
}

/** Null when it cannot be read: it is gone, or not of this version. */
function textOf(path: string): Promise<string | null> {
  return readFile(path, 'utf8').catch(() => null);
}

/** False when there is no such file, or the kernel does not take it. Never makes one. */
function writeThere(path: string, value: string): Promise<boolean> {
  return writeFile(path, value, { flag: 'r+' }).then(
    () => true,
    () => false,
  );
}
