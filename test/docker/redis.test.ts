/** Redis from its public image, and a producer and a worker on this host that meet there. */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { Redis } from 'ioredis';
import { GenericContainer, type StartedTestContainer, Wait } from 'testcontainers';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { script } from '../../src/cli/demo/script.ts';
import { type ScriptedModel, startScriptedModel } from '../../src/cli/demo/scripted-model.ts';
import { branchOf } from '../../src/job/names.ts';
import { describeDocker, projectRoot } from './engine.ts';

const REDIS_PORT = 6379;
const MINUTE = 60_000;
const main = join(projectRoot, 'dist', 'cli', 'main.js');

describeDocker('a Redis container', () => {
  let container: StartedTestContainer;
  let model: ScriptedModel;
  let worker: ReturnType<typeof startWorker> | undefined;
  let folder: string;
  let env: Record<string, string>;

  const cellpool = (...args: string[]) => execa(process.execPath, [main, ...args], { env, reject: false });

  const startWorker = () =>
    execa(process.execPath, [main, 'worker', '--concurrency', '1'], { env, reject: false, all: true });

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'docker-'));
    container = await new GenericContainer('redis:7-alpine')
      .withCommand(['redis-server', '--appendonly', 'yes', '--maxmemory-policy', 'noeviction'])
      .withExposedPorts(REDIS_PORT)
      .withWaitStrategy(Wait.forLogMessage('Ready to accept connections'))
      .start();
    model = await startScriptedModel();
    env = {
      REDIS_URL: `redis://${container.getHost()}:${container.getMappedPort(REDIS_PORT)}`,
      CELLPOOL_HOME: join(folder, 'state'),
    };
  });

  afterAll(async () => {
    worker?.kill('SIGKILL');
    await worker;
    await model?.close();
    await container?.stop({ remove: true, removeVolumes: true });
    rmSync(folder, { recursive: true, force: true });
    // Testcontainers leaves its lock file in the temp folder.
    for (const name of readdirSync(tmpdir())) {
      if (/^testcontainers-.*\.lock$/.test(name)) rmSync(join(tmpdir(), name), { recursive: true });
    }
  });

  test('a task enqueued by one process is committed by another', async () => {
    const repository = join(folder, 'repository');
    const git = async (...args: string[]) => (await execa('git', ['-C', repository, ...args])).stdout;
    await execa('git', ['init', '--quiet', '--initial-branch=main', repository]);
    writeFileSync(join(repository, 'README.md'), 'A sample.\n');
    await git('add', '--all');
    await git('-c', 'user.name=Test', '-c', 'user.email=test@localhost', 'commit', '--quiet', '--message=Begin');

    const tasks = join(folder, 'tasks.jsonl');
    const prompt = `Greet.\n\n${script([{ write: { 'greeting.txt': 'hello\n' } }])}`;
    writeFileSync(tasks, JSON.stringify({ id: 'greet', prompt }));
    const config = join(folder, 'opencode.json');
    writeFileSync(config, JSON.stringify(model.opencodeConfig()));
    const aboutTasks = ['--repo', repository, '--model', 'scripted/model', '--test', 'test -s greeting.txt'];
    const args = [tasks, ...aboutTasks, '--opencode-config', config];

    const working = startWorker();
    worker = working;
    const enqueued = await cellpool('enqueue', ...args);
    expect(enqueued).toMatchObject({ exitCode: 0 });

    const end = Date.now() + 2 * MINUTE;
    while ((await git('branch', '--list', branchOf('greet'))) === '') {
      if (working.exitCode !== null) throw new Error(`the worker ended: ${(await working).all}`);
      if (Date.now() > end) throw new Error('the worker did not commit in time');
      await new Promise(done => setTimeout(done, 250));
    }
    expect(await git('show', `${branchOf('greet')}:greeting.txt`)).toBe('hello');

    // Known and ended well: told again, not done again.
    const asked = model.requests;
    const told = await cellpool('run', ...args, '--json');
    expect(told.stderr).not.toContain('Error');
    expect(told.exitCode).toBe(0);
    expect(told.stdout.split('\n').map(line => JSON.parse(line))).toMatchObject([
      { taskId: 'greet', outcome: 'committed', attempt: 1, branch: branchOf('greet'), tests: { passed: true } },
    ]);
    expect(model.requests).toBe(asked);

    working.kill('SIGTERM');
    const ended = await working;
    expect([0, 130, 143], ended.all).toContain(ended.exitCode);

    const redis = new Redis(env.REDIS_URL ?? '');
    const leased = await redis.keys('*:leased');
    for (const key of leased) expect(await redis.zcard(key), key).toBe(0);
    redis.disconnect();
  });
});
