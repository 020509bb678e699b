/** What a worker is started with. */
import type { Redis } from 'ioredis';
import type { HookCallbacks } from '../cell/hook-facts.ts';
import type { Registration } from '../cell/registration.ts';
import type { Settings } from '../config.ts';
import type { AttemptResult } from '../job/outcome.ts';
import type { Logger } from '../observe/logger.ts';
import type { Redactor } from '../observe/redact.ts';
import type { Tracing } from '../observe/tracing.ts';
import type { PortLeases } from '../redis/port-lease.ts';
import type { JobContext } from './held-job.ts';
import type { SpawnerPool } from './spawner-pool.ts';

export interface PoolOptions {
  settings: Settings;
  /** A connection of the worker role; it stays the caller's. */
  redis: Redis;
  log: Logger;
  /** It stays the caller's; left out or null: nothing is traced. */
  tracing?: Tracing | null;
  /** The one that `log` was made with; left out: one that knows what settings and environment hold. */
  redactor?: Redactor;
  /** Called after the hooks of the repository, for every attempt. */
  hooks?: HookCallbacks;
  onResult?: (result: AttemptResult) => void;
  /** Told when a provider does not take our credentials; its tasks wait. */
  onRefused?: (provider: string, reason: string) => void;
  onUsedUp?: JobContext['onUsedUp'];
  /** Told why no more cells are begun for now, and with null that they are again. */
  onHeld?: (why: string | null) => void;
  /** Milliseconds after which a task that waits for others looks again by itself; left out: 30 s. */
  lookAgainMs?: number;
  /** What makes the cells, given the worker's ports and its registry; left out: real ones, by `SpawnerPool`. */
  spawners?: (ports: PortLeases, registry: Registration) => Pick<SpawnerPool, 'of' | 'opened'>;
}

/** What jobs need of them as they are. */
export function toldOf({ settings, log, tracing, hooks = {}, onResult, onRefused, onUsedUp }: PoolOptions) {
  return {
    ...{ hooks, tracing, log, host: settings.host, retention: settings.retention },
    onResult: (result: AttemptResult) => onResult?.(result),
    onRefused: (provider: string, reason: string) => onRefused?.(provider, reason),
    onUsedUp: (reason: string) => onUsedUp?.(reason),
  };
}
