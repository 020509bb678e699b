/**
 * Attacks on what the machine has: its processes, memory and disk. Each ends its cell or spoils it, so each has one of
 * its own, with limits so low that no machine is in danger from it. None goes on for ever should the limits not hold.
 */
import type { Controller } from '../../src/os/cgroup-places.ts';
import { usableHierarchies } from '../../src/os/cgroup-probe.ts';
import type { ResourceLimits } from '../../src/os/resource-limits.ts';
import { at, type Row } from './attack.ts';

/** Seen from outside while the session ran, and after teardown; sizes in MiB. */
export interface Watched {
  /** Code of the error that ended the session; null when it ended by itself or was ended by the test. */
  errorCode: string | null;
  /** Whether another process could be started on the host, every time it was tried. */
  couldFork: boolean;
  /** Most processes in the cell's control group, and most memory. */
  peakPids: number;
  peakMemory: number;
  /** By how much the host's available memory, memory for files, and free disk were worse than at the beginning. */
  memoryFallen: number;
  sharedRisen: number;
  diskTaken: number;
  /** What of it was left after teardown. */
  left: string[];
}

export interface LimitAttack extends Row {
  shell: string;
  limits: Pick<ResourceLimits, 'memoryMb' | 'pids' | 'diskMb'>;
  /** Whether it came to what the limit is for: an attack that never happened shows nothing. */
  tried(seen: Watched): boolean;
  /** Whether the host felt it, or something is left of it. */
  reached(seen: Watched): boolean;
  /** It would go on: the session is ended when it has been `tried`. */
  endless?: boolean;
}

const contained = at('contained', 'contained', 'contained');
const controllers = new Set((await usableHierarchies()).flatMap(one => one.controllers));
const needs = (controller: Controller) => () =>
  controllers.has(controller) ? null : `no control group with ${controller} can be made here, so nothing bounds it`;

export const ON_LIMITS: readonly LimitAttack[] = [
  {
    id: 'fork-bomb',
    title: 'set off a fork bomb',
    shell: 'bomb() { bomb | bomb & }; bomb 2>/dev/null; sleep 1000',
    limits: { memoryMb: 1024, pids: 200, diskMb: 200 },
    endless: true,
    tried: ({ peakPids }) => peakPids > 150,
    reached: ({ couldFork, peakPids, left }) => !couldFork || peakPids > 200 || left.length > 0,
    expected: contained,
    unfit: needs('pids'),
  },
  {
    id: 'eat-memory',
    title: 'eat 8 GB of memory',
    // All of it is kept, since there is no end of a line in it.
    shell: 'head -c 8G /dev/zero | tail > /dev/null; echo "ended with $?"',
    limits: { memoryMb: 1024, pids: 200, diskMb: 200 },
    tried: ({ peakMemory }) => peakMemory > 900,
    // Others use the machine too.
    reached: ({ peakMemory, memoryFallen, left }) => peakMemory > 1024 || memoryFallen > 3 * 1024 || left.length > 0,
    expected: contained,
    unfit: needs('memory'),
  },
  {
    id: 'files-in-memory',
    title: 'fill memory with files in /dev',
    shell:
      'for n in $(seq 12); do for at in /dev/shm /dev; do head -c 64M /dev/zero > $at/fill.$n; done; done; sleep 3',
    limits: { memoryMb: 2048, pids: 200, diskMb: 200 },
    tried: ({ sharedRisen }) => sharedRisen > 200,
    reached: ({ sharedRisen, left }) => sharedRisen > 400 || left.length > 0,
    // There it is the host's own, as is its content.
    expected: at(null, 'contained', 'contained'),
  },
  {
    id: 'fill-disk',
    title: 'fill the disk',
    shell: 'for n in $(seq 16); do head -c 64M /dev/zero > fill.$n; sleep 0.3; done; sleep 1000',
    limits: { memoryMb: 2048, pids: 200, diskMb: 200 },
    tried: ({ diskTaken }) => diskTaken > 150,
    reached: ({ errorCode, left }) => errorCode !== 'DISK_LIMIT' || left.length > 0,
    expected: contained,
  },
];
