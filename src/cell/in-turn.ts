/** Waiting for one's turn, as long as that is wanted. */
import type { LimitFunction } from 'p-limit';

/** Does `work` when its turn has come. A cancelled cell does not wait for that. */
export function inTurn<T>(turns: LimitFunction, signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const leave = () => reject(signal?.reason);
    if (signal?.aborted) leave();
    signal?.addEventListener('abort', leave, { once: true });
    turns(async () => {
      signal?.removeEventListener('abort', leave);
      signal?.throwIfAborted();
      return await work();
    }).then(resolve, reject);
  });
}
