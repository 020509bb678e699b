/** Memory that new cells may use: the smaller of what the machine and the cgroups we are in have left. */
import { readFile } from 'node:fs/promises';
import { freemem } from 'node:os';
import { join } from 'node:path';
import type { PROFILES } from '../config.ts';

const MIB = 1024 * 1024;

/** How a cell's server is set; see `cell/profile.ts`. */
export type Profile = Exclude<(typeof PROFILES)[number], 'auto'>;

/**
 * What a cell with the opencode server may come to have of its own after a session when its server keeps all models that
 * it knows; most have a third less (see `cell/model-catalogue.ts`). Measured: `bench/density.mjs`.
 */
export const CELL_MEMORY_BYTES: Readonly<Record<Profile, number>> = { fast: 450 * MIB, dense: 380 * MIB };

/** Left for the system, Redis and the worker itself. */
export const RESERVE_BYTES = 1024 * MIB;

/** Where version 2 of cgroups is mounted, and the memory controller of version 1. */
const [V2, V1] = ['/sys/fs/cgroup', '/sys/fs/cgroup/memory'];

/** Bytes that can be had without swapping. */
export async function availableMemory(): Promise<number> {
  const machine = memAvailable(await textOf('/proc/meminfo')) ?? freemem();
  const rooms = cgroupFolders(await textOf('/proc/self/cgroup')).map(async folder => {
    const files = `${folder}/`.startsWith(`${V1}/`)
      ? ['memory.limit_in_bytes', 'memory.usage_in_bytes', 'memory.stat']
      : ['memory.max', 'memory.current', 'memory.stat'];
    const [limit, usage, stat] = await Promise.all(files.map(file => textOf(join(folder, file))));
    return cgroupRoom(limit ?? '', usage ?? '', stat ?? '');
  });
  return Math.max(0, Math.min(machine, ...(await Promise.all(rooms))));
}

/** How many cells fit into `available` bytes; at least one, since with none nothing would ever be done. */
export function cellsThatFit(available: number, profile: Profile): number {
  return Math.max(1, Math.floor((available - RESERVE_BYTES) / CELL_MEMORY_BYTES[profile]));
}

/** What `/proc/meminfo` says is available, in bytes; null when it does not say. */
export function memAvailable(meminfo: string): number | null {
  const kilobytes = /^MemAvailable:\s+(\d+) kB/m.exec(meminfo)?.[1];
  return kilobytes === undefined ? null : Number(kilobytes) * 1024;
}

/** The folders of the cgroups that `/proc/self/cgroup` names, up to the top: a limit may stand at each of them. */
export function cgroupFolders(selfCgroup: string): string[] {
  const folders = new Set([V2, V1]);
  for (const [, controllers, path] of selfCgroup.matchAll(/^\d+:([^:]*):(\/.*)$/gm)) {
    if (controllers !== '' && !controllers?.split(',').includes('memory')) continue;
    const top = controllers === '' ? V2 : V1;
    const names = (path ?? '').split('/').filter(Boolean);
    // A cgroup outside of what this mount shows is told with dots, and cannot be read.
    if (names.includes('..')) continue;
    for (let depth = names.length; depth > 0; depth -= 1) folders.add([top, ...names.slice(0, depth)].join('/'));
  }
  return [...folders];
}

/**
 * Room below a cgroup's limit, from the texts of its files; infinite without a limit. The page cache that it would
 * give back counts as room.
 */
export function cgroupRoom(limit: string, usage: string, stat: string): number {
  const room = Number.parseInt(limit, 10) - Number.parseInt(usage, 10) + cacheIn(stat);
  return Number.isFinite(room) ? room : Number.POSITIVE_INFINITY;
}

/** Bytes of page cache in a cgroup's `memory.stat` that the kernel would give back at once. */
export function cacheIn(stat: string): number {
  // Version 1 tells a number of the folder alone as well, without those below it.
  const cache = /^total_inactive_file (\d+)/m.exec(stat) ?? /^inactive_file (\d+)/m.exec(stat);
  return Number(cache?.[1] ?? 0);
}

function textOf(path: string): Promise<string> {
  return readFile(path, 'utf8').catch(() => '');
}
