/**
 * Provider trouble, seen from inside a cell. opencode waits out a provider that is busy or out of reach, and tells of
 * every wait with a retry notice: `{attempt, message, next}`, `next` in epoch ms. Seen of opencode 1.18.33:
 *
 * - without `retry-after` the first waits are 2.0 to 2.5 s, 4 to 5 s, 8 to 10 s: the third notice comes about 7 s after
 *   the first. By its code, not watched to the end, it gives up after five with a `session.error`;
 * - `retry-after`, in seconds or as a date, is honoured to the letter, an hour as well as a tenth of a second;
 * - a notice holds no HTTP status, and is the same when the connection was refused or cut in the middle of an answer;
 * - heartbeats, `busy` and a `step-start` part come between two notices although nothing is better.
 *
 * A short hiccup is opencode's to ride out. What lasts is not: the cell holds a slot, memory and the task's time while
 * nothing happens, and the others go on knocking. So the session is ended, and the task waits without a cell.
 */
import type { CellpoolError } from '../errors.ts';
import { quoted } from './quoted.ts';
import { bounded, providerBusy } from './session-error.ts';

/** A next try further away than this is not waited for: a new cell boots in a few seconds. */
export const FAR_MS = 15_000;
/** This many notices in a row are no hiccup; the first two waits give a provider about 7 s to come back. */
export const MANY_NOTICES = 3;
/** However the notices come, no session stands still for longer: one try that hangs after a notice counts as well. */
export const LONG_MS = 30_000;

/** What the server tells before it waits. */
export interface RetryNotice {
  sessionId: string;
  /** Which try of the same request failed, from 1. */
  attempt: number;
  /** The provider's words. */
  message: string;
  /** When it is tried again, epoch ms. */
  next: number;
}

/** A notice as it was heard: `at` of `performance.now()`, `waitMs` until the next try. */
export type HeardNotice = Pick<RetryNotice, 'sessionId' | 'attempt' | 'next'> & { at: number; waitMs: number };

/** What was heard of a cell's sessions so far; times of `performance.now()`. */
export interface Heard {
  /** When the model last gave tokens or a tool ran; before that, when the watch began. */
  lastProgress: number;
  notices: readonly HeardNotice[];
}

/** The notices without progress after them. */
export function inARow({ lastProgress, notices }: Heard): readonly HeardNotice[] {
  return notices.filter(({ at }) => at >= lastProgress);
}

/** A notice that is told again, as it is after the event stream broke, is heard once. */
export function withNotice(heard: Heard, notice: HeardNotice): Heard {
  const row = inARow(heard);
  const again = row.some(
    ({ sessionId, attempt, next }) =>
      sessionId === notice.sessionId && attempt === notice.attempt && next === notice.next,
  );
  return { ...heard, notices: again ? row : [...row, notice] };
}

/** Why the session is to be ended at `now`; null while opencode may ride it out. */
export function troubleLasts(heard: Heard, now: number): 'far' | 'many' | 'long' | null {
  const row = inARow(heard);
  const [first, last] = [row[0], row.at(-1)];
  if (first === undefined || last === undefined) return null;
  if (last.waitMs > FAR_MS) return 'far';
  // Of one session: several that an agent runs side by side meet the same hiccup at the same time.
  if (row.filter(({ sessionId }) => sessionId === last.sessionId).length >= MANY_NOTICES) return 'many';
  return now - first.at >= LONG_MS ? 'long' : null;
}

export type ProviderTrouble =
  /** `retryAfterMs`: until opencode's own next try, which is the provider's `retry-after` if it named one. */
  { kind: 'busy'; retryAfterMs: number; reason: string } | { kind: 'refused'; reason: string };

/** Told on the way, so that others can spare the provider, or go on with it, before this attempt has ended. */
export interface ProviderListeners {
  /** At every retry notice, from the first on, and when the session ends by it. */
  onProviderTrouble?: ((trouble: ProviderTrouble) => void) | undefined;
  /** The model answers: at the first progress of a session, and at the first after trouble. */
  onProviderWell?: (() => void) | undefined;
}

/** Applies the rule to one execution, and tells the listeners. Nothing is told after `close`. */
export class ProviderWatch {
  readonly #listeners: ProviderListeners;
  readonly #onLasting: (error: CellpoolError) => void;
  #heard: Heard = { lastProgress: performance.now(), notices: [] };
  #said = '';
  #toldWell = false;
  #closed = false;
  #limit: NodeJS.Timeout | undefined;

  /** `onLasting` is called when the trouble is no hiccup any more, with PROVIDER_BUSY. */
  constructor(listeners: ProviderListeners, onLasting: (error: CellpoolError) => void) {
    this.#listeners = listeners;
    this.#onLasting = onLasting;
  }

  /** The one place where progress is noted. */
  progress(): void {
    if (this.#closed) return;
    this.#heard = { ...this.#heard, lastProgress: performance.now() };
    clearTimeout(this.#limit);
    if (this.#toldWell) return;
    this.#toldWell = true;
    this.#listeners.onProviderWell?.();
  }

  notice({ sessionId, attempt, message, next }: RetryNotice): void {
    if (this.#closed) return;
    const at = performance.now();
    const before = inARow(this.#heard).length;
    const waitMs = bounded(next - Date.now());
    this.#heard = withNotice(this.#heard, { sessionId, attempt, next, at, waitMs });
    if (inARow(this.#heard).length === before) return;
    this.#said = quoted(message);
    this.#toldWell = false;
    // A timer may fire a little early; what it means is that the time is over.
    if (before === 0) this.#limit = setTimeout(() => this.#judge(at + LONG_MS), LONG_MS);
    this.#judge(at);
    this.#listeners.onProviderTrouble?.({ kind: 'busy', retryAfterMs: waitMs, reason: this.#said });
  }

  /** The session ended with this error; whatever else it may be, trouble with the provider is told. */
  failed({ code, facts, message }: CellpoolError): void {
    if (this.#closed) return;
    if (code === 'PROVIDER_REFUSED') this.#listeners.onProviderTrouble?.({ kind: 'refused', reason: message });
    if (code !== 'PROVIDER_BUSY') return;
    this.#listeners.onProviderTrouble?.({ kind: 'busy', retryAfterMs: Number(facts.retryAfterMs), reason: message });
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#limit);
  }

  #judge(now: number): void {
    const why = troubleLasts(this.#heard, now);
    if (why === null) return;
    const last = inARow(this.#heard).at(-1);
    const retryAfterMs = bounded((last?.next ?? 0) - Date.now());
    const tale = {
      far: `the next try is ${Math.round(retryAfterMs / 1_000)} s away`,
      many: `${MANY_NOTICES} tries in a row`,
      long: `no answer for ${LONG_MS / 1_000} s`,
    }[why];
    this.#onLasting(providerBusy(`${this.#said} (${tale})`, { retryAfterMs }));
  }
}
