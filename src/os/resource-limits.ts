/**
 * The bounds of one cell, as this machine can draw them:
 *
 * | way     | holds for          | memory | processes | CPU |
 * |---------|--------------------|--------|-----------|-----|
 * | cgroup  | the cell as a whole| yes    | yes       | yes |
 * | prlimit | each process of it | yes    | no        | no  |
 *
 * The kernel's limit of processes (RLIMIT_NPROC) counts all of a user's, those of other cells and the user's own as
 * well, and none of root's: it cannot bound a cell, and is not used.
 */
import { createHash } from 'node:crypto';
import { readFile, statfs } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { CellpoolError } from '../errors.ts';
import { entering, type GroupPlace, killGroup, makeGroup, memoryEvents, removeGroup } from './cgroup.ts';
import { type Controller, groupFolder, TOP } from './cgroup-places.ts';
import { usableHierarchies } from './cgroup-probe.ts';
import type { Argv } from './leash.ts';
import { findProgram } from './program.ts';

export interface ResourceLimits {
  /** Of all processes of a cell together, in MiB; null in these: no limit. */
  readonly memoryMb: number | null;
  /** Processes and threads. */
  readonly pids: number | null;
  /** 1.5 is the time of one and a half processors. */
  readonly cpus: number | null;
  /** Of workspace, home and tmp together, in MiB; no single file may be larger either. */
  readonly diskMb: number | null;
}

/** How a limit is held; `absent`: it was asked for, and this machine has no way; `off`: it was not asked for. */
export const LIMIT_WAYS = ['cgroup', 'prlimit', 'absent', 'off'] as const;
export type LimitWay = (typeof LIMIT_WAYS)[number];

export interface LimitLevels {
  readonly memory: LimitWay;
  readonly pids: LimitWay;
  readonly cpu: LimitWay;
  readonly disk: 'watched' | 'off';
}

const MIB = 1024 * 1024;
/** What the server's runtime maps and does not use; a limit a process counts it all the same. Measured: 3.3 GiB. */
const SERVER_MAPS_MB = 4096;

/** What `limits` come to on this machine. */
export async function achievedLevels(limits: ResourceLimits): Promise<LimitLevels> {
  const [controllers, prlimit] = await Promise.all([usableControllers(), findPrlimit()]);
  const way = (controller: Controller, value: number | null): LimitWay => {
    if (value === null) return 'off';
    if (controllers.has(controller)) return 'cgroup';
    return controller === 'memory' && prlimit !== null ? 'prlimit' : 'absent';
  };
  const { memoryMb, pids, cpus, diskMb } = limits;
  const ways = { memory: way('memory', memoryMb), pids: way('pids', pids), cpu: way('cpu', cpus) };
  return { ...ways, disk: diskMb === null ? 'off' : 'watched' };
}

/** The bounds of one cell. Nothing exists of them until `make`. */
export class Bounds {
  readonly levels: LimitLevels;
  /** The folders of its control group; none without one. */
  readonly groups: readonly string[];
  readonly #limits: ResourceLimits;
  readonly #places: readonly GroupPlace[];
  readonly #prlimit: Prlimit | null;

  private constructor(parts: {
    levels: LimitLevels;
    limits: ResourceLimits;
    places: readonly GroupPlace[];
    prlimit: Prlimit | null;
  }) {
    this.levels = parts.levels;
    this.groups = parts.places.map(one => one.folder);
    this.#limits = parts.limits;
    this.#places = parts.places;
    this.#prlimit = parts.prlimit;
  }

  static async plan(home: string, cellId: string, limits: ResourceLimits): Promise<Bounds> {
    const [levels, hierarchies, prlimit] = await Promise.all([
      achievedLevels(limits),
      usableHierarchies(),
      findPrlimit(),
    ]);
    // Also without a limit: what is in a group can be ended to the last, whatever it does to hide.
    const places = hierarchies.map(hierarchy => ({
      hierarchy,
      folder: join(groupFolder(hierarchy.base, home, hashOf(home)), cellId),
    }));
    return new Bounds({ levels, limits, places, prlimit });
  }

