/** A worker on a machine that has no room for a cell: it takes no job, says why, and goes on when there is room. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { QueueEvents } from 'bullmq';
import { expect, onTestFinished, test, vi } from 'vitest';
import { loadSettings } from '../../src/config.ts';
import { TASK_QUEUE } from '../../src/job/names.ts';
import { openQueue } from '../../src/job/queue.ts';
import { silentLogger } from '../../src/observe/logger.ts';
import { WorkerPool } from '../../src/worker/worker.ts';
import { addJob, jobOf } from '../support/jobs.ts';
import { testRedis } from '../support/redis.ts';
import { makeRepository, tempFolder } from '../support/repository.ts';

/** More than any machine has. */
const HUGE_MB = 1_000_000_000;

test('a job stays on the queue while the reserve is not free, and is taken when it is', async () => {
  const server = await testRedis();
  onTestFinished(() => server.close());
  const prefix = server.prefix();
  const folder = tempFolder('held');
  const queue = openQueue(await server.connect('producer'), prefix);
  const events = new QueueEvents(TASK_QUEUE, { connection: await server.connect('worker'), prefix });
  await events.waitUntilReady();
  const story: string[] = [];
  events.on('active', () => story.push('taken'));
  const failed = new Promise<void>(resolve => events.once('failed', () => resolve()));

  // No test can give the machine its memory back; that the reserve shrinks under the same look has the same effect.
  let looks = 0;
  let memoryMb = HUGE_MB;
  const reserve = {
    diskMb: 0,
    get memoryMb() {
      looks += 1;
      return memoryMb;
    },
  };
  await addJob(queue, jobOf('a', { base: 'nowhere' }, makeRepository(join(folder, 'repository'))));
  const defaults = loadSettings({
    env: { CELLPOOL_HOME: join(folder, 'home'), CELLPOOL_HOST: 'test', CELLPOOL_ISOLATION: 'process' },
  });
  const pool = await WorkerPool.start({
    settings: { ...defaults, prefix, concurrency: 2, reserve },
    redis: await server.connect('worker'),
    log: silentLogger,
    onHeld: why => story.push(why ?? 'held no more'),
  });
  try {
    const before = looks;
    // A look asks for the reserve twice: at least one more of them has changed nothing.
    await vi.waitUntil(() => looks > before + 2, { timeout: 30_000 });
    expect(story).toEqual([expect.stringMatching(new RegExp(`^memory: \\d+ MiB free, ${HUGE_MB} MiB are kept free`))]);
    expect(await queue.getJobState('a')).toBe('waiting');
    expect(pool.running).toEqual([]);
    expect(existsSync(join(folder, 'home', 'cells'))).toBe(false);

    memoryMb = 0;
    await failed;
    expect(story.slice(1)).toEqual(['held no more', 'taken']);
  } finally {
    await pool.stop();
    await events.close();
    await queue.close();
  }
});
