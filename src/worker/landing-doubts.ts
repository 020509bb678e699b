/**
 * Candidates on which rounds fail for a reason that is no verdict: git that chokes on one, say. Others are not to wait
 * behind it for ever, so after such a failure they are tried one by one, and one on which it fails again and again is
 * passed over. It is left to a person only when another one gets through meanwhile: else it may be the host that fails.
 */
import type { CellpoolError, ErrorCode } from '../errors.ts';
import type { WaitingCandidate } from './landing-groups.ts';

/** May be the fault of what is tried, whatever they say. */
const UNFORESEEN: ReadonlySet<ErrorCode> = new Set(['GIT_FAILED', 'INTERNAL']);
/** Of one that is tried alone. */
const FAILURES = 3;

/** The repository of the target does not take what is to land; that it does not move the branch is another matter. */
function isOfObjects({ code, facts: { args } }: CellpoolError): boolean {
  return code === 'COMMIT_FAILED' && Array.isArray(args) && args[0] === 'fetch';
}

interface Doubt {
  times: number;
  message: string;
}

/** Of all that wait for one target and are tested in the same way. */
export class Doubts {
  #alone = false;
  /** By the ids of landing jobs. */
  readonly #doubts = new Map<string, Doubt>();
  readonly #hopeless = new Map<string, string>();

  /** How many are tried together. */
  batch(most: number): number {
    return this.#alone ? 1 : most;
  }

  /** Those that are to be tried, or have been given up; all of them when nothing else is left. */
  among(waiting: readonly WaitingCandidate[]): WaitingCandidate[] {
    const isDoubted = (id: string) => (this.#doubts.get(id)?.times ?? 0) >= FAILURES && !this.#hopeless.has(id);
    const others = waiting.filter(({ id }) => !isDoubted(id));
    if (others.length > 0 || waiting.length === 0) return others;
    this.#doubts.clear();
    return [...waiting];
  }

  /** A round has failed that began with this candidate. */
  failed(first: string, error: CellpoolError): void {
    if (!UNFORESEEN.has(error.code) && !isOfObjects(error)) return;
    if (this.#alone)
      this.#doubts.set(first, { times: (this.#doubts.get(first)?.times ?? 0) + 1, message: error.message });
    this.#alone = true;
  }

  /** Why a candidate is not tried any more; null when it is. */
  of(id: string): string | null {
    return this.#hopeless.get(id) ?? null;
  }

  /** A round in which something was tried came to its end. */
  over(): void {
    for (const [id, { times, message }] of this.#doubts) {
      if (times >= FAILURES) this.#hopeless.set(id, `it was tried ${times} times by itself, and each time: ${message}`);
    }
    this.#alone = false;
  }
}
