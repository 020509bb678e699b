/** The public names of the library, nothing else. */
export { AgentSpawner, type AgentSpawnerOptions } from './cell/agent-spawner.ts';
export type { ExecuteOptions, ExecutionResult } from './cell/execute.ts';
export type { AttemptSoFar, HookCallback, HookCallbacks, HookFacts } from './cell/hook-facts.ts';
export type { HookOptions } from './cell/hooks.ts';
export type { ProviderListeners, ProviderTrouble } from './cell/provider-trouble.ts';
export type { Registration } from './cell/registration.ts';
export { type CellRun, runCell } from './cell/run-cell.ts';
export type { AgentKind, SpawnConfig } from './cell/spawn-config.ts';
export type {
  CellInfo,
  CommitResult,
  PreparedAgent,
  RevertResult,
  SpawnedAgent,
} from './cell/spawned-agent.ts';
export { openSite, type SiteOptions, type SpawnerSite } from './cell/spawner-site.ts';
export type { TestResult } from './cell/verify.ts';
export { loadSettings, type Settings } from './config.ts';
export { CellpoolError, type ErrorCode, type Fault, InvalidInput } from './errors.ts';
export { HOOKS, type Hook, type HookName, type Hooks } from './job/hooks.ts';
export type { Plan, TaskJob } from './job/job.ts';
export { type LandingQueue, openLandingQueue } from './job/landing.ts';
export {
  type AttemptResult,
  endedWell,
  type LifecycleMetrics,
  type Outcome,
  type Progress,
  type Stage,
  type TestsVerdict,
} from './job/outcome.ts';
export { openQueue, type TaskQueue } from './job/queue.ts';
export { parseTask, type Task, type TaskInput } from './job/task.ts';
export { createLogger, type Logger } from './observe/logger.ts';
export { Redactor } from './observe/redact.ts';
export { secretsOfWorker } from './observe/secrets.ts';
export { ownIdentity } from './os/identity.ts';
export type { LimitLevels, LimitWay, ResourceLimits } from './os/resource-limits.ts';
export { type BeadsOptions, BeadsSource } from './producer/beads/beads-source.ts';
export { type Cancelled, type CancelOptions, cancelTasks } from './producer/cancel.ts';
export { type FolderOptions, FolderSource } from './producer/folder/folder-source.ts';
export { TaskFollower } from './producer/follow.ts';
export { type Enqueued, Producer } from './producer/producer.ts';
export { type Retried, type RetryContext, retryFailed, retryTasks } from './producer/retry.ts';
export { Bridge, type BridgeOptions, type Looked } from './producer/source/bridge.ts';
export { Stir } from './producer/source/stir.ts';
export type { FoundTask, ItemState, News, Note, TaskSource, Written } from './producer/source/task-source.ts';
export { watch } from './producer/source/watch.ts';
export { readTasks } from './producer/tasks-file.ts';
export { connectRedis } from './redis/connection.ts';
export { openRedis, type RedisHandle } from './redis/open-redis.ts';
export { type PortLease, PortLeases } from './redis/port-lease.ts';
export { CellRegistry } from './redis/registry.ts';
export type { ReapReport } from './worker/reap-report.ts';
export { Reaper } from './worker/reaper.ts';
export { WorkerPool } from './worker/worker.ts';
