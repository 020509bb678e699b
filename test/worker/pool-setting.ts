/** Workers that take tasks and cannot spawn a cell, for tests of who takes which task and when. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadSettings, type Settings } from '../../src/config.ts';
import { silentLogger } from '../../src/observe/logger.ts';
import type { PoolOptions } from '../../src/worker/pool-options.ts';
import { WorkerPool } from '../../src/worker/worker.ts';
import type { TestRedis } from '../support/redis.ts';

export interface PoolSetting extends Omit<PoolOptions, 'settings' | 'redis' | 'log'> {
  prefix: string;
  /** Holds the state folder. */
  folder: string;
  host?: string;
  settings?: Partial<Settings>;
}

/** To be stopped by the caller. */
export async function startPoolWithoutCells(server: TestRedis, setting: PoolSetting): Promise<WorkerPool> {
  const { prefix, folder, host = 'test', settings = {}, ...others } = setting;
  // Passes for opencode until it is to serve.
  const opencodeBin = join(folder, 'opencode');
  writeFileSync(opencodeBin, '#!/bin/sh\n[ "$1" = --version ] && echo 1.0.0 && exit 0\nexit 7\n', { mode: 0o755 });
  const defaults = loadSettings({
    env: { CELLPOOL_HOME: join(folder, host), CELLPOOL_HOST: host, CELLPOOL_ISOLATION: 'process' },
  });
  const own = { prefix, concurrency: 2, opencodeBin, reserve: { memoryMb: 0, diskMb: 0 } };
  const redis = await server.connect('worker');
  return await WorkerPool.start({
    ...others,
    settings: { ...defaults, ...own, ...settings },
    redis,
    log: silentLogger,
  });
}
