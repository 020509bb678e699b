/** Flags that several commands share; `settings-of.ts` makes settings of them. */
import { type Command, Option } from 'commander';
import type { SettingKey } from '../config.ts';

/** Flag, the setting it sets, and its help. Commander's key is the flag in camel case. */
export const FLAGS = {
  home: ['--home <folder>', 'home', 'state folder (CELLPOOL_HOME)'],
  redis: [
    '--redis <url>',
    'redisUrl',
    'Redis to join instead of a private one (REDIS_URL; a URL with a password belongs there)',
  ],
  concurrency: ['--concurrency <n>', 'concurrency', 'cells at once, at most 50 (default: what memory allows)'],
  hostConcurrency: [
    '--host-concurrency <n>',
    'hostConcurrency',
    'cells at once of all workers on this host together (default: no cap)',
  ],
  labels: [
    '--labels <names>',
    'labels',
    'what this worker has, such as gpu,eu: it works on tasks that ask for no more',
  ],
  // Commander knows it by the name of the one above; `openTarget` tells them apart.
  taskLabels: [
    '--labels <names>',
    'taskLabels',
    'what a worker must have for tasks that name no labels, such as gpu,eu',
  ],
  ports: ['--ports <from-to>', 'ports', 'ports for cells (default: 9000-9999)'],
  model: ['--model <provider/model>', 'model', 'model of tasks that name none'],
  agent: ['--agent <name>', 'agent', 'opencode agent of tasks that name none'],
  test: ['--test <command>', 'test', 'command that judges the work of tasks that name none'],
  setup: ['--setup <command>', 'setup', 'command run in a fresh workspace, before the agent'],
  timeoutMs: ['--timeout-ms <ms>', 'limits.timeoutMs', "the agent's time in one attempt (default: 1800000)"],
  tokenBudget: ['--token-budget <n>', 'limits.tokenBudget', 'tokens of one attempt (default: 50000)'],
  costBudgetUsd: [
    '--cost-budget-usd <n>',
    'limits.costBudgetUsd',
    'US dollars of one attempt, as far as the prices are known (default: no limit)',
  ],
  stallMs: ['--stall-ms <ms>', 'limits.stallMs', 'how long an agent may go without progress (default: 300000)'],
  attempts: ['--attempts <n>', 'limits.attempts', 'attempts of a task (default: 3)'],
  totalTimeoutMs: [
    '--total-timeout-ms <ms>',
    'limits.totalTimeoutMs',
    "the agents' time over all attempts of a task (default: attempts times that of one)",
  ],
  totalTokenBudget: [
    '--total-token-budget <n>',
    'limits.totalTokenBudget',
    'tokens over all attempts of a task (default: attempts times those of one)',
  ],
  land: [
    '--land <how>',
    'land',
    'none, merge or push: what becomes of the branches of tasks that do not say so (default: none, they stay)',
  ],
  landOn: ['--land-on <branch>', 'landOn', 'branch that tasks land on if they name none (default: their base)'],
  batch: ['--batch <n>', 'landing.batch', 'finished branches that are tested together before they land (default: 5)'],
  grace: ['--grace <seconds>', 'graceMs', 'how long running attempts may go on once it is stopped (default: 30)'],
  memoryMb: ['--memory-mb <n>', 'limits.memoryMb', 'memory of one cell in MiB, 0 for no limit (default: 4096)'],
  pids: ['--pids <n>', 'limits.pids', 'processes and threads of one cell, 0 for no limit (default: 1024)'],
  cpus: ['--cpus <n>', 'limits.cpus', 'processors of one cell, such as 1.5 (default: no limit)'],
  diskMb: ['--disk-mb <n>', 'limits.diskMb', 'disk of one cell in MiB, 0 for no limit (default: 10240)'],
  isolation: [
    '--isolation <level>',
    'isolation.level',
    'auto, strict, sandbox or process: how far cells are kept from this machine (default: auto, as far as it allows)',
  ],
  workspace: [
    '--workspace <kind>',
    'workspace',
    'clone, or worktree: agents work in worktrees of your repository and may change its refs, config and hooks (default: clone)',
  ],
  profile: [
    '--profile <name>',
    'profile',
    'fast, dense (slower, with less memory) or auto: whether agents spend memory on being quick (default: auto, by what is free)',
  ],
  warm: ['--warm <n>', 'warm', 'cells kept ready ahead of demand, beside those at work (default: 0)'],
  artifactDays: [
    '--artifact-days <n>',
    'retention.artifactDays',
    'days for which artifacts of an attempt are kept, 0 for ever (default: 30)',
  ],
  artifactsMb: [
    '--artifacts-mb <n>',
    'retention.artifactsMb',
    'MiB of artifacts from which on the oldest are removed, 0 for no limit (default: 10240)',
  ],
  logLevel: ['--log-level <level>', 'logLevel', 'fatal, error, warn, info, debug, trace or silent'],
} as const satisfies Record<string, readonly [string, SettingKey, string]>;

export type FlagName = keyof typeof FLAGS;

export const SITE_FLAGS = ['home', 'redis'] as const;
export const TASK_FLAGS = [
  'model',
  'agent',
  'taskLabels',
  'test',
  'setup',
  'timeoutMs',
  'tokenBudget',
  'costBudgetUsd',
  'stallMs',
  'attempts',
  'totalTimeoutMs',
  'totalTokenBudget',
  'land',
  'landOn',
] as const;
export const LIMIT_FLAGS = ['memoryMb', 'pids', 'cpus', 'diskMb'] as const;
export const WORKER_FLAGS = [
  'concurrency',
  'hostConcurrency',
  'ports',
  'isolation',
  'workspace',
  'profile',
  'warm',
  'batch',
  'grace',
  ...LIMIT_FLAGS,
  'artifactDays',
  'artifactsMb',
  'logLevel',
] as const;

export function addFlags(command: Command, names: readonly FlagName[]): Command {
  for (const name of names) {
    const [flag, , help] = FLAGS[name];
    command.addOption(new Option(flag, help));
  }
  return command;
}

export interface CommonFlags extends Partial<Record<FlagName, string>> {
  opencodeConfig?: string;
}
