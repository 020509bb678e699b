/**
 * Every error cellpool raises on purpose is a `CellpoolError`: a code for programs, a sentence for people, facts
 * for both, and a hint that names the next step. Whether a new attempt could help is a property of the code.
 */

/** `retryable`: a new attempt may end differently. `exit`: what a command that ends with it returns. */
const CODES = {
  INVALID_INPUT: { retryable: false, exit: 2 },
  UNKNOWN_BASE: { retryable: false, exit: 2 },
  NOT_A_REPOSITORY: { retryable: false, exit: 2 },
  /** The server of a repository that is named by URL says that it has none of that name. */
  NO_SUCH_REMOTE: { retryable: false, exit: 2 },
  /** It does not answer, or not in time. */
  REMOTE_UNREACHABLE: { retryable: true, exit: 3 },
  /** It does not take our credentials, or git has none for it. */
  REMOTE_REFUSED: { retryable: false, exit: 3 },
  REDIS_UNAVAILABLE: { retryable: true, exit: 3 },
  OPENCODE_MISSING: { retryable: false, exit: 3 },
  GIT_MISSING: { retryable: false, exit: 3 },
  /** The isolation that was asked for does not work on this machine. */
  ISOLATION_MISSING: { retryable: false, exit: 3 },
  STATE_FOLDER: { retryable: false, exit: 3 },
  /** A host and port that the board was to listen on cannot be had. */
  CANNOT_LISTEN: { retryable: true, exit: 3 },
  /** A tracker or folder that tasks come from does not answer, or its program is missing. */
  SOURCE_UNAVAILABLE: { retryable: true, exit: 3 },
  SPAWN_FAILED: { retryable: true, exit: 1 },
  NO_FREE_PORT: { retryable: true, exit: 1 },
  SETUP_FAILED: { retryable: true, exit: 1 },
  SERVER_EXITED: { retryable: true, exit: 1 },
  SESSION_FAILED: { retryable: true, exit: 1 },
  /** Rate limit, overload or a fault of the provider's own: no verdict on the task. */
  PROVIDER_BUSY: { retryable: true, exit: 1 },
  /** The provider does not take our credentials. */
  PROVIDER_REFUSED: { retryable: false, exit: 3 },
  UNKNOWN_MODEL: { retryable: false, exit: 1 },
  HOOK_FAILED: { retryable: true, exit: 1 },
  DISK_FULL: { retryable: true, exit: 1 },
  /** A process of the cell was killed for want of memory. */
  OUT_OF_MEMORY: { retryable: true, exit: 1 },
  /** The cell's folder has grown beyond its limit. */
  DISK_LIMIT: { retryable: true, exit: 1 },
  /** Worker after worker died while it worked on the task. */
  WORKER_DIED: { retryable: false, exit: 1 },
  /** A task that this one depends on did not end well, or is not there any more. */
  DEPENDENCY_FAILED: { retryable: false, exit: 1 },
  NO_SUCH_JOB: { retryable: false, exit: 1 },
  /** An attempt, or what it has left, is not on this machine or not there at all. */
  NO_SUCH_ARTIFACT: { retryable: false, exit: 1 },
  TIMED_OUT: { retryable: true, exit: 1 },
  STALLED: { retryable: true, exit: 1 },
  OVER_BUDGET: { retryable: false, exit: 1 },
  /** A budget that all tasks share: no verdict on this one. */
  BUDGET_USED_UP: { retryable: true, exit: 1 },
  CANCELLED: { retryable: false, exit: 1 },
  INTERRUPTED: { retryable: false, exit: 130 },
  TESTS_FAILED: { retryable: true, exit: 1 },
  COMMIT_FAILED: { retryable: true, exit: 1 },
  BRANCH_CHECKED_OUT: { retryable: false, exit: 1 },
  /** In a repository that is named by URL, a branch of the task's name is somebody else's. */
  BRANCH_TAKEN: { retryable: false, exit: 1 },
  /** The server has a rule against what was to be pushed. */
  PUSH_REFUSED: { retryable: false, exit: 1 },
  /** The tests fail on a target as it is, so nothing lands there. */
  TARGET_RED: { retryable: true, exit: 1 },
  REVERT_FAILED: { retryable: true, exit: 1 },
  LEASE_LOST: { retryable: true, exit: 1 },
  /** The job's lock was lost, or a newer attempt has begun: this one may not commit. */
  FENCED: { retryable: true, exit: 1 },
  GIT_FAILED: { retryable: true, exit: 1 },
  INTERNAL: { retryable: true, exit: 1 },
} as const;

export type ErrorCode = keyof typeof CODES;

/** Whether a new attempt may end differently after an error of this code; one that is not ours counts as unforeseen. */
export function isRetryable(code: string): boolean {
  return CODES[Object.hasOwn(CODES, code) ? (code as ErrorCode) : 'INTERNAL'].retryable;
}

export interface ErrorDetails {
  /** What to do next, in one sentence. */
  hint?: string;
  /** Values a program may want; never a secret. */
  facts?: Record<string, unknown>;
  cause?: unknown;
}

export class CellpoolError extends Error {
  override readonly name = 'CellpoolError';
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  readonly facts: Record<string, unknown>;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.hint = details.hint;
    this.facts = details.facts ?? {};
  }

  /** Whether a new attempt of the same task may end differently. */
  get retryable(): boolean {
    return isRetryable(this.code);
  }

  /** The exit code of a command that ends with this error. */
  get exitCode(): number {
    return CODES[this.code].exit;
  }
}

/** One thing that is wrong with what somebody handed in, and where it stands. */
export interface Fault {
  /** File and line, flag or key: `tasks.jsonl:3`, `cellpool.yaml:2`, `--model`. */
  where: string;
  what: string;
}

/** Bad input, with every fault found, not only the first. Nothing was changed. */
export class InvalidInput extends CellpoolError {
  readonly faults: readonly Fault[];

  constructor(faults: readonly Fault[], code: ErrorCode = 'INVALID_INPUT') {
    super(code, faults.map(fault => `${fault.where}: ${fault.what}`).join('\n'), { facts: { faults } });
    this.faults = faults;
  }
}

/** The error as a `CellpoolError`; anything unforeseen becomes `INTERNAL` with its cause kept. */
export function asCellpoolError(error: unknown): CellpoolError {
  if (error instanceof CellpoolError) return error;
  return new CellpoolError('INTERNAL', messageOf(error), { cause: error });
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
