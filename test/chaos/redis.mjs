/** A Redis of the run's own, which can be killed and comes back with what its append-only file holds. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { checkRedis, connectRedis } from '../../dist/redis/connection.js';
import { findRedisBinary, serverEnvironment } from '../../dist/redis/redis-binary.js';

const START_MS = 30_000;

export async function startRedis(folder) {
  const binary = await findRedisBinary({ say: text => process.stderr.write(`${text}\n`) });
  const socket = join(folder, 'redis.sock');
  const data = join(folder, 'redis');
  mkdirSync(data, { recursive: true });
  const log = openSync(join(folder, 'logs', 'redis.log'), 'a');
  let child = null;
  let outage = Promise.resolve();
  let backAt = 0;

  const start = async () => {
    child = spawn(
      binary.file,
      [
        ...['--port', '0', '--unixsocket', socket, '--dir', data],
        ...['--appendonly', 'yes', '--appendfsync', 'everysec', '--save', '', '--maxmemory-policy', 'noeviction'],
      ],
      // A session of its own: Ctrl-C is for the run, which ends it in order.
      { cwd: data, env: serverEnvironment(binary), detached: true, stdio: ['ignore', log, log] },
    );
    const began = performance.now();
    for (;;) {
      const client = connectRedis({ path: socket }, 'producer', 'chaos:check');
      const answers = await checkRedis(client).then(
        () => true,
        () => false,
      );
      client.disconnect();
      if (answers) return;
      if (performance.now() - began > START_MS) throw new Error(`Redis does not start, see ${folder}/logs/redis.log`);
      await sleep(50);
    }
  };
  const kill = async () => {
    const ending = child;
    if (ending === null || ending.exitCode !== null || ending.signalCode !== null) return;
    ending.kill('SIGKILL');
    await once(ending, 'exit');
  };

  await start();
  return {
    url: `unix://${socket}`,
    address: { path: socket },
    get pid() {
      return child.pid;
    },
    /** SIGKILL, and a new one on the same files after `ms`. Outages come one after another. */
    breakFor(ms) {
      outage = outage.then(async () => {
        backAt = Number.POSITIVE_INFINITY;
        await kill();
        await sleep(ms);
        await start();
        backAt = Date.now();
      });
      return outage;
    },
    /** Whether it is away, or was within the last `ms`. */
    wasAway: ms => Date.now() - backAt < ms,
    /** Resolves when no outage is under way. */
    whole: () => outage,
    async close() {
      await outage.catch(() => undefined);
      await kill();
    },
  };
}
