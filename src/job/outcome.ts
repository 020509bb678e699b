/** How an attempt ended, and everything that is told about it. This is the shape `cellpool run --json` prints. */
import { z } from 'zod';
import { ISOLATION_LEVELS } from '../config.ts';
import { LIMIT_WAYS } from '../os/resource-limits.ts';
import { FATES } from './fate.ts';
import { HOOKS } from './hooks.ts';

export const OUTCOMES = [
  'committed',
  'no-changes',
  'reverted',
  'failed',
  'timed-out',
  'stalled',
  'over-budget',
  'cancelled',
] as const;

export type Outcome = (typeof OUTCOMES)[number];

/** The two outcomes that need nothing more. */
export function endedWell(outcome: Outcome): boolean {
  return outcome === 'committed' || outcome === 'no-changes';
}

/** What the test command said. The exit code decides, nothing that was printed. */
export const testsSchema = z.object({
  passed: z.boolean(),
  /** null when a signal or the time limit ended it. */
  exitCode: z.number().int().nullable(),
  durationMs: z.number(),
});
export type TestsVerdict = z.infer<typeof testsSchema>;

/** Milliseconds of each phase; `totalMs` is spawn to the end of teardown, so at least the sum of the others. */
export const metricsSchema = z.object({
  spawnMs: z.number(),
  executionMs: z.number(),
  teardownMs: z.number(),
  totalMs: z.number(),
});
export type LifecycleMetrics = z.infer<typeof metricsSchema>;

/** The stages of a cell, in the order they happen. */
export const STAGES = ['spawn', 'execute', 'test', 'settle', 'teardown'] as const;
export type Stage = (typeof STAGES)[number];

/** When a stage of a cell began (epoch ms), and how long it took. */
export const stageTimeSchema = z.object({ stage: z.enum(STAGES), startedAt: z.number(), ms: z.number() });
export type StageTime = z.infer<typeof stageTimeSchema>;

/** How the limits of a cell were held: see `docs/limits.md`. */
const limitsSchema = z.object({
  memory: z.enum(LIMIT_WAYS),
  pids: z.enum(LIMIT_WAYS),
  cpu: z.enum(LIMIT_WAYS),
  disk: z.enum(['watched', 'off']),
});

export const attemptResultSchema = z.object({
  taskId: z.string(),
  outcome: z.enum(OUTCOMES),
  /** Numbered from 1. */
  attempt: z.number().int().min(1),
  /** `cellpool/<task id>` when something was committed. */
  branch: z.string().nullable(),
  commit: z.string().nullable(),
  /** Paths relative to the repository's root, from git; both names of a rename. Also of work that was reverted. */
  filesModified: z.array(z.string()),
  /** Of work that was reverted: a line a file with the lines added and removed. */
  diffSummary: z.string().optional(),
  /** Input, output, reasoning and cache-write tokens of every model call; cache reads are not counted. */
  tokensUsed: z.number().int(),
  tests: testsSchema.nullable(),
  metrics: metricsSchema,
  /** The stages it went through, in their order; left out when there was no cell. */
  stages: z.array(stageTimeSchema).optional(),
  /** US dollars, as far as the model's prices are known; left out when they are not. */
  costUsd: z.number().optional(),
  /** The machine it ran on; left out when there was no cell. */
  host: z.string().optional(),
  error: z.object({ code: z.string(), message: z.string() }).nullable(),
  /** Left out when there was no cell. */
  limits: limitsSchema.optional(),
  /** Hooks that failed without changing the outcome; left out when none did. */
  hookFaults: z.array(z.object({ hook: z.enum(HOOKS), message: z.string() })).optional(),
  /** What the agent added holds a secret that its worker knows; left out when it does not. */
  secretInWork: z.boolean().optional(),
  /** How far the cell was kept apart from the machine; left out when there was none. */
  isolation: z.enum(ISOLATION_LEVELS).optional(),
  /** The agent worked in a worktree of the user's repository; left out when it had a clone, or there was no cell. */
  workspace: z.literal('worktree').optional(),
  /**
   * What became of the commit on its target: its fate, or `waiting` with the reason when it has none yet. Told by those
   * who wait for it; left out when it was not to land.
   */
  landing: z
    .object({
      target: z.string(),
      state: z.enum([...FATES, 'waiting']),
      /** By which the target has it; null when it was not landed. */
      commit: z.string().nullable(),
      message: z.string(),
    })
    .optional(),
  /** Folder on the worker's host with transcript, diff, test log and server log. */
  artifacts: z.string(),
});
export type AttemptResult = z.infer<typeof attemptResultSchema>;

/** The result of a task that ended without a cell. */
export function resultWithoutCell(
  taskId: string,
  attempt: number,
  outcome: Outcome,
  error: AttemptResult['error'],
): AttemptResult {
  return {
    taskId,
    outcome,
    attempt,
    branch: null,
    commit: null,
    filesModified: [],
    tokensUsed: 0,
    tests: null,
    metrics: { spawnMs: 0, executionMs: 0, teardownMs: 0, totalMs: 0 },
    error,
    artifacts: '',
  };
}

/** What a job's progress holds while a cell works on it. */
export const progressSchema = z.object({
  stage: z.enum(STAGES),
  attempt: z.number().int().min(1),
  cellId: z.string().nullable(),
  host: z.string(),
  port: z.number().int().nullable(),
  tokensUsed: z.number().int(),
  /** Epoch ms at which this attempt began. */
  startedAt: z.number(),
});
export type Progress = z.infer<typeof progressSchema>;