  async make(): Promise<void> {
    await makeGroup(this.#places, this.#limits);
  }

  /** Puts a server under its bounds before anything of it runs. */
  readonly ofServer = (argv: Argv): Argv => this.#put(argv, SERVER_MAPS_MB);

  /** The same for a command. */
  readonly ofCommand = (argv: Argv): Argv => this.#put(argv, 0);

  /** Ends all of the cell's processes, if they are in a group. @throws {CellpoolError} INTERNAL when one survives */
  async kill(): Promise<void> {
    await killGroup(this.groups);
  }

  /** How many processes the kernel has killed so far for want of memory. */
  async memoryKills(): Promise<number> {
    return (await memoryEvents(this.groups))?.kills ?? 0;
  }

  /** What to say when there are more such kills than `before`; else null. */
  async outOfMemorySince(before: number): Promise<CellpoolError | null> {
    const events = await memoryEvents(this.groups);
    if (events === null || events.kills <= before) return null;
    const { memoryMb } = this.#limits;
    if (!events.ownLimit || memoryMb === null) {
      return new CellpoolError('OUT_OF_MEMORY', 'the machine was out of memory, and a process of the cell was killed', {
        hint: 'Lower --concurrency, or raise CELLPOOL_RESERVE_MEMORY_MB.',
      });
    }
    return new CellpoolError('OUT_OF_MEMORY', `the cell used more than ${memoryMb} MB of memory`, {
      hint: 'Raise CELLPOOL_MEMORY_MB on the worker, or make the task smaller.',
      facts: { memoryMb },
    });
  }

  /** Ends what is left in the group and removes it. Harmless when repeated, and when it was never made. */
  async remove(): Promise<void> {
    await removeGroup(this.groups);
  }

  #put(argv: Argv, mapsMb: number): Argv {
    const rlimits = this.#prlimit === null ? [] : this.#prlimit.argv(this.#rlimits(mapsMb));
    const bounded: Argv = [...rlimits, ...argv] as unknown as Argv;
    return this.groups.length === 0 ? bounded : entering(this.groups, bounded);
  }

  #rlimits(mapsMb: number): Rlimits {
    const { memoryMb, diskMb } = this.#limits;
    return {
      // Not the whole address space: many runtimes reserve far more of that than they ever use.
      ...(this.levels.memory === 'prlimit' && memoryMb !== null ? { data: (memoryMb + mapsMb) * MIB } : {}),
      // One huge file grows faster than anybody looks.
      ...(diskMb === null ? {} : { fsize: diskMb * MIB }),
    };
  }
}

/** Whether `folder` is there and is a group of this cell; a record that names it may say anything. */
export async function isGroupOf(folder: string, home: string, cellId: string): Promise<boolean> {
  const above = dirname(folder);
  const expected = basename(groupFolder('/', home, hashOf(home)));
  if (basename(folder) !== cellId || basename(above) !== expected || basename(dirname(above)) !== TOP) return false;
  // Not a folder that somebody has made for us to find, with pids in it that we would kill.
  const system = await statfs(folder).catch(() => null);
  return system !== null && CGROUP_SYSTEMS.has(system.type);
}

/** Magic numbers of statfs(2): versions 1 and 2. */
const CGROUP_SYSTEMS: ReadonlySet<number> = new Set([0x27e0eb, 0x63677270]);

/** Folders that hold the groups of this state folder's cells, in the trees that we can use. */
export async function groupFolders(home: string): Promise<string[]> {
  return (await usableHierarchies()).map(({ base }) => groupFolder(base, home, hashOf(home)));
}

async function usableControllers(): Promise<ReadonlySet<Controller>> {
  return new Set((await usableHierarchies()).flatMap(one => one.controllers));
}

function hashOf(home: string): string {
  return createHash('sha256').update(home).digest('hex').slice(0, 8);
}

interface Rlimits {
  data?: number;
  fsize?: number;
}

interface Prlimit {
  argv(limits: Rlimits): string[];
}

let prlimit: Promise<Prlimit | null> | null = null;

/** The program of util-linux; null where it is not, or this is not Linux. */
function findPrlimit(): Promise<Prlimit | null> {
  prlimit ??= lookForPrlimit();
  return prlimit;
}

async function lookForPrlimit(): Promise<Prlimit | null> {
  if (process.platform !== 'linux') return null;
  // Never along the PATH of a cell, where an agent may have put a program of this name.
  const path = await findProgram('prlimit', `${process.env.PATH ?? ''}:/usr/bin:/bin`).catch(() => null);
  const own = await readFile('/proc/self/limits', 'utf8').catch(() => null);
  if (path === null || own === null) return null;
  // Without root a hard limit can only be lowered: ours, where it is lower already, stays.
  const hard = (name: string) => Number(new RegExp(`^${name} +\\S+ +(\\d+)`, 'm').exec(own)?.[1] ?? Infinity);
  const most = { data: hard('Max data size'), fsize: hard('Max file size') };
  return {
    argv({ data, fsize }) {
      const flags = [
        ...(data === undefined ? [] : [`--data=${Math.min(data, most.data)}`]),
        ...(fsize === undefined ? [] : [`--fsize=${Math.min(fsize, most.fsize)}`]),
      ];
      return flags.length === 0 ? [] : [path, ...flags, '--'];
    },
  };
}
