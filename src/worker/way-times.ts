/** How long two ways to a workspace took of late: to make one, and to hand over one that was made before. */

/** So many times of each way are remembered. */
const REMEMBERED = 8;

export class WayTimes {
  /** Milliseconds, latest last. */
  readonly #made: number[] = [];
  /** One that failed has taken for ever. */
  readonly #taken: number[] = [];

  make<T>(work: () => Promise<T>): Promise<T> {
    return timed(this.#made, work);
  }

  async take<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await timed(this.#taken, work);
    } catch (error) {
      remember(this.#taken, Number.POSITIVE_INFINITY);
      throw error;
    }
  }

  /** Milliseconds by which a cell has one sooner that is handed over. */
  get saved(): number {
    return savedBy(this.#made, this.#taken);
  }

  /** Forgets the oldest hand-over: what was slow once may be quick by now. */
  forgetOne(): void {
    this.#taken.shift();
  }
}

/** By the medians, so that no single time decides. */
export function savedBy(made: readonly number[], taken: readonly number[]): number {
  return median(made) - median(taken);
}

/** Of none: 0. */
function median(values: readonly number[]): number {
  return [...values].sort((one, other) => one - other)[values.length >> 1] ?? 0;
}

/** Remembers how long it took, if it succeeds. */
async function timed<T>(times: number[], work: () => Promise<T>): Promise<T> {
  const began = performance.now();
  const result = await work();
  remember(times, performance.now() - began);
  return result;
}

function remember(times: number[], ms: number): void {
  times.push(ms);
  if (times.length > REMEMBERED) times.shift();
}
