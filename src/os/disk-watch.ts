/**
 * Watches that folders do not outgrow a limit, cheaply: the free space of their file system is read every second,
 * and a folder is measured only when so much space has gone since its last measurement that it could
 * have reached its limit; and every few minutes, since what one writes while another deletes cannot be seen from there.
 */
import { statfsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import pLimit from 'p-limit';
import { CellpoolError } from '../errors.ts';
import { folderSize } from './folder-size.ts';

export interface WatchedFolder {
  /** Aborted, with a `CellpoolError` of code DISK_LIMIT as its reason, when the folder is larger than it may be. */
  readonly over: AbortSignal;
  /** Harmless when repeated. */
  stop(): void;
}

interface Watched {
  readonly folder: string;
  readonly limit: number;
  readonly over: AbortController;
  /** Free space of its file system at the last look; null when it was not to be had. */
  free: number | null;
  /** Bytes that it may still take before it has to be measured. */
  room: number;
  measuredAt: number;
  measuring: boolean;
}

const MIB = 1024 * 1024;

export interface DiskWatchOptions {
  /** Between two looks at the free space, in milliseconds. */
  everyMs?: number;
  /** A folder is measured at least this often, in milliseconds. */
  measureMs?: number;
  /** Measures a folder in bytes; null when that cannot be told. */
  measure?: (folder: string, signal: AbortSignal) => Promise<number | null>;
}

export class DiskWatch {
  readonly #everyMs: number;
  readonly #measureMs: number;
  readonly #measure: NonNullable<DiskWatchOptions['measure']>;
  readonly #watched = new Set<Watched>();
  /** One measurement at a time: fifty at once would take the disk from the cells. */
  readonly #turn = pLimit(1);
  #looking = false;
  /** Measurements so far; what a watch costs. */
  measurements = 0;

  constructor({ everyMs = 1_000, measureMs = 5 * 60_000, measure = folderSize }: DiskWatchOptions = {}) {
    this.#everyMs = everyMs;
    this.#measureMs = measureMs;
    this.#measure = measure;
  }

  /** Watches `folder`, which is new and little; null: without a limit, and nothing is done. */
  watch(folder: string, limitMb: number | null): WatchedFolder {
    const over = new AbortController();
    if (limitMb === null) return { over: over.signal, stop: () => undefined };
    const limit = limitMb * MIB;
    const free = freeNow(folder);
    const one = { folder, limit, over, free, room: limit, measuredAt: performance.now(), measuring: false };
    this.#watched.add(one);
    void this.#look();
    return { over: over.signal, stop: () => void this.#watched.delete(one) };
  }

  /** Goes on while there is something to watch. */
  async #look(): Promise<void> {
    if (this.#looking) return;
    this.#looking = true;
    while (this.#watched.size > 0) {
      for (const one of this.#watched) {
        const now = freeNow(one.folder);
        // Space that others have freed meanwhile is not taken for room.
        if (now !== null) one.room -= Math.max(0, (one.free ?? now) - now);
        one.free = now ?? one.free;
        if (one.room <= 0 || performance.now() - one.measuredAt >= this.#measureMs) void this.#take(one);
      }
      await sleep(this.#everyMs, undefined, { ref: false });
    }
    this.#looking = false;
  }

  async #take(one: Watched): Promise<void> {
    if (one.measuring) return;
    one.measuring = true;
    try {
      await this.#turn(async () => {
        if (!this.#watched.has(one)) return;
        this.measurements += 1;
        const roomBefore = one.room;
        const size = await this.#measure(one.folder, one.over.signal).catch(() => null);
        one.measuredAt = performance.now();
        // What went while it was measured may not have been seen.
        if (size !== null) one.room = one.limit - size + Math.min(0, one.room - roomBefore);
        if (size !== null && size > one.limit && this.#watched.has(one)) {
          this.#watched.delete(one);
          one.over.abort(overLimit(size, one.limit));
        }
      });
    } finally {
      one.measuring = false;
    }
  }
}

/** Null when the folder is gone, with its watch about to be stopped. Takes a microsecond or two. */
function freeNow(folder: string): number | null {
  try {
    const { bavail, bsize } = statfsSync(folder);
    return bavail * bsize;
  } catch {
    return null;
  }
}

function overLimit(size: number, limit: number): CellpoolError {
  const [megabytes, most] = [Math.round(size / MIB), limit / MIB];
  return new CellpoolError('DISK_LIMIT', `the cell took ${megabytes} MB of disk, more than the ${most} MB it may`, {
    hint: 'Raise CELLPOOL_DISK_MB on the worker, or make the task smaller.',
    facts: { megabytes, limitMb: most },
  });
}
