/** Ctrl-C, SIGTERM and SIGHUP as requests to a command: from its first moment to its last, so that nothing is left. */
import { CellpoolError } from '../errors.ts';
import { onInterrupt } from '../os/shutdown.ts';

export interface StopRequests {
  /** Aborted by the first signal: come to an end. Its reason is an `INTERRUPTED` error. */
  readonly asked: AbortSignal;
  /** Aborted by the second: at once. */
  readonly insisted: AbortSignal;
}

/** A command that was told twice tears down cells and Redis in a few seconds; after this it hangs. */
const PATIENCE_MS = 20_000;

/**
 * Runs `work` with the signals listened for; nothing of them is heard before or after. A third signal, or
 * `patienceMs` after the second, ends the process, whatever hangs.
 */
export async function interruptible<T>(
  work: (stop: StopRequests) => Promise<T>,
  patienceMs: number = PATIENCE_MS,
): Promise<T> {
  const asked = new AbortController();
  const insisted = new AbortController();
  let patience: NodeJS.Timeout | undefined;
  const interrupts = onInterrupt(
    signal => asked.abort(new CellpoolError('INTERRUPTED', `interrupted by ${signal}`)),
    () => {
      if (insisted.signal.aborted) endNow();
      patience = setTimeout(endNow, patienceMs);
      insisted.abort();
    },
  );
  try {
    return await work({ asked: asked.signal, insisted: insisted.signal });
  } finally {
    clearTimeout(patience);
    interrupts.dispose();
  }
}

/** The process groups of the cells are killed on the way out; nothing else is put in order. */
function endNow(): never {
  process.stderr.write('cellpool: ended at once; cells, leases or a private Redis may be left behind.\n');
  process.exit(130);
}

/** Calls `act` once, when the signal is aborted, which it may be already. */
export function whenAborted(signal: AbortSignal, act: () => void): void {
  if (signal.aborted) act();
  else signal.addEventListener('abort', act, { once: true });
}
