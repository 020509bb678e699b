/** Memory that new cells may use: the smaller of what the machine and its cgroup have left. */
import { readFile } from 'node:fs/promises';
import { freemem } from 'node:os';
import { join } from 'node:path';

const MIB = 1024 * 1024;

/** A cell with the opencode server, after a session: 510 to 600 MB resident, 420 to 510 of them its own. Measured. */
export const CELL_MEMORY_BYTES = 450 * MIB;

/** Left for the system, Redis and the worker itself. */
export const RESERVE_BYTES = 1024 * MIB;

/** Bytes that can be had without swapping. */
export async function availableMemory(): Promise<number> {
  const meminfo = await readFile('/proc/meminfo', 'utf8').catch(() => '');
  const available = /^MemAvailable:\s+(\d+) kB/m.exec(meminfo)?.[1];
  const machine = available === undefined ? freemem() : Number(available) * 1024;
  const limits = await Promise.all([
    cgroupRoom('/sys/fs/cgroup', 'memory.max', 'memory.current', /^inactive_file (\d+)/m),
    cgroupRoom(
      '/sys/fs/cgroup/memory',
      'memory.limit_in_bytes',
      'memory.usage_in_bytes',
      /^total_inactive_file (\d+)/m,
    ),
  ]);
  return Math.max(0, Math.min(machine, ...limits));
}

/** How many cells fit into `available` bytes; at least one, since with none nothing would ever be done. */
export function cellsThatFit(available: number): number {
  return Math.max(1, Math.floor((available - RESERVE_BYTES) / CELL_MEMORY_BYTES));
}

/** Room below a cgroup's limit; the page cache it would give back (`inactive_file`) counts as room. */
async function cgroupRoom(folder: string, limit: string, usage: string, cache: RegExp): Promise<number> {
  const [most, used, stat] = await Promise.all(
    [limit, usage, 'memory.stat'].map(file => readFile(join(folder, file), 'utf8').catch(() => '')),
  );
  const room =
    Number.parseInt(most ?? '', 10) - Number.parseInt(used ?? '', 10) + Number(cache.exec(stat ?? '')?.[1] ?? 0);
  return Number.isFinite(room) ? room : Number.POSITIVE_INFINITY;
}
