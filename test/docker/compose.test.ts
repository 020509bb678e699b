/** docker-compose.yml for real: its Redis keeps what it was given, and its worker works. */
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import getPort from 'get-port';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { makeSampleRepository } from '../../src/cli/demo/sample-repository.ts';
import { script } from '../../src/cli/demo/script.ts';
import { SCRIPTED_MODEL } from '../../src/cli/demo/scripted-model.ts';
import { branchOf } from '../../src/job/names.ts';
import { progressSchema } from '../../src/job/outcome.ts';
import { openQueue, type TaskQueue } from '../../src/job/queue.ts';
import { readJob } from '../../src/job/stored-job.ts';
import { type ComposeProject, composeProject, describeCompose, docker } from './engine.ts';

const MINUTE = 60_000;
const PASSWORD = 'of-the-test_1';
const BOARD_AUTH = 'operator:of-the-board_1';
const MODEL_PORT = 9_999;
const IDS = Array.from({ length: 6 }, (_, at) => `scaled-${at + 1}`);

/** The worker never runs as root, not even where these tests do. */
const workerUid = process.getuid?.() || 1000;

describeCompose('docker-compose.yml', () => {
  let project: ComposeProject;
  let folder: string;
  let redisPort: number;
  let boardPort: number;
  let ownBase: string | null = null;
  const connect = () =>
    new Redis(redisPort, '127.0.0.1', { password: PASSWORD, retryStrategy: () => 200, maxRetriesPerRequest: null });

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'compose-'));
    redisPort = await getPort();
    boardPort = await getPort();
    ownBase = await makeBaseWithOurCertificates(folder);
    project = composeProject({
      CELLPOOL_REDIS_PORT: String(redisPort),
      CELLPOOL_REDIS_PASSWORD: PASSWORD,
      CELLPOOL_BOARD_PORT: String(boardPort),
      CELLPOOL_BOARD_AUTH: BOARD_AUTH,
      CELLPOOL_CONCURRENCY: '1',
      CELLPOOL_REPOSITORIES: folder,
      CELLPOOL_BUILD_NETWORK: 'host',
      CELLPOOL_UID: String(workerUid),
      ...(ownBase === null ? {} : { CELLPOOL_NODE_IMAGE: ownBase }),
    });
  });

  afterAll(async () => {
    await project.remove();
    expect(await project.leftovers()).toEqual([]);
    if (ownBase !== null) await docker('image', 'rm', '--force', ownBase);
    rmSync(folder, { recursive: true, force: true });
  });

  test('is valid, and shows Redis to this machine alone', async () => {
    const { stdout } = await project.run(['config']);
    expect(stdout).toContain('redis:7-alpine');
    expect(stdout).toMatch(/127\.0\.0\.1/);
    expect(stdout).toMatch(/init: true/);
  });

  describe('redis', () => {
    test('keeps an append-only file and evicts nothing', async () => {
      await project.run(['up', '--detach', 'redis']);
      const redis = connect();
      expect(await redis.config('GET', 'appendonly')).toEqual(['appendonly', 'yes']);
      expect(await redis.config('GET', 'appendfsync')).toEqual(['appendfsync', 'everysec']);
      expect(await redis.config('GET', 'maxmemory-policy')).toEqual(['maxmemory-policy', 'noeviction']);
      redis.disconnect();
    });

    test('answers nobody without the password, which is no argument of its process', async () => {
      const id = (await project.run(['ps', '--quiet', 'redis'])).stdout.trim();
      expect(await docker('exec', id, 'redis-cli', 'keys', '*')).toMatch(/^NOAUTH/);
      expect(await docker('top', id, '-o', 'pid,args')).not.toContain(PASSWORD);
    });

    test('becomes healthy', async () => {
      const id = (await project.run(['ps', '--quiet', 'redis'])).stdout.trim();
      await expect
        .poll(() => docker('inspect', '--format', '{{.State.Health.Status}}', id), { timeout: MINUTE, interval: 500 })
        .toBe('healthy');
    });

    test('still has its data after a restart', async () => {
      const before = connect();
      await before.set('kept', 'yes');
      const run = await runId(before);
      before.disconnect();

      await project.run(['restart', 'redis']);
      const after = connect();
      expect(await runId(after)).not.toBe(run);
      expect(await after.get('kept')).toBe('yes');
      after.disconnect();
    });

    test('still has its data in a new container', async () => {
      await project.run(['rm', '--stop', '--force', 'redis']);
      await project.run(['up', '--detach', 'redis']);
      const redis = connect();
      expect(await redis.get('kept')).toBe('yes');
      redis.disconnect();
    });
  });

  describe('worker', () => {
    test('its image builds', async () => {
      await project.run(['build', '--force-rm', 'worker']);
    });

    test('it has the command', async () => {
      const { stdout } = await project.run(['run', '--rm', '-T', 'worker', '--version']);
      expect(stdout.trim()).toMatch(/^\d+\.\d+\.\d+/);
    });

    test('its doctor is content', async () => {
      await project.run(['run', '--rm', '-T', 'worker', 'doctor']);
    });

    test('it works through a task with the Redis of the file, in a repository of this machine', async () => {
      const repository = join(folder, 'repository');
      await makeSampleRepository(repository);
      copyFileSync(new URL('./fixtures/run-scripted.mjs', import.meta.url), join(folder, 'run-scripted.mjs'));
      const prompt = `Greet.\n\n${script([{ write: { 'greeting.txt': 'hello\n' } }])}`;
      writeFileSync(join(folder, 'tasks.jsonl'), JSON.stringify({ id: 'greet', prompt, test: 'test -s greeting.txt' }));
      await execa('chown', ['-R', String(workerUid), folder]);

      const node = ['run', '--rm', '-T', '--workdir', folder, '--entrypoint', 'node', 'worker'];
      const { stdout } = await project.run([...node, 'run-scripted.mjs', 'tasks.jsonl', repository]);
      expect(JSON.parse(stdout)).toMatchObject({ taskId: 'greet', outcome: 'committed', tests: { passed: true } });

      const git = ['-c', `safe.directory=${repository}`, '-C', repository];
      const { stdout: greeting } = await execa('git', [...git, 'show', `${branchOf('greet')}:greeting.txt`]);
      expect(greeting).toBe('hello');
      const redis = new Redis(redisPort, '127.0.0.1', { password: PASSWORD });
      expect(await redis.keys('*greet*')).not.toEqual([]);
      redis.disconnect();
    });

    test('scaled to three, of which one is killed at work, all of them do every task once', async () => {
      const repository = join(folder, 'scaled');
      await makeSampleRepository(repository);
      copyFileSync(new URL('./fixtures/serve-model.mjs', import.meta.url), join(folder, 'serve-model.mjs'));
      await execa('chown', ['-R', String(workerUid), folder]);
      const model = `${project.name}-model`;
      const serve = ['--entrypoint', 'node', '--workdir', folder, 'worker', 'serve-model.mjs', String(MODEL_PORT)];
      await project.run(['run', '--detach', '--name', model, ...serve]);
      const redis = connect();
      const queue = openQueue(redis, 'cellpool');
      try {
        const config = await vi.waitFor(async () => JSON.parse(await docker('logs', model)), { timeout: MINUTE });
        const reachable = JSON.stringify(config).replace(/127\.0\.0\.1:\d+/g, `${model}:${MODEL_PORT}`);
        writeFileSync(join(folder, 'opencode.json'), reachable);
        const prompt = (id: string) => `Go.\n\n${script([{ think: 4_000 }, { write: { [`${id}.txt`]: 'x\n' } }])}`;
        const tasks = IDS.map(id =>
          JSON.stringify({
            id,
            prompt: prompt(id),
            test: `test -s ${id}.txt`,
            model: SCRIPTED_MODEL,
            stallMs: 15 * MINUTE,
          }),
        );
        writeFileSync(join(folder, 'scaled.jsonl'), tasks.join('\n'));
        const enqueue = ['enqueue', join(folder, 'scaled.jsonl'), '--repo', repository];
        await project.run([
          'run',
          '--rm',
          '-T',
          'worker',
          ...enqueue,
          '--opencode-config',
          join(folder, 'opencode.json'),
        ]);

        // Nobody's session ends while the others are waited for.
        await docker('pause', model);
        await project.run(['up', '--detach', '--no-recreate', '--scale', 'worker=2', 'worker']);
        const hosts = async () => new Set((await runningJobs(queue)).map(({ host }) => host));
        await vi.waitUntil(async () => (await hosts()).size === 2, { timeout: 3 * MINUTE, interval: 500 });
        await project.run(['up', '--detach', '--no-recreate', '--scale', 'worker=3', 'worker']);
        await vi.waitUntil(async () => (await hosts()).size === 3, { timeout: 3 * MINUTE, interval: 500 });
        // The name of a container's host is the beginning of its id.
        const [victim] = await runningJobs(queue);
        await docker('kill', victim?.host ?? '');
        await docker('unpause', model);

        await vi.waitUntil(async () => (await queue.getCompletedCount()) >= IDS.length + 1, {
          timeout: 6 * MINUTE,
          interval: 1_000,
        });
        const jobs = await Promise.all(IDS.map(id => readJob(queue, id)));
        expect(jobs.map(job => job?.result?.outcome)).toEqual(IDS.map(() => 'committed'));
        const killed = jobs.find(job => job?.id === victim?.id);
        expect(killed?.result?.host).toEqual(expect.any(String));
        expect(killed?.result?.host).not.toBe(victim?.host);
        await expect
          .poll(() => docker('inspect', '--format', '{{.State.Health.Status}}', killed?.result?.host ?? ''), {
            timeout: 3 * MINUTE,
            interval: 1_000,
          })
          .toBe('healthy');
        const programs = ['sh', '-c', 'ls -d /app/node_modules/opencode-linux-*'];
        // Only one of those that npm brings for this kind of processor.
        expect((await docker('exec', killed?.result?.host ?? '', ...programs)).trim().split('\n')).toHaveLength(1);
        expect(await docker('exec', killed?.result?.host ?? '', 'id', '-u')).toBe(String(workerUid));
        const git = ['-c', `safe.directory=${repository}`, '-C', repository];
        for (const id of IDS) {
          const { stdout } = await execa('git', [...git, 'rev-list', '--count', `main..${branchOf(id)}`]);
          expect(stdout).toBe('1');
        }
      } finally {
        await queue.close();
        redis.disconnect();
        // Of use when the test has failed; refused when it is not paused.
        await docker('unpause', model).catch(() => undefined);
        await docker('rm', '--force', model);
      }
    });
  });

  describe('board', () => {
    test('becomes healthy, and tells of the pool to whoever knows its password', async () => {
      await project.run(['up', '--detach', '--no-recreate', 'board']);
      const id = (await project.run(['ps', '--quiet', 'board'])).stdout.trim();
      await expect
        .poll(() => docker('inspect', '--format', '{{.State.Health.Status}}', id), { timeout: MINUTE, interval: 500 })
        .toBe('healthy');
      const at = (path: string) => `http://127.0.0.1:${boardPort}${path}`;
      expect((await fetch(at('/'))).status).toBe(401);
      const authorization = `Basic ${Buffer.from(BOARD_AUTH).toString('base64')}`;
      const page = await fetch(at('/'), { headers: { authorization } });
      expect([page.status, await page.text()]).toEqual([200, expect.stringContaining('greet')]);
    });
  });
});

