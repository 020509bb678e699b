/** The job: a task as it stands on the queue, with all a worker needs to know that is not a setting of its own. */
import { z } from 'zod';
import { CACHES, hostsSchema, jsonObject, LIMITS, PYTHON, remoteName } from '../config.ts';
import { hooksSchema } from './hooks.ts';
import { attemptResultSchema } from './outcome.ts';
import { repositorySchema } from './repository.ts';
import { taskSchema } from './task.ts';

/** How the target repository wants its tasks worked; from flags and its `cellpool.yaml`, fixed at enqueue. */
export const planSchema = z.strictObject({
  /** Shell command run once in a fresh workspace before the agent. */
  setup: z.string().optional(),
  setupMs: z.int().positive(),
  testMs: z.int().positive(),
  hooks: hooksSchema.optional(),
  /** Of a hook that names none. */
  hookMs: z.int().positive().optional(),
  /** Whether a task that went over its budget of tokens is tried again. */
  retryOverBudget: z.boolean().optional(),
  /** Hosts that the task's cells may call, where their isolation restricts it. */
  allow: hostsSchema.optional(),
  /** Left out: `auto`. */
  python: z.enum(PYTHON).optional(),
  /** Left out: `cell`. */
  caches: z.enum(CACHES).optional(),
  /** How its branches land; what is left out is as the defaults say. */
  landing: z
    .strictObject({ remote: remoteName, returns: z.int().min(0).max(LIMITS.returns), removeBranch: z.boolean() })
    .partial()
    .optional(),
  author: z.strictObject({ name: z.string().min(1), email: z.string().min(1) }),
  /** Merged into the opencode config of the cell. */
  opencode: jsonObject,
});
export type Plan = z.infer<typeof planSchema>;

/** Why a committed branch came back to be worked anew, told to the agent of the next attempt. */
const returnedSchema = z.strictObject({
  /** How often the task has come back, this time included. */
  times: z.int().min(1),
  /** The commit that could not land, on which branch, and where that branch was then; full ids. */
  commit: z.string(),
  target: z.string(),
  tip: z.string(),
  why: z.enum(['conflict', 'red']),
  /** The paths in conflict, or the end of what the tests printed. */
  message: z.string(),
  /** The work itself, as a patch; left out when it is too long. */
  patch: z.string().optional(),
  /** The attempt begins at `tip` itself, which the repository has though its branch may be elsewhere. */
  beginsAtTip: z.boolean().optional(),
});
export type Returned = z.infer<typeof returnedSchema>;

export const taskJobSchema = z.strictObject({
  version: z.literal(1),
  task: taskSchema,
  /**
   * Absolute path of the repository's top folder (or of a bare repository) on the worker's host, or the URL of one
   * that any worker can fetch from and push to.
   */
  repository: repositorySchema,
  plan: planSchema,
  /** Why the job waits, uncounted, and since when (epoch ms): a provider's trouble, or what its workers lack. */
  waits: z.strictObject({ reason: z.string(), code: z.string().optional(), since: z.number() }).optional(),
  /** What all attempts have used so far, those that did not count included. */
  spent: z.strictObject({ tokens: z.int().min(0), executionMs: z.int().min(0) }).optional(),
  /** One result for every attempt that has ended, oldest first. */
  results: z.array(attemptResultSchema),
  /**
   * So many of the results, the oldest, are of rounds before the present one. A round begins when a person retries the
   * task and when its work came back, and numbers its attempts from 1.
   */
  kept: z.int().min(0).optional(),
  /** Left out: its work has never failed to land. */
  returned: returnedSchema.optional(),
});
export type TaskJob = z.infer<typeof taskJobSchema>;

/** The result of the last attempt of the present round; an earlier round says nothing of how the task stands. */
export function lastOfRound<T>({ results, kept = 0 }: { results: readonly T[]; kept?: number | undefined }) {
  return results.length > kept ? results.at(-1) : undefined;
}
