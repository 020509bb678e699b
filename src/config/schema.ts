/** The settings: the schema that all of them pass. Defaults and limits stand in `defaults.ts`. */
import { z } from 'zod';
import { CONCURRENCY_CAP, DEFAULTS, LIMITS } from './defaults.ts';
import { hostList } from './hosts.ts';
import { jsonObject } from './json.ts';
import { labelSetting } from './labels.ts';

const WARM_MAX = CONCURRENCY_CAP - 1;

/** A port below 32768, where the range begins from which the kernel hands out ports by itself. */
const PORT_MAX = 32_767;

/** What becomes of a finished branch: it stays, or it lands on its target, here or in a remote. */
export const LAND = ['none', 'merge', 'push'] as const;

/** Environment variables are text; so are flags. */
const numeric = <T extends z.ZodType>(schema: T) =>
  z.preprocess(value => (typeof value === 'string' && /^\s*\d+\s*$/.test(value) ? Number(value) : value), schema);

/** 0 is how "no limit" is written: an empty variable counts as none at all. */
const orNone = <T extends z.ZodType>(schema: T) =>
  z.preprocess(
    value => (value === 0 || (typeof value === 'string' && /^\s*(0|none)\s*$/.test(value)) ? null : value),
    schema,
  );
const decimal = <T extends z.ZodType>(schema: T) =>
  z.preprocess(
    value => (typeof value === 'string' && /^\s*\d+(\.\d+)?\s*$/.test(value) ? Number(value) : value),
    schema,
  );

const names = z.preprocess(
  value => {
    if (typeof value !== 'string') return value;
    const parts = value.split(',').map(name => name.trim());
    return parts.filter(name => name !== '');
  },
  z.array(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'must be a list of environment variable names')),
);

/** Strongest first; what they mean stands in `os/isolation.ts`. */
export const ISOLATION_LEVELS = ['strict', 'sandbox', 'process'] as const;

/** What the agent finds as `.git`; see `cell/agent-git.ts`. */
export const WORKSPACES = ['clone', 'worktree'] as const;

/** Whether a cell's server spends memory on being quick; `auto`: while there is enough. See `cell/profile.ts`. */
export const PROFILES = ['fast', 'dense', 'auto'] as const;

/** Whether a cell gets a Python environment where the repository looks like it; and whose downloads it begins with. */
export const PYTHON = ['auto', 'off'] as const;
export const CACHES = ['cell', 'shared'] as const;

const paths = z.preprocess(
  value => (typeof value === 'string' ? value.split(':').filter(path => path !== '') : value),
  z.array(z.string().regex(/^\/[^\0]+$/, 'must be a list of absolute paths')),
);

const text = z
  .string()
  .refine(value => value.trim() !== '', 'may not be empty')
  .refine(value => !value.includes('\0'), 'may not contain a NUL character');

const ms = (fallback: number) => numeric(z.int().min(1).max(LIMITS.timeoutMs)).default(fallback);

/** It is an argument of git commands, and an address is none: a repository's file may not say where its code goes. */
export const remoteName = text.regex(
  /^[A-Za-z0-9][A-Za-z0-9._/-]{0,199}$/,
  'must be the name of a remote of the repository',
);

/** Twice is the least that can be called a repetition. */
export const loopRepeats = z
  .int()
  .min(0)
  .max(LIMITS.loopRepeats)
  .refine(times => times !== 1, 'must be 0 or at least 2');

const flag = z.preprocess(value => (value === 'true' ? true : value === 'false' ? false : value), z.boolean());

/** Moments in a cell's life at which the operator may have something done, in the order in which they may happen. */
export const HOOKS = [
  'afterSpawn',
  'beforeExecute',
  'afterExecute',
  'afterTests',
  'onFailure',
  'beforeTeardown',
] as const;

const command = text.max(10_000);
const hooks = z.partialRecord(
  z.enum(HOOKS),
  z.union(
    [command, z.strictObject({ run: command, timeoutMs: z.int().min(1).max(LIMITS.timeoutMs).optional() })],
    'must be a command, or an object with "run" and "timeoutMs"',
  ),
);

