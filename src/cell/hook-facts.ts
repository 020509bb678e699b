/** What a hook is told of its attempt: as an object for a callback, as variables for a command. */
import type { HookName } from '../job/hooks.ts';
import type { Outcome, TestsVerdict } from '../job/outcome.ts';

/** What has become of the attempt by then; null (or left out) while it is not known. */
export interface AttemptSoFar {
  tests: TestsVerdict | null;
  outcome: Outcome | null;
  error: { code: string; message: string } | null;
  commit: string | null;
}

export interface HookFacts extends AttemptSoFar {
  hook: HookName;
  taskId: string;
  agentId: string;
  attempt: number;
  cellId: string | null;
  /** The branch a commit goes to. */
  branch: string;
  /** The next four are null when the cell could not be spawned, or has lost it. */
  port: number | null;
  baseCommit: string | null;
  /** Absolute path; the command runs in it, or without one in `artifacts`. */
  workspace: string | null;
  artifacts: string | null;
  /** Used by the agent up to now. */
  tokens: number;
}

/** Callbacks of a program, by hook. `signal` is aborted when nobody waits for it any more. */
export type HookCallback = (facts: HookFacts, signal: AbortSignal) => Promise<void> | void;
export type HookCallbacks = Partial<Record<HookName, HookCallback>>;

/** A variable of 128 KiB or more keeps a program from being started at all. */
const ERROR_MAX = 4_000;

/** What is not known has no variable, so that a script may ask with `${CELLPOOL_COMMIT:-}`. */
export function hookEnvironment(facts: Partial<HookFacts> & Pick<HookFacts, 'hook'>): Record<string, string> {
  const { tests, error } = facts;
  const values: Record<string, string | number | null | undefined> = {
    CELLPOOL_HOOK: facts.hook,
    CELLPOOL_TASK_ID: facts.taskId,
    CELLPOOL_AGENT_ID: facts.agentId,
    CELLPOOL_ATTEMPT: facts.attempt,
    CELLPOOL_CELL_ID: facts.cellId,
    CELLPOOL_PORT: facts.port,
    CELLPOOL_BRANCH: facts.branch,
    CELLPOOL_BASE_COMMIT: facts.baseCommit,
    CELLPOOL_WORKSPACE: facts.workspace,
    CELLPOOL_ARTIFACTS: facts.artifacts,
    CELLPOOL_TOKENS: facts.tokens,
    CELLPOOL_TESTS: tests && (tests.passed ? 'passed' : 'failed'),
    CELLPOOL_TESTS_EXIT_CODE: tests?.exitCode,
    CELLPOOL_OUTCOME: facts.outcome,
    CELLPOOL_ERROR_CODE: error?.code,
    CELLPOOL_ERROR: error?.message.replaceAll('\0', '').slice(0, ERROR_MAX),
    CELLPOOL_COMMIT: facts.commit,
  };
  const known = Object.entries(values).filter(([, value]) => value !== null && value !== undefined);
  return Object.fromEntries(known.map(([name, value]) => [name, String(value)]));
}
