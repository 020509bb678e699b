/** The locks around a private Redis, and how it is told that one cannot be had. */
import * as os from '../os/file-lock.ts';

const WORDS: os.LockWords = {
  code: 'REDIS_UNAVAILABLE',
  who: 'a private Redis',
  missing: 'Install util-linux, or point REDIS_URL at a Redis that runs.',
  stuck: 'Another cellpool process seems to hang while it starts or stops Redis: stop that one.',
};

/** As in `os/file-lock.ts`. @throws {CellpoolError} REDIS_UNAVAILABLE, STATE_FOLDER; the signal's reason */
export function holdLock(file: string, timeoutMs: number, signal?: AbortSignal): Promise<() => Promise<void>> {
  return os.holdLock(file, timeoutMs, WORDS, signal);
}

/** Waits until nobody holds the lock on `file`; false when somebody still does after `timeoutMs` (0 asks once). */
export function isFreeWithin(file: string, timeoutMs: number): Promise<boolean> {
  return os.isFreeWithin(file, timeoutMs, WORDS);
}
