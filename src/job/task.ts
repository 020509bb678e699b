/** The task: what a producer asks for. Everything that reaches the queue has passed this schema. */
import { z } from 'zod';
import { DEFAULTS, isRecord, jsonObject, LAND, LIMITS, labelList, loopRepeats, sayIssue } from '../config.ts';
import type { Fault } from '../errors.ts';
import { isTaskBranch, taskIdFault } from './names.ts';

export const TASK_DEFAULTS = {
  base: 'main',
  /** The agent's time in one attempt. */
  timeoutMs: DEFAULTS.timeoutMs,
  /** Tokens of one attempt. */
  tokenBudget: DEFAULTS.tokenBudget,
  attempts: DEFAULTS.attempts,
} as const;

/** BullMQ's largest priority; 0 is none and goes first, then lower before higher. */
const PRIORITY_MAX = 2_097_151;

/** Characters; a prompt this long is already beyond what models read. */
const PROMPT_MAX = 500_000;
const COMMAND_MAX = 10_000;
/** Characters of the metadata's JSON: it is carried with the job, not a place for files. */
const METADATA_MAX = 100_000;
/** Tasks that one may depend on. */
const DEPENDENCIES_MAX = 100;

const NUL = '\0';
const text = (max: number) =>
  z
    .string()
    .max(max)
    .refine(value => value.trim() !== '', 'may not be empty')
    .refine(value => !value.includes(NUL), 'may not contain a NUL character');
const line = text(1_000).refine(value => !/[\r\n]/.test(value), 'must be a single line');

const branchName = z
  .string()
  .min(1)
  .max(200)
  // The rules of git-check-ref-format, plus no leading "-": a name is an argument of git commands.
  .refine(
    name =>
      !/[\p{Cc} ~^:?*[\\]|\.\.|@\{|\/\/|\/$|^\/|\.$|^-|(^|\/)\.|\.lock(\/|$)/u.test(name) &&
      name !== '@' &&
      name !== 'HEAD',
    'is not a branch name that git accepts',
  );

const taskId = z.string().superRefine((id, context) => {
  const fault = taskIdFault(id);
  if (fault !== null) context.addIssue({ code: 'custom', message: fault });
});

const taskKeys = z.strictObject({
  id: taskId,
  prompt: text(PROMPT_MAX),
  title: line.optional(),
  base: branchName.default(TASK_DEFAULTS.base),
  /** Shell command that judges the work; run by the worker in the workspace. */
  test: text(COMMAND_MAX).optional(),
  /** Milliseconds. */
  timeoutMs: z.int().min(1).max(LIMITS.timeoutMs).default(TASK_DEFAULTS.timeoutMs),
  tokenBudget: z.int().min(1).default(TASK_DEFAULTS.tokenBudget),
  /** US dollars, as far as the provider's prices are known. */
  costBudgetUsd: z.number().positive().optional(),
  /** Milliseconds without progress of the agent; left out: 5 minutes. */
  stallMs: z.int().min(1).max(LIMITS.timeoutMs).optional(),
  /** The same done this often with the same result ends the attempt; 0: never. Left out: 5. */
  loopRepeats: loopRepeats.optional(),
  attempts: z.int().min(1).max(LIMITS.attempts).default(TASK_DEFAULTS.attempts),
  /** The agents' time and tokens over all attempts, uncounted ones too; left out: `attempts` times those of one. */
  totalTimeoutMs: z.int().min(1).optional(),
  totalTokenBudget: z.int().min(1).optional(),
  /** Ids of tasks that must have ended well before this one is begun. */
  dependsOn: z
    .array(taskId)
    .max(DEPENDENCIES_MAX, `may name at most ${DEPENDENCIES_MAX} tasks`)
    .superRefine((ids, context) => {
      for (const [index, id] of ids.entries()) {
        if (ids.indexOf(id) === index) continue;
        context.addIssue({ code: 'custom', path: [index], message: `names ${JSON.stringify(id)} twice` });
      }
    })
    .optional(),
  /** What a worker must have to work on it. */
  labels: labelList.optional(),
  priority: z.int().min(0).max(PRIORITY_MAX).optional(),
  /** `provider/model`. */
  model: line.regex(/^[^/\s]+\/\S+$/, 'is written provider/model').optional(),
  agent: line.optional(),
  /** What becomes of its branch once it is committed; left out: it stays. */
  land: z.enum(LAND).optional(),
  /** The branch it lands on; left out: its base. */
  landOn: branchName.optional(),
  /** Anything of the producer's, carried along and never read. */
  metadata: jsonObject
    .refine(value => JSON.stringify(value).length <= METADATA_MAX, {
      message: `may be at most ${METADATA_MAX} characters of JSON`,
      // A value that is no bounded JSON must not be written out.
      when: payload => payload.issues.length === 0,
    })
    .optional(),
});

export const taskSchema = taskKeys.superRefine((task, context) => {
  const index = task.dependsOn?.indexOf(task.id) ?? -1;
  if (index >= 0) context.addIssue({ code: 'custom', path: ['dependsOn', index], message: 'is the task itself' });
  if (!isLanding(task)) return;
  const refuse = (message: string) => context.addIssue({ code: 'custom', path: ['land'], message });
  if (task.test === undefined) refuse('asks for a test command: what lands is what its tests let through');
  const target = task.landOn ?? task.base;
  if (!isTaskBranch(target)) return;
  refuse(`asks for "landOn": ${JSON.stringify(target)} is the branch of a task, on which nothing lands`);
});

/** Whether its branch is to land, once it is committed. */
export function isLanding({ land = 'none' }: { land?: (typeof LAND)[number] | undefined }): boolean {
  return land !== 'none';
}

export type Task = z.output<typeof taskSchema>;
export type TaskInput = z.input<typeof taskSchema>;

/** Where a fault stands: one place for the whole task, or a place for each path within it. */
export type Where = string | ((path: readonly PropertyKey[]) => string);

/** Parses one task; every fault is named with its key. Values of `defaults` fill keys the task leaves out. */
export function parseTask(
  value: unknown,
  where: Where,
  defaults: Partial<TaskInput> = {},
): { task: Task; faults: [] } | { task: null; faults: Fault[] } {
  if (!isRecord(value)) {
    return { task: null, faults: [{ where: placeOf(where, []), what: NO_TASK }] };
  }
  const given = Object.entries(defaults).filter(([, one]) => one !== undefined);
  const parsed = taskSchema.safeParse({ ...Object.fromEntries(given), ...value }, { error: sayIssue });
  return parsed.success ? { task: parsed.data, faults: [] } : { task: null, faults: faultsOf(parsed.error, where) };
}

const NO_TASK = 'a task is an object with at least "id" and "prompt"';

/** One fault an issue of zod's, in words: `tasks.jsonl:3: key "promt" is not known`. */
export function faultsOf(error: z.ZodError, where: Where): Fault[] {
  return error.issues.flatMap((issue): Fault[] => {
    const path = issue.path.join('.');
    if (issue.code === 'unrecognized_keys') {
      return issue.keys.map(key => ({
        where: placeOf(where, [...issue.path, key]),
        what: `key ${JSON.stringify(path === '' ? key : `${path}.${key}`)} is not known`,
      }));
    }
    return [{ where: placeOf(where, issue.path), what: path === '' ? issue.message : `"${path}" ${issue.message}` }];
  });
}

function placeOf(where: Where, path: readonly PropertyKey[]): string {
  return typeof where === 'string' ? where : where(path);
}
