/** A worker that keeps cells ready, with real servers: who gets them, what others see of them, and what is left. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from 'vitest';
import { readPool } from '../../src/board/view/pool-facts.ts';
import { script } from '../../src/cli/demo/script.ts';
import { SCRIPTED_MODEL, type ScriptedModel, startScriptedModel } from '../../src/cli/demo/scripted-model.ts';
import { poolInWords } from '../../src/cli/pool-words.ts';
import { loadSettings } from '../../src/config.ts';
import { openQueue } from '../../src/job/queue.ts';
import { PortLeases } from '../../src/redis/port-lease.ts';
import { CellRegistry } from '../../src/redis/registry.ts';
import { WorkerPool } from '../../src/worker/worker.ts';
import { portRangeOfThisFile } from '../support/cell.ts';
import { addJob, jobOf } from '../support/jobs.ts';
import { type TestRedis, testRedis } from '../support/redis.ts';
import { git, makeRepository, tempFolder } from '../support/repository.ts';
import { viewContext } from '../support/view.ts';

// Real servers share few cores with other tests: a boot of 3 s may take 30.
vi.setConfig({ testTimeout: 300_000, hookTimeout: 60_000 });
const BOUND = { timeout: 120_000, interval: 50 };

let server: TestRedis;
let model: ScriptedModel;
beforeAll(async () => {
  [server, model] = await Promise.all([testRedis(), startScriptedModel()]);
});
afterAll(async () => {
  await model?.close();
  await server?.close();
});

test('a task gets the cell that was made for it while it stood in line, and neither those nor spare workspaces are left when the worker stops', async () => {
  const folder = tempFolder('warm-pool');
  const [redis, prefix] = [await server.connect('worker'), server.prefix()];
  const queue = openQueue(redis, prefix);
  onTestFinished(() => queue.close());
  const repository = makeRepository(join(folder, 'repository'));
  const task = (id: string) => {
    const job = jobOf(id, { model: SCRIPTED_MODEL, prompt: script([{ write: { [`${id}.txt`]: 'x\n' } }]) }, repository);
    return { ...job, plan: { ...job.plan, opencode: model.opencodeConfig() } };
  };
  const env = { CELLPOOL_HOME: join(folder, 'home'), CELLPOOL_HOST: 'here', CELLPOOL_ISOLATION: 'process' };
  const own = { prefix, concurrency: 1, warm: 1, reserve: { memoryMb: 0, diskMb: 0 }, ports: portRangeOfThisFile() };
  const settings = { ...loadSettings({ env }), ...own };
  const lines: Record<string, unknown>[] = [];
  const log = pino({}, { write: (line: string) => void lines.push(JSON.parse(line)) });
  const pool = await WorkerPool.start({ settings, redis: await server.connect('worker'), log });
  onTestFinished(() => pool.stop());
  const view = { ...viewContext(redis, prefix), host: 'here', home: settings.home };
  const completed = (id: string) => vi.waitUntil(async () => (await queue.getJobState(id)) === 'completed', BOUND);
  const cellOf = (id: string) => /^ *Cell: (.*)$/m.exec(git(repository, 'log', '-1', `cellpool/${id}`))?.[1];

  // The first one cannot be foreseen; the worker remembers what it was like.
  await addJob(queue, task('first'));
  await completed('first');
  const made = await vi.waitUntil(() => lines.find(({ msg }) => msg === 'cell made ahead'), BOUND);
  const spares = join(settings.home, 'spares');
  await vi.waitUntil(() => existsSync(spares) && readdirSync(spares).length > 0, BOUND);
  const spent = model.requests;
  const { cells } = await readPool(view, { hours: 0, latest: 0 });
  const facts = { taskId: null, attempt: 0, stage: 'warm', host: 'here', model: null, tokensUsed: 0 };
  expect(cells).toMatchObject([{ ...facts, cellId: made.cell }]);
  expect(poolInWords(await readPool(view, { hours: 0, latest: 0 }))).toMatch(/here +warm\.[0-9a-f]{8} +warm +- /);

  await addJob(queue, task('second'));
  await completed('second');
  expect(cellOf('first')).toMatch(/^first\./);
  expect(cellOf('second')).toBe(made.cell);
  expect(model.requests).toBeGreaterThan(spent);
  // The next one is on its way already, or about to be.
  await vi.waitUntil(async () => (await new CellRegistry(redis, view).list()).length === 1, BOUND);
  await pool.stop();
  expect(await new CellRegistry(redis, view).list()).toEqual([]);
  expect(await new PortLeases(redis, { prefix, host: 'here', range: settings.ports }).held()).toEqual([]);
  for (const name of ['cells', 'spares', 'discarded']) expect(readdirSync(join(settings.home, name))).toEqual([]);
});
