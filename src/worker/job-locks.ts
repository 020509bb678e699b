/**
 * The locks of the jobs in our hands: renewed, and each with the signal that ends its attempt. Not left to BullMQ,
 * which keeps both by job id and drops them when any pick-up of the job ends: a worker that takes a job again just as
 * it has given it back would neither renew the lock of the new attempt nor be able to cancel it.
 *
 * While Redis is away nothing says so, and another worker may take a job the moment its lock has run out: an attempt
 * whose lock was not renewed for `silentMs` is ended before that.
 */
import { REASONS } from './held-job.ts';

const LOOK_MS = 250;

export interface LockTimes {
  renewMs: number;
  /** Longest time without renewal. */
  silentMs: number;
}

interface Held {
  readonly token: string;
  readonly over: AbortController;
  /** When the lock was sure to hold for its whole time from then on. */
  since: number;
}

export class JobLocks {
  readonly #renew: (ids: string[], tokens: string[]) => Promise<string[]>;
  readonly #times: LockTimes;
  readonly #held = new Map<string, Held>();
  readonly #timer: NodeJS.Timeout;
  #renewedAt = performance.now();
  #renewing = false;

  /** `renew` tells which of these jobs are no longer locked by their token; when it throws, nothing is known. */
  constructor(renew: (ids: string[], tokens: string[]) => Promise<string[]>, times: LockTimes) {
    this.#renew = renew;
    this.#times = times;
    this.#timer = setInterval(() => this.#look(), LOOK_MS).unref();
  }

  /** The job was taken just now, which locks it. The signal is aborted by `cancel`, and when the lock is lost. */
  take(id: string, token: string): AbortSignal {
    const over = new AbortController();
    this.#held.set(id, { token, over, since: performance.now() });
    return over.signal;
  }

  /** It is no longer in our hands. */
  done(id: string): void {
    this.#held.delete(id);
  }

  /** Ends the attempt at this job, if it is in our hands; the first reason counts. */
  cancel(id: string, reason: string): void {
    this.#held.get(id)?.over.abort(reason);
  }

  /** Nothing is renewed or ended after this. */
  close(): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    const now = performance.now();
    for (const { over, since } of this.#held.values()) {
      if (now - since >= this.#times.silentMs) over.abort(REASONS.lockLost);
    }
    if (this.#renewing || this.#held.size === 0 || now - this.#renewedAt < this.#times.renewMs) return;
    this.#renewing = true;
    this.#renewedAt = now;
    void this.#renewAll([...this.#held]).finally(() => {
      this.#renewing = false;
    });
  }

  async #renewAll(all: readonly (readonly [string, Held])[]): Promise<void> {
    // Counted from before Redis was asked: its answer may have been long on its way, or we asleep.
    const asked = performance.now();
    try {
      const ids = all.map(([id]) => id);
      const tokens = all.map(([, { token }]) => token);
      const lost = new Set(await this.#renew(ids, tokens));
      for (const [id, held] of all) {
        if (lost.has(id)) held.over.abort(REASONS.lockLost);
        else held.since = Math.max(held.since, asked);
      }
    } catch {
      // Tried again soon; should that last, the silence itself ends the attempts.
    }
  }
}
