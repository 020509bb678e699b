/** Where each leaf of the settings may stand besides in a flag. */

export interface Leaf {
  key: string;
  /** The environment variable that sets it. */
  env?: string;
  /** Whether `cellpool.yaml` may hold it. */
  file: boolean;
}

const ENTRIES = [
  { key: 'home', env: 'CELLPOOL_HOME', file: false },
  { key: 'redisUrl', env: 'REDIS_URL', file: false },
  { key: 'prefix', env: 'CELLPOOL_PREFIX', file: false },
  { key: 'host', env: 'CELLPOOL_HOST', file: false },
  { key: 'concurrency', env: 'CELLPOOL_CONCURRENCY', file: true },
  { key: 'hostConcurrency', env: 'CELLPOOL_HOST_CONCURRENCY', file: false },
  // What a machine has is not for a repository to say; what its tasks need is.
  { key: 'labels', env: 'CELLPOOL_LABELS', file: false },
  { key: 'taskLabels', env: 'CELLPOOL_TASK_LABELS', file: true },
  { key: 'ports', env: 'CELLPOOL_PORTS', file: false },
  { key: 'opencodeBin', env: 'OPENCODE_BIN', file: false },
  { key: 'model', env: 'CELLPOOL_MODEL', file: true },
  { key: 'agent', env: 'CELLPOOL_AGENT', file: true },
  { key: 'test', env: 'CELLPOOL_TEST', file: true },
  { key: 'setup', env: 'CELLPOOL_SETUP', file: true },
  { key: 'limits.timeoutMs', env: 'CELLPOOL_TIMEOUT_MS', file: true },
  { key: 'limits.tokenBudget', env: 'CELLPOOL_TOKEN_BUDGET', file: true },
  { key: 'limits.attempts', env: 'CELLPOOL_ATTEMPTS', file: true },
  { key: 'limits.bootMs', env: 'CELLPOOL_BOOT_MS', file: true },
  { key: 'limits.setupMs', env: 'CELLPOOL_SETUP_MS', file: true },
  { key: 'limits.testMs', env: 'CELLPOOL_TEST_MS', file: true },
  { key: 'limits.hookMs', env: 'CELLPOOL_HOOK_MS', file: true },
  { key: 'limits.costBudgetUsd', env: 'CELLPOOL_COST_BUDGET_USD', file: true },
  { key: 'limits.stallMs', env: 'CELLPOOL_STALL_MS', file: true },
  { key: 'limits.loopRepeats', env: 'CELLPOOL_LOOP_REPEATS', file: true },
  { key: 'limits.totalTimeoutMs', env: 'CELLPOOL_TOTAL_TIMEOUT_MS', file: true },
  { key: 'limits.totalTokenBudget', env: 'CELLPOOL_TOTAL_TOKEN_BUDGET', file: true },
  // Of the host, so not for a repository, which agents change, to raise.
  { key: 'limits.memoryMb', env: 'CELLPOOL_MEMORY_MB', file: false },
  { key: 'limits.pids', env: 'CELLPOOL_PIDS', file: false },
  { key: 'limits.cpus', env: 'CELLPOOL_CPUS', file: false },
  { key: 'limits.diskMb', env: 'CELLPOOL_DISK_MB', file: false },
  { key: 'retryOverBudget', env: 'CELLPOOL_RETRY_OVER_BUDGET', file: true },
  { key: 'hooks', file: true },
  { key: 'land', env: 'CELLPOOL_LAND', file: true },
  { key: 'landOn', env: 'CELLPOOL_LAND_ON', file: true },
  { key: 'landing.remote', env: 'CELLPOOL_LAND_REMOTE', file: true },
  // Of the worker that lands.
  { key: 'landing.batch', env: 'CELLPOOL_LAND_BATCH', file: false },
  { key: 'landing.returns', env: 'CELLPOOL_LAND_RETURNS', file: true },
  { key: 'landing.removeBranch', env: 'CELLPOOL_LAND_REMOVE_BRANCH', file: true },
  { key: 'python', env: 'CELLPOOL_PYTHON', file: true },
  { key: 'caches', env: 'CELLPOOL_CACHES', file: true },
  { key: 'graceMs', env: 'CELLPOOL_GRACE_MS', file: false },
  { key: 'reserve.memoryMb', env: 'CELLPOOL_RESERVE_MEMORY_MB', file: false },
  { key: 'reserve.diskMb', env: 'CELLPOOL_RESERVE_DISK_MB', file: false },
  // What happened is not for agents to have forgotten.
  { key: 'retention.artifactDays', env: 'CELLPOOL_ARTIFACT_DAYS', file: false },
  { key: 'retention.artifactsMb', env: 'CELLPOOL_ARTIFACTS_MB', file: false },
  { key: 'retention.jobDays', env: 'CELLPOOL_JOB_DAYS', file: false },
  { key: 'retention.jobs', env: 'CELLPOOL_JOBS', file: false },
  { key: 'author.name', env: 'CELLPOOL_AUTHOR_NAME', file: true },
  { key: 'author.email', env: 'CELLPOOL_AUTHOR_EMAIL', file: true },
  { key: 'opencode', file: true },
  { key: 'isolation.level', env: 'CELLPOOL_ISOLATION', file: false },
  { key: 'isolation.readable', env: 'CELLPOOL_READABLE', file: false },
  { key: 'isolation.allow', env: 'CELLPOOL_ALLOW', file: true },
  { key: 'workspace', env: 'CELLPOOL_WORKSPACE', file: false },
  { key: 'profile', env: 'CELLPOOL_PROFILE', file: false },
  { key: 'warm', env: 'CELLPOOL_WARM', file: false },
  { key: 'env.server', env: 'CELLPOOL_SERVER_ENV', file: false },
  { key: 'env.commands', env: 'CELLPOOL_COMMAND_ENV', file: false },
  { key: 'logLevel', env: 'CELLPOOL_LOG_LEVEL', file: false },
] as const satisfies readonly Leaf[];

export type SettingKey = (typeof ENTRIES)[number]['key'];

/** Every leaf of the settings, and where else than in a flag it may stand. */
export const LEAVES: readonly (Leaf & { key: SettingKey })[] = ENTRIES;
