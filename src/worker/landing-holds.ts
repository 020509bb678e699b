/** Why nothing lands on a target for now, and when this lander looks at it again. */
import type { CellpoolError, ErrorCode } from '../errors.ts';
import type { TargetNote } from '../redis/landing-targets.ts';

/** What stays as it is until a person does something. */
const FOR_PERSON: ReadonlySet<ErrorCode> = new Set([
  'BRANCH_CHECKED_OUT',
  'TARGET_RED',
  'UNKNOWN_BASE',
  'PUSH_REFUSED',
  'NO_SUCH_REMOTE',
  'REMOTE_REFUSED',
  'GIT_MISSING',
]);

/** Somebody else moved the target, or has its lease: there is nothing to wait for. */
function isLuck({ code, facts }: CellpoolError): boolean {
  if (code === 'BRANCH_TAKEN' || code === 'FENCED') return true;
  return code === 'COMMIT_FAILED' && 'found' in facts && facts.found !== facts.expected;
}

/** What has lasted for so many looks, some minutes, hardly goes away by itself. */
const LASTING = 4;
/** In a row; then it is something else than bad luck. */
const LUCK = 3;

const SECOND = 1_000;
/** A look that costs a call of git, and one that runs the tests of a whole batch or asks a remote. */
const CHEAP_MS = 3 * SECOND;
const DEAR_MS = 30 * SECOND;
/** What lasts is looked at less and less often, up to this. */
const CAP_MS = 10 * 60 * SECOND;

interface Hold {
  told: NonNullable<TargetNote['held']>;
  times: number;
  until: number;
}

export class Holds {
  readonly #holds = new Map<string, Hold>();
  readonly #unlucky = new Map<string, number>();

  /** @returns the reason in words, when it is not the one that was there already */
  hold(mark: string, error: CellpoolError, now = Date.now()): string | null {
    const { code, message, hint } = error;
    if (isLuck(error)) {
      const times = (this.#unlucky.get(mark) ?? 0) + 1;
      this.#unlucky.set(mark, times);
      if (times < LUCK) return null;
    }
    const before = this.#holds.get(mark);
    const reason = hint === undefined ? message : `${message}. ${hint}`;
    const isSame = before?.told.code === code;
    const times = isSame ? before.times + 1 : 1;
    const isCheap = code === 'BRANCH_CHECKED_OUT' || isLuck(error);
    const waitMs = isCheap ? CHEAP_MS : Math.min(CAP_MS, DEAR_MS * 2 ** (times - 1));
    const told = {
      code,
      reason,
      forPerson: FOR_PERSON.has(code) || (!isCheap && times >= LASTING),
      since: isSame ? before.told.since : now,
    };
    this.#holds.set(mark, { told, times, until: now + waitMs });
    return isSame ? null : reason;
  }

  /** Whether it is not to be tried yet. */
  isHeld(mark: string, now = Date.now()): boolean {
    const hold = this.#holds.get(mark);
    return hold !== undefined && now < hold.until;
  }

  of(mark: string): TargetNote['held'] {
    const hold = this.#holds.get(mark);
    return hold === undefined ? null : { ...hold.told, until: hold.until };
  }

  /** Nothing is in the way any more. @returns whether something was */
  lift(mark: string): boolean {
    this.#unlucky.delete(mark);
    return this.#holds.delete(mark);
  }
}
