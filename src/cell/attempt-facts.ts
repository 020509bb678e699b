/** What is known of an attempt so far; each step of its life adds its own, and at the end there is a result. */
import { asCellpoolError, CellpoolError } from '../errors.ts';
import type { HookName } from '../job/hooks.ts';
import type { AttemptResult, LifecycleMetrics, Outcome, Stage, TestsVerdict } from '../job/outcome.ts';
import { redactedResult } from '../job/redacted.ts';
import type { Redactor } from '../observe/redact.ts';
import { namingFullDisk } from '../os/disk.ts';
import type { IsolationLevel } from '../os/isolation.ts';
import type { LimitLevels } from '../os/resource-limits.ts';
import type { ExecutionResult } from './execute.ts';
import type { AttemptSoFar } from './hook-facts.ts';
import type { SpawnConfig } from './spawn-config.ts';
import type { CellInfo, CommitResult, RevertResult } from './spawned-agent.ts';
import { StageClock } from './stage-clock.ts';
import type { TestResult } from './verify.ts';

/** How an execution that did not end by itself is called. */
const OUTCOME_OF = {
  'timed-out': 'timed-out',
  'over-budget': 'over-budget',
  stalled: 'stalled',
  cancelled: 'cancelled',
  'provider-busy': 'failed',
  error: 'failed',
} as const;

export class AttemptFacts {
  readonly #config: SpawnConfig;
  /** null until it is decided. */
  #outcome: Outcome | null = null;
  #error: CellpoolError | null = null;
  #tests: TestsVerdict | null = null;
  #commit: CommitResult | null = null;
  #filesModified: string[] = [];
  #summary = '';
  #secretInWork = false;
  readonly #redactor: Redactor;
  readonly #host: string | null;
  readonly #hookFaults: NonNullable<AttemptResult['hookFaults']> = [];
  readonly #stages = new StageClock();
  #costUsd = 0;
  artifacts = '';
  limits: LimitLevels | null = null;
  isolation: IsolationLevel | null = null;
  #inWorktree = false;
  metrics: LifecycleMetrics = { spawnMs: 0, executionMs: 0, teardownMs: 0, totalMs: 0 };

  /** `host`: the machine it runs on, as far as that has a name in the pool. */
  constructor(config: SpawnConfig, redactor: Redactor, host: string | null = null) {
    this.#config = config;
    this.#redactor = redactor;
    this.#host = host;
  }

  get worthKeeping(): boolean {
    return this.#error === null;
  }

  /** What ended it badly; null while nothing has. */
  get error(): CellpoolError | null {
    return this.#error;
  }

  /** Without secrets: hooks are told of it. */
  get soFar(): AttemptSoFar {
    const { code, message = '' } = this.#error ?? {};
    const error = code === undefined ? null : { code, message: this.#redactor.text(message) };
    return { tests: this.#tests, outcome: this.#outcome, error, commit: this.#commit?.commit ?? null };
  }

  /** A stage begins, and the one before has ended. */
  enters(stage: Stage): void {
    this.#stages.enter(stage);
  }

  spawned(cell: CellInfo | null): void {
    this.artifacts = cell?.artifacts ?? '';
    this.limits = cell?.limits ?? null;
    this.isolation = cell?.isolation ?? null;
    this.#inWorktree = cell?.workspace === 'worktree';
  }

  executed({ ended, error, costUsd }: ExecutionResult): void {
    this.#costUsd += costUsd;
    if (ended === 'idle') return;
    this.#outcome = OUTCOME_OF[ended];
    this.#error = error;
  }

  tested({ passed, exitCode, durationMs, timedOut, tail, outOfMemory }: TestResult): void {
    this.#tests = { passed, exitCode, durationMs };
    if (passed) return;
    if (outOfMemory !== null) {
      this.#outcome = 'failed';
      this.#error = outOfMemory;
      return;
    }
    this.#outcome = 'reverted';
    const how = timedOut ? `not done after ${durationMs} ms` : `exit code ${exitCode}`;
    this.#error = new CellpoolError('TESTS_FAILED', `the tests failed (${how}): ${tail.trim()}`);
  }

  settled(commit: CommitResult): void {
    this.#commit = commit;
    this.#filesModified = commit.filesModified;
    this.#secretInWork = commit.secretInWork;
    this.#outcome = commit.committed ? 'committed' : 'no-changes';
  }

  /** A step threw: the attempt failed, unless it was cancelled, or had come to a bad end before. */
  failed(thrown: CellpoolError): void {
    const error = namingFullDisk(thrown);
    if (this.#error !== null) {
      this.alsoFailed(error);
      return;
    }
    this.#error = error;
    this.#outcome = error.code === 'CANCELLED' ? 'cancelled' : 'failed';
    // A cell that could not be spawned has left its server's log all the same.
    if (this.artifacts === '' && typeof error.facts.artifacts === 'string') this.artifacts = error.facts.artifacts;
  }

  reverted = ({ filesModified, summary, secretInWork }: RevertResult): void => {
    this.#filesModified = filesModified;
    this.#secretInWork = secretInWork;
    this.#summary = summary;
  };

  /** The first error is the one that counts; a later one is told behind it. */
  alsoFailed = (second: unknown): void => {
    const first = this.#error;
    if (first === null) return;
    this.#error = new CellpoolError(first.code, `${first.message}; then: ${asCellpoolError(second).message}`, {
      cause: first,
    });
  };

  /** A hook failed that is only reported. */
  hookFailed(hook: HookName, { message }: CellpoolError): void {
    this.#hookFaults.push({ hook, message });
  }

  /** Ends its last stage. Without secrets. */
  result(tokensUsed: number): AttemptResult {
    const { tests, commit, error } = this.soFar;
    const stages = this.#stages.end();
    const result: AttemptResult = {
      taskId: this.#config.taskId,
      outcome: this.#outcome ?? 'no-changes',
      attempt: this.#config.attempt ?? 1,
      branch: this.#commit?.branch ?? null,
      commit,
      filesModified: this.#filesModified,
      ...(this.#summary === '' ? {} : { diffSummary: this.#summary }),
      tokensUsed,
      tests,
      metrics: this.metrics,
      ...(stages.length === 0 ? {} : { stages }),
      // opencode counts nothing for a model whose prices it does not know.
      ...(this.#costUsd === 0 ? {} : { costUsd: this.#costUsd }),
      ...(this.#host === null ? {} : { host: this.#host }),
      error,
      ...(this.limits === null ? {} : { limits: this.limits }),
      ...(this.#hookFaults.length === 0 ? {} : { hookFaults: this.#hookFaults }),
      ...(this.#secretInWork ? { secretInWork: true } : {}),
      ...(this.isolation === null ? {} : { isolation: this.isolation }),
      ...(this.#inWorktree ? { workspace: 'worktree' as const } : {}),
      artifacts: this.artifacts,
    };
    return redactedResult(result, this.#redactor);
  }
}
