/** Ctrl-C, SIGTERM and SIGHUP as requests to a command: from its first moment to its last, so that nothing is left. */
import { CellpoolError } from '../errors.ts';
import { onInterrupt } from '../os/shutdown.ts';

export interface StopRequests {
  /** Aborted by the first signal: come to an end. Its reason is an `INTERRUPTED` error. */
  readonly asked: AbortSignal;
  /** Aborted by the second: at once. */
  readonly insisted: AbortSignal;
}

/** Runs `work` with the signals listened for; nothing of them is heard before or after. */
export async function interruptible<T>(work: (stop: StopRequests) => Promise<T>): Promise<T> {
  const asked = new AbortController();
  const insisted = new AbortController();
  const interrupts = onInterrupt(
    signal => asked.abort(new CellpoolError('INTERRUPTED', `interrupted by ${signal}`)),
    () => insisted.abort(),
  );
  try {
    return await work({ asked: asked.signal, insisted: insisted.signal });
  } finally {
    interrupts.dispose();
  }
}

/** Calls `act` once, when the signal is aborted, which it may be already. */
export function whenAborted(signal: AbortSignal, act: () => void): void {
  if (signal.aborted) act();
  else signal.addEventListener('abort', act, { once: true });
}
