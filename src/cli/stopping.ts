/** How a pool comes to its end when a person, or the machine, asks for it: first with a grace period, then at once. */
import { type StopRequests, whenAborted } from './interrupts.ts';
import { counted, duration } from './words.ts';

/** What is needed of a `WorkerPool`. */
export interface StoppablePool {
  readonly running: readonly string[];
  /** Jobs that were given back, uncounted, because the worker stops. */
  readonly handedBack: number;
  /** Aborted when somebody wants this worker to end what it has begun, and then itself. */
  readonly drainAsked: AbortSignal;
  drain(): Promise<void>;
  stop(): Promise<void>;
}

export interface PoolEnd {
  /** Attempts that came to their own end after the request. */
  ended: number;
  handedBack: number;
}

/**
 * Waits for a request to end. One to drain lets the running attempts go on for as long as they take; one to stop, for
 * `graceMs`. After that, or when it is insisted, they are cancelled and their jobs handed back. Resolves when none is
 * left; never, when nobody asks.
 */
export async function endWhenAsked(
  pool: StoppablePool,
  stop: StopRequests,
  graceMs: number,
  say: (message: string) => void,
): Promise<PoolEnd> {
  await Promise.race([untilAborted(stop.asked), untilAborted(pool.drainAsked)]);
  const begun = pool.running.length;
  if (!stop.asked.aborted) say(`Asked to drain: letting ${begun} running attempts end.`);
  const drained = pool.drain();

  let stopped: Promise<void> | null = null;
  const stopNow = (why: string) => {
    if (stopped !== null) return;
    if (pool.running.length > 0) say(`${why}: stopping ${counted(pool.running.length, 'attempt')}.`);
    stopped = pool.stop();
  };
  let timer: NodeJS.Timeout | undefined;
  let over = false;
  whenAborted(stop.asked, () => {
    if (over) return;
    const { length } = pool.running;
    if (length > 0) {
      say(`Letting ${length} running attempts end, for at most ${duration(graceMs)}; once more stops them now.`);
    }
    timer = setTimeout(() => stopNow('The grace period is over'), graceMs);
  });
  whenAborted(stop.insisted, () => {
    if (!over) stopNow('Asked again');
  });
  try {
    await drained;
    await stopped;
  } finally {
    over = true;
    clearTimeout(timer);
  }
  const { handedBack } = pool;
  return { ended: Math.max(0, begun - handedBack), handedBack };
}

function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise(resolve => whenAborted(signal, resolve));
}

/** `3 running attempts came to their end, 1 was handed back.` */
export function endInWords({ ended, handedBack }: PoolEnd): string {
  return `Stopped: ${counted(ended, 'attempt')} came to an end, ${handedBack} handed back.`;
}
