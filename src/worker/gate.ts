/**
 * How many jobs the worker has BullMQ take: what its memory and disk allow, and what the fleet's caps leave, whichever
 * is less. With none BullMQ does not even ask for a job.
 */
import type { Worker } from 'bullmq';
import { messageOf } from '../errors.ts';
import type { Logger } from '../observe/logger.ts';
import { Admission, type AdmissionOptions } from './admit.ts';
import type { Share } from './fleet-share.ts';

/** How often it is asked what the fleet leaves; spread, so that workers that wait do not all come at once. */
const LOOK_MS = 1_000;
const SPREAD_MS = 200;

export interface GateOptions {
  /** BullMQ's. */
  worker: Pick<Worker, 'concurrency' | 'pause' | 'resume' | 'isPaused'>;
  /** The most cells this worker ever runs. */
  cap: number;
  log: Logger;
  /** Told why no more cells are begun for now, and with null that they are again. */
  onHeld?: ((why: string | null) => void) | undefined;
}

export interface GateRounds extends Pick<AdmissionOptions, 'folder' | 'reserve' | 'profile' | 'occupancy'> {
  /** Asks what the fleet leaves, and tells it by `share`. */
  look(): Promise<void>;
}

export class Gate {
  readonly #options: GateOptions;
  readonly #limits = new Map<'machine' | 'fleet', Share>();
  #allowed: Share;
  #admission: Admission | null = null;
  #rounds: GateRounds | null = null;
  #looking = false;
  #again = false;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: GateOptions) {
    this.#options = options;
    this.#allowed = { cells: options.cap, why: null };
  }

  /** So many jobs may be in hand now. */
  get allowed(): number {
    return this.#allowed.cells;
  }

  /** Begins to look; the first looks are over when it resolves. @throws the error of Redis */
  async open(rounds: GateRounds): Promise<void> {
    const { cap, log } = this.#options;
    const { folder, reserve, profile, occupancy } = rounds;
    await rounds.look();
    this.#admission = await Admission.start({
      ...{ folder, reserve, profile, occupancy, cap },
      onChange: (cells, why) => this.#set('machine', { cells, why }),
      onProblem: problem => log.warn({ problem }, 'free memory or disk cannot be read'),
    });
    this.#rounds = rounds;
    this.#next();
  }

  /** What the fleet leaves. */
  share(share: Share): void {
    this.#set('fleet', share);
  }

  /** Nobody is told of anything after this. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#admission?.close();
  }

  /** Asks what the fleet leaves rather sooner than later; never throws. */
  async look(): Promise<void> {
    this.#again = true;
    // One look at a time, and one more for all who have asked meanwhile.
    if (this.#looking) return;
    this.#looking = true;
    while (this.#again && !this.#closed) {
      this.#again = false;
      // What was known before holds on: without Redis no job comes either.
      await this.#rounds
        ?.look()
        .catch(error => this.#options.log.debug({ problem: messageOf(error) }, 'the fleet could not be asked'));
    }
    this.#looking = false;
  }

  #next(): void {
    if (this.#closed) return;
    const wait = LOOK_MS + Math.random() * SPREAD_MS;
    this.#timer = setTimeout(() => void this.look().then(() => this.#next()), wait).unref();
  }

  #set(name: 'machine' | 'fleet', limit: Share): void {
    if (this.#closed) return;
    const { cap, log, onHeld } = this.#options;
    this.#limits.set(name, limit);
    const before = this.#allowed;
    // Of two that leave as little the machine's is told: what the fleet leaves changes all the time.
    this.#allowed = [this.#limits.get('machine'), this.#limits.get('fleet')].reduce<Share>(
      (least, one) => (one !== undefined && one.cells < least.cells ? one : least),
      { cells: cap, why: null },
    );
    const { cells, why } = this.#allowed;
    const isOther = cells !== before.cells;
    if (isOther) {
      // What other workers leave changes all the time.
      log[name === 'machine' ? 'info' : 'debug']({ allowed: cells, why }, 'cells that may run');
      this.#apply(cells);
    }
    // With cells at work something goes on; only standing still, and for what, is worth a word to a person.
    if (cells === 0 ? isOther || why !== before.why : before.cells === 0) onHeld?.(cells === 0 ? why : null);
  }

  #apply(cells: number): void {
    const { worker } = this.#options;
    if (cells === 0) {
      void worker.pause(true);
      return;
    }
    worker.concurrency = cells;
    if (worker.isPaused()) void worker.resume();
  }
}
