/** The built worker with real cells beside a queue of its own: private Redis, scripted model, sample repository. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeSampleRepository } from '../../dist/cli/demo/sample-repository.js';
import { SCRIPTED_MODEL, startScriptedModel } from '../../dist/cli/demo/scripted-model.js';
import { openQueue } from '../../dist/job/queue.js';
import { checkRedis, connectRedis } from '../../dist/redis/connection.js';
import { openRedis } from '../../dist/redis/open-redis.js';
import { CLI } from './victims.mjs';

export const HOUR_MS = 3_600_000;

/** `configOf` may change what opencode is told of the model, as text. */
export async function openRealPool(name, configOf = config => config) {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), `cellpool-${name}-`)));
  const home = join(folder, 'state');
  const repository = join(folder, 'repository');
  const configFile = join(folder, 'opencode.json');
  const model = await startScriptedModel();
  const server = await openRedis({ home: join(folder, 'redis') });
  const redis = connectRedis(server.address, 'worker');
  await checkRedis(redis);
  const queue = openQueue(redis, name);
  await makeSampleRepository(repository);
  const env = {
    ...process.env,
    REDIS_URL: `unix://${server.address.path}`,
    CELLPOOL_PREFIX: name,
    CELLPOOL_HOME: home,
    CELLPOOL_HOST: 'bench',
    // All of them may start at once.
    CELLPOOL_BOOT_MS: String(HOUR_MS / 2),
    CELLPOOL_LOG_LEVEL: 'warn',
  };
  const start = argv => spawn(process.execPath, argv, { env, stdio: ['ignore', 'ignore', 'inherit'] });
  let worker = null;
  return {
    ...{ home, queue, redis, model },
    async enqueue(tasks) {
      const file = join(folder, 'tasks.jsonl');
      writeFileSync(file, tasks.map(task => JSON.stringify(task)).join('\n'));
      writeFileSync(configFile, configOf(JSON.stringify(model.opencodeConfig())));
      const flags = ['--repo', repository, '--opencode-config', configFile, '--model', SCRIPTED_MODEL];
      const [code] = await once(start([CLI, 'enqueue', file, ...flags]), 'exit');
      if (code !== 0) throw new Error('the tasks could not be enqueued');
    },
    work(flags, nodeFlags = []) {
      worker = start([...nodeFlags, CLI, 'worker', '--no-supervisor', ...flags]);
      return worker;
    },
    /** @throws when the worker ends, or a task fails */
    async demandWell() {
      if (worker.exitCode !== null) throw new Error(`the worker ended with ${worker.exitCode}`);
      if ((await queue.getFailedCount()) > 0) throw new Error('a task failed');
    },
    async close() {
      if (worker?.exitCode === null) {
        worker.kill('SIGTERM');
        await once(worker, 'exit');
      }
      await queue.close();
      redis.disconnect();
      await server.close();
      await model.close();
      rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
    },
  };
}
