/** docker-compose.yml for real: its Redis keeps what it was given, and its worker works. */
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import getPort from 'get-port';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { makeSampleRepository } from '../../src/cli/demo/sample-repository.ts';
import { script } from '../../src/cli/demo/script.ts';
import { branchOf } from '../../src/job/names.ts';
import { type ComposeProject, composeProject, describeCompose, docker } from './engine.ts';

const MINUTE = 60_000;

/** The worker never runs as root, not even where these tests do. */
const workerUid = process.getuid?.() || 1000;

describeCompose('docker-compose.yml', () => {
  let project: ComposeProject;
  let folder: string;
  let redisPort: number;
  let ownBase: string | null = null;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'compose-'));
    redisPort = await getPort();
    ownBase = await makeBaseWithOurCertificates(folder);
    project = composeProject({
      CELLPOOL_REDIS_PORT: String(redisPort),
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
    const connect = () => new Redis(redisPort, '127.0.0.1', { retryStrategy: () => 200, maxRetriesPerRequest: null });

    test('keeps an append-only file and evicts nothing', async () => {
      await project.run(['up', '--detach', 'redis']);
      const redis = connect();
      expect(await redis.config('GET', 'appendonly')).toEqual(['appendonly', 'yes']);
      expect(await redis.config('GET', 'appendfsync')).toEqual(['appendfsync', 'everysec']);
      expect(await redis.config('GET', 'maxmemory-policy')).toEqual(['maxmemory-policy', 'noeviction']);
      redis.disconnect();
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
      const redis = new Redis(redisPort, '127.0.0.1');
      expect(await redis.keys('*greet*')).not.toEqual([]);
      redis.disconnect();
    });
  });
});

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
