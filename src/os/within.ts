/** A limit on how long one waits for somebody. */

/** The reason of a wait that took longer than its limit. */
export class TooLate extends Error {
  override readonly name = 'TooLate';

  constructor(timeoutMs: number) {
    super(`no answer within ${timeoutMs / 1_000} s`);
  }
}

/**
 * The result of `work`, unless `timeoutMs` pass (`TooLate`) or `signal` is aborted (its reason) before. `work` gets
 * a signal that is aborted then, and should stop; nobody waits for it any more.
 */
export async function within<T>(
  timeoutMs: number,
  signal: AbortSignal | undefined,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  signal?.throwIfAborted();
  // Not AbortSignal.any and AbortSignal.timeout: on Node 20 their combination can be collected before it fires.
  const ended = new AbortController();
  const forward = () => ended.abort(signal?.reason);
  signal?.addEventListener('abort', forward, { once: true });
  const timer = setTimeout(() => ended.abort(new TooLate(timeoutMs)), timeoutMs);
  try {
    return await new Promise<T>((resolve, reject) => {
      ended.signal.addEventListener('abort', () => reject(ended.signal.reason), { once: true });
      work(ended.signal).then(resolve, reject);
    });
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', forward);
  }
}

/** The result of `work`, unless `signal` is aborted before (its reason); nobody waits for the work any more then. */
export async function whileWanted<T>(signal: AbortSignal | undefined, work: Promise<T>): Promise<T> {
  if (signal === undefined) return work;
  const done = new AbortController();
  const unwanted = new Promise<never>((_, reject) => {
    const leave = () => reject(signal.reason);
    if (signal.aborted) leave();
    else signal.addEventListener('abort', leave, { once: true, signal: done.signal });
  });
  return Promise.race([work, unwanted]).finally(() => done.abort());
}