const port = z.int().min(1024).max(PORT_MAX);
const ports = z.preprocess(
  value => {
    const range = typeof value === 'string' ? /^\s*(\d+)-(\d+)\s*$/.exec(value) : null;
    return range === null ? value : { from: Number(range[1]), to: Number(range[2]) };
  },
  z
    .strictObject({ from: port, to: port }, 'is written 9000-9999')
    .refine(range => range.from <= range.to, 'must begin before it ends'),
);

const fields = z.strictObject({
  /** The state folder: private Redis, mirrors, cells, artifacts. */
  home: text,
  redisUrl: text.optional(),
  /** First part of every Redis key. */
  prefix: z.string().regex(/^[A-Za-z0-9_-]{1,64}$/, 'is made of letters, digits, "_" and "-", 64 at most'),
  /** Name of this machine in Redis; ports are leased per host. */
  host: z.string().regex(/^[A-Za-z0-9._-]{1,255}$/, 'is made of letters, digits, ".", "_" and "-", 255 at most'),
  /** Cells at once; left out: as many as memory allows. */
  concurrency: numeric(z.int().min(1).max(CONCURRENCY_CAP)).optional(),
  /** Cells at once of all workers on this host together, as far as this worker has a say; left out: no cap. */
  hostConcurrency: numeric(z.int().min(1)).optional(),
  /** What this worker has; tasks that ask for more are not worked by it. */
  labels: labelSetting.default([]),
  /** What tasks ask for that name no labels. */
  taskLabels: labelSetting.optional(),
  ports: ports.default(DEFAULTS.ports),
  opencodeBin: text.optional(),
  /** `provider/model`. */
  model: text.regex(/^[^/\s]+\/\S+$/, 'is written provider/model').optional(),
  agent: text.optional(),
  /** Shell command that judges the work. */
  test: text.optional(),
  /** Shell command run once in a fresh workspace, before the agent. */
  setup: text.optional(),
  limits: z.strictObject({
    /** The agent's time in one attempt. */
    timeoutMs: ms(DEFAULTS.timeoutMs),
    /** Tokens of one attempt. */
    tokenBudget: numeric(z.int().min(1)).default(DEFAULTS.tokenBudget),
    attempts: numeric(z.int().min(1).max(LIMITS.attempts)).default(DEFAULTS.attempts),
    /** Until the server of a cell must answer. */
    bootMs: ms(DEFAULTS.bootMs),
    setupMs: ms(DEFAULTS.setupMs),
    testMs: ms(DEFAULTS.testMs),
    /** Of a hook that names none of its own. */
    hookMs: ms(DEFAULTS.hookMs),
    /** US dollars of one attempt, as far as the provider's prices are known; left out: no limit. */
    costBudgetUsd: decimal(z.number().positive()).optional(),
    /** Without progress of the agent, in one attempt; left out: 5 minutes. */
    stallMs: numeric(z.int().min(1).max(LIMITS.timeoutMs)).optional(),
    /** How often an agent may do the same with the same result; 0: as often as it likes. Left out: 5. */
    loopRepeats: numeric(loopRepeats).optional(),
    /** The agents' time and tokens over all attempts of a task; left out: `attempts` times those of one. */
    totalTimeoutMs: numeric(z.int().min(1)).optional(),
    totalTokenBudget: numeric(z.int().min(1)).optional(),
    /** What all processes of one cell may use together, in MiB; a server alone needs more than the least. */
    memoryMb: orNone(numeric(z.int().min(256).nullable())).default(DEFAULTS.limits.memoryMb),
    /** Processes and threads of one cell. */
    pids: orNone(numeric(z.int().min(64).nullable())).default(DEFAULTS.limits.pids),
    /** Processors' worth of time of one cell. */
    cpus: orNone(decimal(z.number().min(0.1).max(1024).nullable())).default(DEFAULTS.limits.cpus),
    /** Workspace, home and tmp of one cell, in MiB. */
    diskMb: orNone(numeric(z.int().min(64).nullable())).default(DEFAULTS.limits.diskMb),
  }),
  /** Whether a task that went over its budget of tokens is tried again. */
  retryOverBudget: flag.default(false),
  /** A section with nothing below it is what is left when every line in it is commented out. */
  hooks: hooks
    .nullable()
    .default({})
    .transform(value => value ?? {}),
  /** What becomes of the branches of tasks that do not say so themselves, and where they land; left out: their base. */
  land: z.enum(LAND).default('none'),
  landOn: text.optional(),
  landing: z.strictObject({
    /** Name of the remote that `push` goes to, where the repository is a folder. */
    remote: remoteName.default(DEFAULTS.landing.remote),
    /** Finished branches that are tested together. */
    batch: numeric(z.int().min(1).max(LIMITS.batch)).default(DEFAULTS.landing.batch),
    /** How often a task is worked anew because its branch could not land. */
    returns: numeric(z.int().min(0).max(LIMITS.returns)).default(DEFAULTS.landing.returns),
    /** Whether the branch of a task is removed once it has landed. */
    removeBranch: flag.default(false),
  }),
  /** A Python environment of its own for each cell, where the repository looks like Python. */
  python: z.enum(PYTHON).default('auto'),
  /** What package managers have downloaded: each cell's own, or taken over from what setup commands left. */
  caches: z.enum(CACHES).default('cell'),
  /** How long running attempts may go on once the worker is told to stop. */
  graceMs: numeric(z.int().min(0).max(LIMITS.timeoutMs)).default(DEFAULTS.graceMs),
  /** What must stay free (in MiB) for another cell to be started. */
  reserve: z.strictObject({
    memoryMb: numeric(z.int().min(0)).default(DEFAULTS.reserve.memoryMb),
    diskMb: numeric(z.int().min(0)).default(DEFAULTS.reserve.diskMb),
  }),
  /** What is removed of what is over; null: never. */
  retention: z.strictObject({
    /** Artifacts of an attempt, after so many days. */
    artifactDays: orNone(decimal(z.number().positive().nullable())).default(DEFAULTS.retention.artifactDays),
    /** The oldest artifacts of a state folder, when all of them take more MiB than this. */
    artifactsMb: orNone(numeric(z.int().min(1).nullable())).default(DEFAULTS.retention.artifactsMb),
    /** An ended job, after so many days. */
    jobDays: orNone(decimal(z.number().positive().nullable())).default(DEFAULTS.retention.jobDays),
    /** The oldest ended jobs, when there are more of a kind (completed, failed) than this. */
    jobs: orNone(numeric(z.int().min(1).nullable())).default(DEFAULTS.retention.jobs),
  }),
  author: z.strictObject({
    name: text.regex(/^[^<>\n]*$/, 'may not contain "<", ">" or a line break').default(DEFAULTS.author.name),
    email: text.regex(/^[^<>\s]*$/, 'may not contain "<", ">" or white space').default(DEFAULTS.author.email),
  }),
  /** Merged into the opencode config of every cell. */
  opencode: jsonObject.default({}),
  isolation: z.strictObject({
    /** How far cells are kept apart from the machine; `auto` is as far as it allows. */
    level: z.enum(['auto', ...ISOLATION_LEVELS]).default('auto'),
    /** Further files and folders of the machine that cells may read. */
    readable: paths.default([]),
    /** Hosts that cells may call where their network is their own; the model's need not be named. */
    allow: hostList.default([]),
  }),
  /** `worktree`: agents work in linked worktrees of the user's repository, and may change all of its `.git`. */
  workspace: z.enum(WORKSPACES).default('clone'),
  /** `dense`: servers take a quarter less memory, and compute longer. */
  profile: z.enum(PROFILES).default('auto'),
  /** Cells that a worker keeps ready ahead of demand, beside those at work. */
  warm: numeric(z.int().min(0).max(WARM_MAX)).default(0),
  /** Names of environment variables that reach the cell's server, and its setup and test commands. */
  env: z.strictObject({ server: names.default([]), commands: names.default([]) }),
  logLevel: z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']).optional(),
});

export const settingsSchema = fields.superRefine(({ warm, concurrency = 1 }, context) => {
  // What is wrong with one of them alone is told of that one.
  if (warm > WARM_MAX || concurrency > CONCURRENCY_CAP || concurrency + warm <= CONCURRENCY_CAP) return;
  const most = `may be at most ${CONCURRENCY_CAP - concurrency} beside ${concurrency} cells at work`;
  context.addIssue({ code: 'custom', path: ['warm'], message: `${most}: a worker has ${CONCURRENCY_CAP} at most` });
});

export type Settings = Readonly<z.output<typeof settingsSchema>>;
