/** How a pool comes to its end when a person, or the machine, asks for it: first with a grace period, then at once. */
import { type StopRequests, whenAborted } from './interrupts.ts';
import { counted, duration } from './words.ts';

/** What is needed of a `WorkerPool`. */
export interface StoppablePool {
  readonly running: readonly string[];
  /** Attempts that were cancelled and whose jobs were given back, uncounted. */
  readonly handedBack: number;
  drain(): Promise<void>;
  stop(): Promise<void>;
}

export interface PoolEnd {
  /** Attempts that came to their own end after the request. */
  ended: number;
  handedBack: number;
}

/**
 * Waits for the request, then lets the running attempts go on for `graceMs`; after that, or when it is insisted, they
 * are cancelled and their jobs handed back. Resolves when none is left; never, when nobody asks.
 */
export function endWhenAsked(
  pool: StoppablePool,
  stop: StopRequests,
  graceMs: number,
  say: (message: string) => void,
): Promise<PoolEnd> {
  return new Promise((resolve, reject) => {
    whenAborted(stop.asked, () => void end(pool, stop, graceMs, say).then(resolve, reject));
  });
}

async function end(
  pool: StoppablePool,
  { insisted }: StopRequests,
  graceMs: number,
  say: (message: string) => void,
): Promise<PoolEnd> {
  const begun = pool.running.length;
  if (begun > 0) {
    say(`Letting ${begun} running attempts end, for at most ${duration(graceMs)}; once more stops them now.`);
  }
  let stopped: Promise<void> | null = null;
  const stopNow = (why: string) => {
    if (stopped !== null) return;
    if (pool.running.length > 0) {
      say(`${why}stopping ${counted(pool.running.length, 'attempt')}, handing back the jobs.`);
    }
    stopped = pool.stop();
  };
  const drained = pool.drain();
  const timer = setTimeout(() => stopNow('The grace period is over: '), graceMs);
  whenAborted(insisted, () => stopNow('Asked again: '));
  try {
    await drained;
    await stopped;
  } finally {
    clearTimeout(timer);
  }
  const { handedBack } = pool;
  return { ended: Math.max(0, begun - handedBack), handedBack };
}

/** `3 running attempts came to their end, 1 was handed back.` */
export function endInWords({ ended, handedBack }: PoolEnd): string {
  return `Stopped: ${counted(ended, 'attempt')} came to an end, ${handedBack} handed back.`;
}
