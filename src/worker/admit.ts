/**
 * Admission: how many cells may run now, so that neither memory nor disk falls under its reserve. Cells that run are
 * never sent away; only new ones wait.
 */
import { type AskedProfile, largest, smallest } from '../cell/profile.ts';
import { messageOf } from '../errors.ts';
import { freeDisk } from '../os/disk.ts';
import { availableMemory, CELL_MEMORY_BYTES } from '../os/memory.ts';

const MIB = 1024 * 1024;

export interface Reserve {
  memoryMb: number;
  diskMb: number;
}

export interface Room {
  /** Bytes that can be had without swapping. */
  freeMemory: number;
  /** Bytes, of the file system that holds the state folder. */
  freeDisk: number;
}

export interface Occupancy {
  /** Cells that have a slot, with those that are being spawned. */
  running: number;
  /** Those of them whose server has not taken its memory yet. */
  spawning: number;
}

export interface AdmissionFacts extends Room, Occupancy {
  cap: number;
  reserve: Reserve;
  profile: AskedProfile;
}

export interface Allowance {
  /** The most cells that may run now: 0 to `cap`, but never fewer than those that do. */
  cells: number;
  /** Why not `cap` of them, for people; null when they may. */
  why: string | null;
}

/**
 * A cell is let in when its memory fits beside the reserve and what cells being spawned will take. Where none runs,
 * the reserve itself is enough: on a small machine nothing would ever be done otherwise. At `auto` one that fits in as
 * a dense cell becomes one; those being spawned may be fast.
 */
export function decideAdmission(facts: AdmissionFacts): Allowance {
  const { running, cap, reserve } = facts;
  const byMemory = cellsThatFitInto(facts);
  const byDisk = facts.freeDisk < reserve.diskMb * MIB ? 0 : Number.POSITIVE_INFINITY;
  const cells = Math.max(running, Math.min(cap, running + Math.min(byMemory, byDisk)));
  if (cells >= cap) return { cells, why: null };
  if (byDisk === 0) return { cells, why: `disk: ${inMib(facts.freeDisk)} free, ${reserve.diskMb} MiB are kept free` };
  const spoken = facts.spawning === 0 ? '' : `, ${facts.spawning} cells are still starting`;
  return { cells, why: `memory: ${inMib(facts.freeMemory)} free, ${reserve.memoryMb} MiB are kept free${spoken}` };
}

function cellsThatFitInto({ freeMemory, running, spawning, reserve, profile }: AdmissionFacts): number {
  const room = freeMemory - reserve.memoryMb * MIB;
  const each = CELL_MEMORY_BYTES[smallest(profile)];
  if (running === 0 && room >= 0) return Math.max(1, Math.floor(room / each));
  const promised = spawning * CELL_MEMORY_BYTES[largest(profile)];
  return Math.max(0, Math.floor((room - promised) / each));
}

function inMib(bytes: number): string {
  return `${Math.max(0, Math.floor(bytes / MIB))} MiB`;
}

export interface AdmissionOptions {
  /** The state folder, which must be there. */
  folder: string;
  cap: number;
  reserve: Reserve;
  profile: AskedProfile;
  occupancy(): Occupancy;
  /** Told when the allowance is another one; at first it is taken to be `cap`. */
  onChange(allowed: number, why: string | null): void;
  /** Told when memory or disk cannot be read; the last allowance stays then. */
  onProblem(message: string): void;
  /** Milliseconds between two looks. */
  everyMs?: number;
  /** How to look; left out: at this machine. */
  look?: () => Promise<Room>;
}

const EVERY_MS = 1_000;

export class Admission {
  readonly #options: AdmissionOptions;
  #allowed: Allowance;
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> | null = null;
  #closed = false;

  private constructor(options: AdmissionOptions) {
    this.#options = options;
    this.#allowed = { cells: options.cap, why: null };
  }

  /** Begins to look; the first look is over when it returns, and `onChange` was called if there is less than `cap`. */
  static async start(options: AdmissionOptions): Promise<Admission> {
    const admission = new Admission(options);
    await admission.look();
    admission.#next();
    return admission;
  }

  get allowed(): Allowance {
    return this.#allowed;
  }

  /** Looks now, rather than at the next turn. Never throws. */
  look(): Promise<void> {
    this.#looking ??= this.#decide().finally(() => {
      this.#looking = null;
    });
    return this.#looking;
  }

  /** Nobody is told of anything after this. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  #next(): void {
    if (this.#closed) return;
    this.#timer = setTimeout(() => void this.look().then(() => this.#next()), this.#options.everyMs ?? EVERY_MS);
    this.#timer.unref();
  }

  async #decide(): Promise<void> {
    const {
      folder,
      cap,
      reserve,
      profile,
      occupancy,
      onChange,
      onProblem,
      look = () => roomOf(folder),
    } = this.#options;
    try {
      const room = await look();
      if (this.#closed) return;
      const before = this.#allowed;
      this.#allowed = decideAdmission({ ...room, ...occupancy(), cap, reserve, profile });
      const same = before.cells === this.#allowed.cells && kindOf(before.why) === kindOf(this.#allowed.why);
      if (!same) onChange(this.#allowed.cells, this.#allowed.why);
    } catch (error) {
      if (!this.#closed) onProblem(messageOf(error));
    }
  }
}

/** What is lacking: the beginning of a reason, for how much of it is lacking changes all the time. */
export function kindOf(why: string | null): string | undefined {
  return why?.split(':')[0];
}

/** What is free on this machine, disk where `folder` lies. */
export async function roomOf(folder: string): Promise<Room> {
  const [freeMemory, disk] = await Promise.all([availableMemory(), freeDisk(folder)]);
  return { freeMemory, freeDisk: disk };
}
