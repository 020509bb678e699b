/** Lines of the log of many workers are read together: each must say whose it is, and what it is about. */
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { loadSettings } from '../../src/config.ts';
import { openQueue } from '../../src/job/queue.ts';
import { WorkerPool } from '../../src/worker/worker.ts';
import { portRangeOfThisFile } from '../support/cell.ts';
import { addJob, jobOf, untilState } from '../support/jobs.ts';
import { type TestRedis, testRedis } from '../support/redis.ts';
import { makeRepository, tempFolder } from '../support/repository.ts';

let server: TestRedis;
beforeAll(async () => {
  server = await testRedis();
});
afterAll(() => server.close());

interface Line {
  msg: string;
  host?: string;
  worker?: string;
  task?: string;
  attempt?: number;
  cell?: string;
}

test('each line names host and worker, and task, attempt and cell where it is about one', async () => {
  const folder = tempFolder('lines');
  const opencodeBin = join(folder, 'opencode');
  writeFileSync(opencodeBin, '#!/bin/sh\n[ "$1" = --version ] && echo 1.0.0 && exit 0\nexit 7\n');
  chmodSync(opencodeBin, 0o755);
  const prefix = server.prefix();
  const queue = openQueue(await server.connect('producer'), prefix);
  onTestFinished(() => queue.close());
  const repository = makeRepository(join(folder, 'repository'));
  const lines: Line[] = [];
  const log = pino({ level: 'debug' }, { write: (line: string) => void lines.push(JSON.parse(line)) });
  // A server that does not start, and a hook that fails: both are told with the cell.
  const data = jobOf('a', { attempts: 1 }, repository);
  await addJob(queue, { ...data, plan: { ...data.plan, hooks: { onFailure: 'exit 5' } } });
  await addJob(queue, jobOf('b', {}, join(folder, 'nowhere')));
  const env = { CELLPOOL_HOME: join(folder, 'home'), CELLPOOL_HOST: 'build-7', CELLPOOL_ISOLATION: 'process' };
  const settings = { ...loadSettings({ env }), prefix, opencodeBin, concurrency: 2, ports: portRangeOfThisFile() };
  const pool = await WorkerPool.start({ settings, redis: await server.connect('worker'), log });
  onTestFinished(() => pool.stop());
  await Promise.all([untilState(queue, 'a', 'failed'), untilState(queue, 'b', 'delayed')]);

  expect(lines.filter(({ host }) => host !== 'build-7')).toEqual([]);
  const [started] = lines.filter(({ msg }) => msg === 'worker started');
  expect(started?.worker).toMatch(/^build-7\.[0-9a-f]{8}$/);
  expect(lines.filter(({ worker }) => worker !== started?.worker)).toEqual([]);
  const [hook] = lines.filter(({ msg }) => msg === 'hook failed');
  expect(hook).toMatchObject({ task: 'a', attempt: 1, cell: expect.stringMatching(/^a\.[0-9a-f]{8}$/) });
  const [lacking] = lines.filter(({ msg }) => msg.includes('lacks what the task needs'));
  expect(lacking).toMatchObject({ task: 'b', attempt: 1 });
  expect(lacking).not.toHaveProperty('cell');
});
