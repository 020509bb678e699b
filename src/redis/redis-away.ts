/** Redis that goes away, or refuses to write, in the middle of a command: one error a person can act on. */
import { asCellpoolError, CellpoolError, messageOf } from '../errors.ts';

/** What ioredis says when the connection is gone, and Redis when it refuses to write. */
const AWAY =
  /Connection is closed|Stream isn't writeable|ECONN|EPIPE|ETIMEDOUT|max retries per request|READONLY|OOM|MISCONF|LOADING/;

/** Whether that is what `error` comes from. */
export function isAway(error: unknown): boolean {
  return AWAY.test(reasonOf(error));
}

/** `REDIS_UNAVAILABLE` when that is what `error` comes from; `what` did not happen, `hint` says what to do. */
export function unavailable(error: unknown, what: string, hint: string): CellpoolError {
  if (error instanceof CellpoolError) return error;
  if (!isAway(error)) return asCellpoolError(error);
  return new CellpoolError('REDIS_UNAVAILABLE', `${what}: ${reasonOf(error)}`, { hint });
}

/** Does `work`; its errors are told as by `unavailable`. */
export async function inRedis<T>(what: string, hint: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw unavailable(error, what, hint);
  }
}

/** A refused transaction names its own end only; why it was refused stands in the errors of its commands. */
function reasonOf(error: unknown): string {
  const first: unknown =
    error instanceof Error && 'previousErrors' in error && Array.isArray(error.previousErrors)
      ? error.previousErrors[0]
      : undefined;
  return messageOf(first ?? error);
}
