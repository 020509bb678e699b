/** What `spawnAgent` is given, checked; every fault is named. */
import { z } from 'zod';
import { CACHES, DEFAULTS, hostsSchema, jsonObject, LIMITS, loopRepeats, PYTHON, sayIssue } from '../config.ts';
import { InvalidInput } from '../errors.ts';
import { hooksSchema } from '../job/hooks.ts';
import { taskIdFault } from '../job/names.ts';
import { faultsOf, taskSchema } from '../job/task.ts';

const id = (name: string) =>
  z.string({ error: `${name} is missing` }).superRefine((value, context) => {
    const fault = taskIdFault(value);
    if (fault !== null) context.addIssue({ code: 'custom', message: fault });
  });
const text = z.string().min(1);

const spawnConfigSchema = z.strictObject({
  agentId: id('agentId'),
  taskId: id('taskId'),
  /** The base: work begins at the tip of this branch. */
  branch: taskSchema.shape.base,
  /** Full id: work begins at this commit, which the repository has, wherever the base is. */
  commit: z
    .string()
    .regex(/^(?:[0-9a-f]{40}|[0-9a-f]{64})$/, 'must be the full id of a commit')
    .optional(),
  /** The agent's time in milliseconds. */
  timeoutMs: taskSchema.shape.timeoutMs,
  tokenBudget: taskSchema.shape.tokenBudget,
  costBudgetUsd: taskSchema.shape.costBudgetUsd,
  /** The agent's time without progress, in milliseconds. */
  stallMs: z.int().min(1).max(LIMITS.timeoutMs).default(DEFAULTS.stallMs),
  /** The same done this often with the same result ends the attempt; 0: never. */
  loopRepeats: loopRepeats.default(DEFAULTS.loopRepeats),
  attempt: z.int().min(1).default(1),
  title: taskSchema.shape.title,
  /** `provider/model`. */
  model: taskSchema.shape.model,
  agent: taskSchema.shape.agent,
  test: taskSchema.shape.test,
  setup: text.optional(),
  /** Milliseconds; left out, the spawner's. */
  limits: z
    .strictObject({ setupMs: z.int().min(1), testMs: z.int().min(1) })
    .partial()
    .default({}),
  /** Commands at fixed moments of the cell's life; run by `runHook`. */
  hooks: hooksSchema.default({}),
  /** Milliseconds for a hook that names no limit of its own. */
  hookMs: z.int().min(1).max(LIMITS.timeoutMs).optional(),
  /** Hosts and ports that the cell may call, where its isolation restricts it. */
  allow: hostsSchema.default([]),
  /** Whether it has a Python environment of its own where the repository looks like Python. */
  python: z.enum(PYTHON).default('auto'),
  /** Whether its package managers begin with what those of earlier cells have downloaded. */
  caches: z.enum(CACHES).default('cell'),
  author: z.strictObject({ name: text, email: text }).optional(),
  /** Of a job on the queue: what holds its lock, and when it was put there (epoch ms). */
  job: z.strictObject({ token: text, enqueuedAt: z.number() }).optional(),
  /** Merged into the opencode config of this cell, over the spawner's. */
  opencode: jsonObject.default({}),
});

export type SpawnConfig = z.input<typeof spawnConfigSchema>;
export type CheckedSpawnConfig = z.output<typeof spawnConfigSchema>;

/** The part that workspace, server and tools are made from, before there is a task. */
const kindSchema = spawnConfigSchema.pick({
  branch: true,
  commit: true,
  model: true,
  opencode: true,
  allow: true,
  python: true,
  caches: true,
});

/** What a cell that is made ahead is to be like. */
export type AgentKind = z.input<typeof kindSchema>;
export type CellKind = z.output<typeof kindSchema>;

/** @throws {InvalidInput} naming every fault. */
export function checkAgentKind(like: AgentKind): CellKind {
  return checked(kindSchema, like, 'prepareAgent');
}

/** @throws {InvalidInput} naming every fault. */
export function checkSpawnConfig(config: SpawnConfig): CheckedSpawnConfig {
  return checked(spawnConfigSchema, config, 'spawnAgent');
}

function checked<T>(schema: z.ZodType<T>, value: unknown, where: string): T {
  const parsed = schema.safeParse(value, { error: sayIssue });
  if (!parsed.success) throw new InvalidInput(faultsOf(parsed.error, where));
  return parsed.data;
}
