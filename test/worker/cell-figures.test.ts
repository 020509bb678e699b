/** What a worker writes down of a cell that runs and of its host, and what is left of that when the cell is gone. */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { loadSettings } from '../../src/config.ts';
import { openQueue } from '../../src/job/queue.ts';
import { silentLogger } from '../../src/observe/logger.ts';
import { CellMemory } from '../../src/redis/cell-memory.ts';
import { DiskUses } from '../../src/redis/disk-use.ts';
import { cellKeys } from '../../src/redis/keys.ts';
import { Tally } from '../../src/redis/tally.ts';
import { WorkerPool } from '../../src/worker/worker.ts';
import { hasProc } from '../os/support.ts';
import { portRangeOfThisFile } from '../support/cell.ts';
import { HangingOpencode } from '../support/hanging-opencode.ts';
import { addJob, jobOf, untilState } from '../support/jobs.ts';
import { type TestRedis, testRedis } from '../support/redis.ts';
import { makeRepository, tempFolder } from '../support/repository.ts';

let server: TestRedis;
beforeAll(async () => {
  server = await testRedis();
});
afterAll(() => server.close());

const BOUND = { timeout: 60_000, interval: 50 };

describe.skipIf(!hasProc)('a worker', () => {
  test('writes down memory and disk while a cell runs, and counts its attempt when it is gone', async () => {
    const folder = tempFolder('figures');
    const opencode = new HangingOpencode(folder);
    const [redis, prefix] = [await server.connect('worker'), server.prefix()];
    const queue = openQueue(redis, prefix);
    onTestFinished(() => queue.close());
    const repository = makeRepository(join(folder, 'repository'));
    await addJob(queue, jobOf('a', { attempts: 1 }, repository));
    const env = { CELLPOOL_HOME: join(folder, 'home'), CELLPOOL_HOST: 'here', CELLPOOL_ISOLATION: 'process' };
    const settings = { ...loadSettings({ env }), prefix, concurrency: 1, ports: portRangeOfThisFile() };
    const pool = await WorkerPool.start({
      settings: { ...settings, opencodeBin: opencode.path },
      redis: await server.connect('worker'),
      log: silentLogger,
    });
    onTestFinished(() => pool.stop());
    await opencode.begun(1);
    const memory = new CellMemory(redis, { prefix });
    const seen = await vi.waitUntil(
      async () => [...(await memory.read(['here']))].find(([, bytes]) => bytes > 0),
      BOUND,
    );
    expect(seen[0]).toMatch(/^a\.[0-9a-f]{8}$/);
    // A shell and its sleep.
    expect(seen[1]).toBeLessThan(200 * 1024 * 1024);
    const disk = new DiskUses(redis, { prefix });
    const use = await vi.waitUntil(async () => (await disk.list()).get('here'), BOUND);
    expect(use.mirrorsBytes).toBeGreaterThan(0);
    expect(use.cellsBytes).toBeGreaterThan(0);

    opencode.open();
    await untilState(queue, 'a', 'failed');
    await vi.waitUntil(async () => (await redis.exists(cellKeys(prefix, 'here').memory)) === 0, BOUND);
    const { outcomes, durations } = await new Tally(redis, { prefix }).totals();
    expect(outcomes.failed).toBe(1);
    expect(durations.spawn.counts.reduce((sum, count) => sum + count, 0)).toBe(1);
  });
});
