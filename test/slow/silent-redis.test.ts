/** A Redis that is connected and says nothing: a worker that is told to stop comes to its end all the same. */
import { chmodSync, existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { loadSettings } from '../../src/config.ts';
import { jobOptions, openQueue, TASK_JOB } from '../../src/job/queue.ts';
import { parseTask } from '../../src/job/task.ts';
import { silentLogger } from '../../src/observe/logger.ts';
import { WorkerPool } from '../../src/worker/worker.ts';
import { testRedis } from '../support/redis.ts';
import { makeRepository, tempFolder } from '../support/repository.ts';

test('a cell that was being spawned is removed, and stop comes to its end', async () => {
  const folder = tempFolder('silent');
  const opencodeBin = join(folder, 'opencode');
  // A program that passes for opencode until it is to serve.
  writeFileSync(opencodeBin, '#!/bin/sh\n[ "$1" = --version ] && echo 1.0.0 && exit 0\nexec sleep 60\n');
  chmodSync(opencodeBin, 0o755);
  const server = await testRedis();
  const prefix = server.prefix();
  const queue = openQueue(await server.connect('producer'), prefix);
  const redis = await server.connect('worker');
  const pid = Number(/process_id:(\d+)/.exec(await redis.info('server'))?.[1]);
  const defaults = loadSettings({
    env: { CELLPOOL_HOME: join(folder, 'home'), CELLPOOL_HOST: 'test', CELLPOOL_ISOLATION: 'process' },
  });
  const settings = { ...defaults, prefix, concurrency: 1, ports: { from: 31_400, to: 31_499 }, opencodeBin };
  const pool = await WorkerPool.start({ settings, redis, log: silentLogger });
  const { task, faults } = parseTask({ id: 'a', prompt: 'do it' }, 'a');
  if (task === null) throw new Error(JSON.stringify(faults));
  const plan = { setupMs: 1_000, testMs: 1_000, author: { name: 'a', email: 'b@c' }, opencode: {} };
  const repository = makeRepository(join(folder, 'repository'));
  await queue.add(TASK_JOB, { version: 1, task, repository, plan, results: [] }, jobOptions(task));
  const cells = join(folder, 'home', 'cells');
  await vi.waitUntil(() => existsSync(cells) && readdirSync(cells).length === 1, { timeout: 20_000 });
  process.kill(pid, 'SIGSTOP');
  try {
    await pool.stop();
    expect(readdirSync(cells)).toEqual([]);
  } finally {
    process.kill(pid, 'SIGCONT');
    await queue.close();
    await server.close();
  }
});