async function runningJobs(queue: TaskQueue): Promise<{ id: string; host: string }[]> {
  const jobs = await queue.getActive();
  return jobs.flatMap(({ id = '', progress }) => {
    const { data } = progressSchema.safeParse(progress);
    return data?.stage === 'execute' ? [{ id, host: data.host }] : [];
  });
}

async function runId(redis: Redis): Promise<string | undefined> {
  return /run_id:(\w+)/.exec(await redis.info('server'))?.[1];
}

/**
 * Where this machine reaches the registry through a proxy with a certificate of its own (`NODE_EXTRA_CA_CERTS`), the
 * build has to trust it too: by a base image, which is what `NODE_IMAGE` is for.
 */
async function makeBaseWithOurCertificates(folder: string): Promise<string | null> {
  const certificates = process.env.NODE_EXTRA_CA_CERTS;
  if (certificates === undefined || certificates === '') return null;
  const tag = `cellpool-test-base:${process.pid}`;
  const context = mkdtempSync(join(folder, 'base-'));
  copyFileSync(certificates, join(context, 'certificates.pem'));
  const lines = [
    'FROM node:22-bookworm-slim',
    'COPY certificates.pem /etc/',
    'ENV NODE_EXTRA_CA_CERTS=/etc/certificates.pem',
  ];
  writeFileSync(join(context, 'Dockerfile'), `${lines.join('\n')}\n`);
  await docker('build', '--quiet', '--tag', tag, context);
  return tag;
}
