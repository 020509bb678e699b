/**
 * Notices that the locks of our jobs are no longer renewed. While Redis is away no event says so, and another worker
 * may take a job the moment its lock has run out: before that, our own attempt must have been stopped.
 */

const LOOK_MS = 250;

export class Watchdog {
  readonly #renewedAt = new Map<string, number>();
  readonly #timer: NodeJS.Timeout;

  /** Calls `onSilent` once for a job whose lock was not renewed for `limitMs` milliseconds. */
  constructor(limitMs: number, onSilent: (jobId: string) => void) {
    this.#timer = setInterval(() => {
      for (const [id, at] of this.#renewedAt) {
        if (performance.now() - at < limitMs) continue;
        this.#renewedAt.delete(id);
        onSilent(id);
      }
    }, LOOK_MS);
    this.#timer.unref();
  }

  /** The job was taken just now, which locks it. */
  taken(jobId: string): void {
    this.#renewedAt.set(jobId, performance.now());
  }

  renewed(jobIds: Iterable<string>): void {
    for (const id of jobIds) if (this.#renewedAt.has(id)) this.taken(id);
  }

  done(jobId: string): void {
    this.#renewedAt.delete(jobId);
  }

  close(): void {
    clearInterval(this.#timer);
  }
}
