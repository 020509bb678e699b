/** Starts a private Redis again when it dies while this process uses it. */
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { messageOf } from '../errors.ts';
import { binaryIfNeeded, closeDoor, type Entered, type EnterOptions, enterServer } from './enter-server.ts';
import type { PrivateHome } from './private-home.ts';

/** Pauses between starts: none before the first, then this, doubled each time up to the cap. */
const PAUSE_MS = 200;
const PAUSE_CAP_MS = 5_000;
/** A server that lived this long has not died of its start; the pauses begin anew. */
const SETTLED_MS = 30_000;

/**
 * Watches the connection `first` and, whenever it is lost, brings the server back at the same socket: every process
 * that uses the server does so, one after the other behind the door, and only the first of them finds something to
 * start. Clients of the callers connect again by themselves. The returned function ends it, and a start under way.
 */
export function keepServer(
  home: PrivateHome,
  first: Redis,
  say: EnterOptions['say'] = () => undefined,
): () => Promise<void> {
  const closing = new AbortController();
  const { signal } = closing;
  const pauses = new Pauses();
  let presence: Redis | undefined = first;

  const bringBack = async (): Promise<Redis | undefined> => {
    for (let told = false; ; ) {
      try {
        await sleep(pauses.next(), undefined, { signal });
        const { presence: fresh, startedHere } = await enterAgain(home, { say, signal });
        if (startedHere) say(`the private Redis in ${home.folder} had died and was started again`);
        return fresh;
      } catch (error) {
        if (signal.aborted) return undefined;
        if (!told) say(`the private Redis in ${home.folder} has died, trying on: ${messageOf(error)}`);
        told = true;
      }
    }
  };
  const watch = async () => {
    while (presence !== undefined && !signal.aborted) {
      await untilLost(presence, signal);
      // Not left to connect again by itself: one that is made behind the door knows that the server is usable.
      presence.disconnect();
      presence = signal.aborted ? undefined : await bringBack();
    }
    presence?.disconnect();
  };

  const watching = watch();
  return async () => {
    closing.abort(new Error('the private Redis was closed'));
    await watching;
  };
}

async function enterAgain(home: PrivateHome, options: EnterOptions): Promise<Entered> {
  const binary = await binaryIfNeeded(home, options);
  const openDoor = await closeDoor(home, options.signal);
  try {
    // One that takes too long is left to load its data: ending it would only make the next one begin anew.
    return await enterServer(home, binary, { ...options, endLate: false });
  } finally {
    await openDoor();
  }
}

async function untilLost(presence: Redis, signal: AbortSignal): Promise<void> {
  if (presence.status !== 'ready') return;
  // An error is told before the loss it brings, and ends the wait as well as an abort does.
  await once(presence, 'close', { signal }).catch(() => undefined);
}

class Pauses {
  #last = Number.NEGATIVE_INFINITY;
  #pause = 0;

  next(): number {
    const now = performance.now();
    const again = now - this.#last < SETTLED_MS;
    this.#pause = again ? Math.min(Math.max(this.#pause * 2, PAUSE_MS), PAUSE_CAP_MS) : 0;
    this.#last = now + this.#pause;
    return this.#pause;
  }
}
