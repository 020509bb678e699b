/**
 * Candidates on which rounds fail for a reason that is no verdict: git that chokes on one, say. Others are not to wait
 * behind it for ever, so after such a failure they are tried one by one, and one on which it fails again and again is
 * left to a person.
 */
import type { CellpoolError, ErrorCode } from '../errors.ts';

/** May be the fault of what is tried, whatever they say. */
const UNFORESEEN: ReadonlySet<ErrorCode> = new Set(['GIT_FAILED', 'INTERNAL']);
/** Of one that is tried alone; a target that others move all the time is no such fault, so it is not the first. */
const FAILURES = 5;

/** The repository of the target does not take what is to land; that it does not move the branch is another matter. */
function isOfObjects({ code, facts: { args } }: CellpoolError): boolean {
  return code === 'COMMIT_FAILED' && Array.isArray(args) && args[0] === 'fetch';
}

export class Doubts {
  /** Marks of targets. */
  readonly #alone = new Set<string>();
  /** By the ids of landing jobs. */
  readonly #failures = new Map<string, number>();
  readonly #hopeless = new Map<string, string>();

  /** How many are tried together on this target. */
  batchOn(mark: string, most: number): number {
    return this.#alone.has(mark) ? 1 : most;
  }

  /** A round on the target has failed, which began with this candidate. */
  failed(mark: string, first: string, error: CellpoolError): void {
    if (!UNFORESEEN.has(error.code) && !isOfObjects(error)) return;
    if (!this.#alone.has(mark)) {
      this.#alone.add(mark);
      return;
    }
    const times = (this.#failures.get(first) ?? 0) + 1;
    this.#failures.set(first, times);
    if (times >= FAILURES)
      this.#hopeless.set(first, `it was tried ${times} times by itself, and each time: ${error.message}`);
  }

  /** Why a candidate is not tried any more; null when it is. */
  of(id: string): string | null {
    return this.#hopeless.get(id) ?? null;
  }

  /** A round on the target came to its end. */
  over(mark: string): void {
    this.#alone.delete(mark);
    this.#failures.clear();
    this.#hopeless.clear();
  }
}
