/** Two hosts with addresses of their own, and one Redis: they share a backlog, also when one of them is cut off. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { type ScriptedModel, startScriptedModel } from '../../src/cli/demo/scripted-model.ts';
import { branchOf } from '../../src/job/names.ts';
import { progressSchema } from '../../src/job/outcome.ts';
import { openQueue, type TaskQueue } from '../../src/job/queue.ts';
import { hasEnded, readJobs } from '../../src/job/stored-job.ts';
import { connectRedis } from '../../src/redis/connection.ts';
import { Servers } from '../redis/servers.ts';
import { CliHome, scripted } from '../support/cli.ts';
import { git } from '../support/repository.ts';

interface Hosts {
  add(name: string): string[];
  cut(name: string): void;
  mend(name: string): void;
  forward(port: number): Promise<number>;
  remove(): void;
}
const { NetworkHosts, whyNoHosts } = (await import(new URL('../../bench/lib/hosts.mjs', import.meta.url).href)) as {
  NetworkHosts: { new (): Hosts; middle: string };
  whyNoHosts(): string | null;
};

const MINUTE = 60_000;
/** Longer than a job's lock lives. */
const CUT_MS = 20_000;
const IDS = Array.from({ length: 12 }, (_, at) => `task-${at + 1}`);

const reason = whyNoHosts();
if (reason !== null) process.stdout.write(`skipped: two hosts: ${reason}\n`);

describe.skipIf(reason !== null)('two hosts and one Redis', () => {
  const cli = new CliHome();
  const servers = new Servers();
  let hosts: Hosts;
  let model: ScriptedModel;
  let repository: string;
  let url: string;
  let queue: TaskQueue;
  let close: () => void;
  const workers: ReturnType<typeof startWorker>[] = [];

  function startWorker(name: string) {
    const [file = '', ...before] = hosts.add(name);
    const argv = [...before, process.execPath, 'dist/cli/main.js', 'worker', '--concurrency', '2', '--json'];
    const { PATH, HOME, TMPDIR, XDG_CACHE_HOME, CELLPOOL_TEST_ROOT, CELLPOOL_TEST_RUN, CELLPOOL_TEST_FILE } =
      process.env;
    const own = {
      CELLPOOL_HOME: join(cli.folder, name),
      CELLPOOL_HOST: name,
      CELLPOOL_LOG_LEVEL: 'error',
      REDIS_URL: url,
      // A server that boots late on a busy machine says nothing of the hosts.
      CELLPOOL_BOOT_MS: String(5 * MINUTE),
    };
    const kept = { PATH, HOME, TMPDIR, XDG_CACHE_HOME, CELLPOOL_TEST_ROOT, CELLPOOL_TEST_RUN, CELLPOOL_TEST_FILE };
    return spawn(file, argv, { env: { ...kept, ...own }, stdio: ['ignore', 'ignore', 'inherit'] });
  }

  const running = async () => {
    const jobs = await queue.getActive();
    return jobs.flatMap(({ id = '', progress }) => {
      const { data } = progressSchema.safeParse(progress);
      return data?.stage === 'execute' ? [{ id, host: data.host }] : [];
    });
  };

  beforeAll(async () => {
    hosts = new NetworkHosts();
    const { port } = await servers.start(['requirepass of-the-test', `bind 127.0.0.1 ${NetworkHosts.middle}`], {
      client: { password: 'of-the-test' },
    });
    url = `redis://:of-the-test@${NetworkHosts.middle}:${port}`;
    model = await startScriptedModel();
    const modelPort = await hosts.forward(Number(new URL(model.baseURL).port));
    const config = JSON.stringify(model.opencodeConfig());
    const file = join(cli.folder, 'opencode.json');
    writeFileSync(file, config.replace(/127\.0\.0\.1:\d+/g, `${NetworkHosts.middle}:${modelPort}`));
    repository = cli.repository();
    const steps = (id: string) => [{ think: 6_000 }, { write: { [`${id}.txt`]: 'x\n' } }];
    const tasks = cli.tasksFile(
      'tasks.jsonl',
      IDS.map(id => scripted(id, steps(id), { test: `test -s ${id}.txt` })),
    );
    const redis = connectRedis({ url }, 'worker');
    queue = openQueue(redis, 'cellpool');
    close = () => redis.disconnect();
    const enqueued = await cli.run(
      ['enqueue', tasks, '--repo', repository, '--opencode-config', file, '--model', 'scripted/model'],
      {
        env: { REDIS_URL: url },
      },
    );
    expect(enqueued).toMatchObject({ exitCode: 0 });
    workers.push(startWorker('one'), startWorker('two'));
  });

  afterAll(async () => {
    for (const worker of workers) {
      if (worker.exitCode !== null || worker.signalCode !== null) continue;
      worker.kill('SIGTERM');
      await once(worker, 'exit');
    }
    await queue?.close();
    close?.();
    await model?.close();
    await servers.close();
    hosts?.remove();
    cli.remove();
  });

  test('a host that is cut off for longer than a lock lives loses its jobs to the other, and every task is done once', async () => {
    let atWork: Awaited<ReturnType<typeof running>> = [];
    const areBothAtWork = async () => {
      atWork = await running();
      return new Set(atWork.map(({ host }) => host)).size === 2;
    };
    await vi.waitUntil(areBothAtWork, { timeout: 2 * MINUTE, interval: 200 });
    const lost = atWork.filter(({ host }) => host === 'one').map(({ id }) => id);
    expect(lost).not.toEqual([]);
    const ended = (ids: readonly string[]) =>
      vi.waitUntil(async () => (await readJobs(queue, ids)).every(job => job !== null && hasEnded(job)), {
        timeout: 6 * MINUTE,
        interval: 500,
      });
    hosts.cut('one');
    await Promise.all([sleep(CUT_MS), ended(lost)]);
    hosts.mend('one');
    await ended(IDS);

    const jobs = await readJobs(queue, IDS);
    expect(jobs.map(job => job?.result?.outcome)).toEqual(IDS.map(() => 'committed'));
    expect(jobs.map(job => job?.data?.results.length)).toEqual(IDS.map(() => 1));
    const doneBy = new Map(jobs.map(job => [job?.id, job?.result?.host]));
    expect(lost.map(id => doneBy.get(id))).toEqual(lost.map(() => 'two'));
    expect(new Set(doneBy.values())).toEqual(new Set(['one', 'two']));
    for (const id of IDS) expect(git(repository, 'rev-list', '--count', `main..${branchOf(id)}`)).toBe('1');
  });

  test('afterwards neither host has a cell, a port or a process left', async () => {
    for (const worker of workers) worker.kill('SIGTERM');
    for (const worker of workers) if (worker.exitCode === null) await once(worker, 'exit');
    expect(workers.map(({ exitCode }) => exitCode)).toEqual([0, 0]);
    for (const name of ['one', 'two']) {
      const env = { REDIS_URL: url, CELLPOOL_HOME: join(cli.folder, name), CELLPOOL_HOST: name };
      const { exitCode, stdout } = await cli.run(['reap', '--dry-run', '--json'], { env });
      expect({ exitCode, stdout }).toEqual({ exitCode: 0, stdout: '' });
    }
  });
});
