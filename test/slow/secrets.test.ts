/**
 * A worker full of secrets, an agent that shows all it sees and a test command that prints what it finds: afterwards
 * no artifact, no value in Redis, no log line and no answer holds one. Everything is real but the model.
 */
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import getPort from 'get-port';
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { SCRIPTED_MODEL, type ScriptedModel, startScriptedModel } from '../../src/cli/demo/scripted-model.ts';
import type { AttemptResult } from '../../src/job/outcome.ts';
import { BoundedLog } from '../../src/os/bounded-log.ts';
import { type OwnedProcess, startProcess } from '../../src/os/process.ts';
import { checkRedis, connectRedis } from '../../src/redis/connection.ts';
import { findRedisBinary, serverEnvironment } from '../../src/redis/redis-binary.ts';
import { CliHome, type Finished, jsonLines, scripted } from '../support/cli.ts';
import { git } from '../support/repository.ts';

const random = () => randomBytes(18).toString('base64url');
const PROVIDER_KEY = `sk-${random()}`;
const DEPLOY_TOKEN = random();
const REDIS_PASSWORD = random();
const WORKER_ONLY = { BD_TOKEN: random(), GITHUB_TOKEN: random(), AWS_SECRET_ACCESS_KEY: random() };
const KNOWN = [PROVIDER_KEY, DEPLOY_TOKEN, REDIS_PASSWORD, ...Object.values(WORKER_ONLY)];

/** A form that nobody looks for: by it a test learns what an agent saw. */
const HEX = "od -An -v -tx1 | tr -d ' \\n'";
const fromHex = (hex: string) => Buffer.from(hex, 'hex').toString();

const cli = new CliHome();
let model: ScriptedModel;
let redisServer: OwnedProcess;
let redis: Redis;
let repository: string;
let done: Finished;
let results: Map<string, AttemptResult>;
/** With the passwords of the cells, once these have told them. */
const secrets = [...KNOWN];

beforeAll(async () => {
  model = await startScriptedModel();
  const port = await startRedis();
  repository = cli.repository({ 'deploy.env': `DEPLOY=${DEPLOY_TOKEN}\n`, 'a.txt': 'a\n' });
  const config = model.opencodeConfig() as { provider: { scripted: { options: { apiKey: string } } } };
  config.provider.scripted.options.apiKey = '{env:SCRIPTED_PROVIDER}';
  const tasks = [
    scripted(
      'shows-all',
      [
        { run: 'env; echo; env | base64 -w0; echo; cat deploy.env' },
        { run: 'printf "opencode:$OPENCODE_SERVER_PASSWORD" | base64' },
        { run: `env | ${HEX} > seen.hex` },
        { attempt: 2, write: { 'answer.txt': 'right\n' } },
      ],
      {
        test: 'cat deploy.env; cut -c1-20 deploy.env | tr -d "\\n"; cut -c21- deploy.env; env; grep -q right answer.txt',
      },
    ),
    scripted('leaks', [{ run: 'echo "key: $SCRIPTED_PROVIDER" | tee leak.txt' }], { test: 'true' }),
    scripted('named', [{ run: 'echo "$SCRIPTED_PROVIDER" | tee "$SCRIPTED_PROVIDER.txt"' }], {
      test: 'false',
      attempts: 1,
    }),
  ];
  const hooks = 'hooks: { onFailure: \'echo "$CELLPOOL_ERROR"; cat deploy.env; env\' }\n';
  writeFileSync(join(repository, 'cellpool.yaml'), hooks);
  done = await cli.run(
    [
      ...['run', cli.tasksFile('tasks.jsonl', tasks), '--repo', repository, '--json', '--log-level', 'debug'],
      ...['--opencode-config', cli.file('opencode.json', JSON.stringify(config)), '--model', SCRIPTED_MODEL],
    ],
    {
      env: {
        ...WORKER_ONLY,
        DEPLOY_TOKEN,
        // No name that tells: it is known because it is handed to the server.
        SCRIPTED_PROVIDER: PROVIDER_KEY,
        CELLPOOL_SERVER_ENV: 'SCRIPTED_PROVIDER',
        REDIS_URL: `redis://:${REDIS_PASSWORD}@127.0.0.1:${port}/0`,
      },
    },
  );
  results = new Map(jsonLines<AttemptResult>(done.stdout).map(result => [result.taskId, result]));
}, 300_000);

afterAll(async () => {
  redis?.disconnect();
  await redisServer?.stop(1_000);
  await model?.close();
  cli.remove();
});

async function startRedis(): Promise<number> {
  const port = await getPort({ host: '127.0.0.1' });
  const binary = await findRedisBinary();
  const argv = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--requirepass', REDIS_PASSWORD];
  const log = new BoundedLog(join(cli.folder, 'redis.log'));
  redisServer = await startProcess([binary.file, ...argv], { cwd: cli.folder, env: serverEnvironment(binary), log });
  await vi.waitUntil(() => log.tail().includes('Ready to accept connections'), { timeout: 20_000, interval: 20 });
  redis = connectRedis({ url: `redis://:${REDIS_PASSWORD}@127.0.0.1:${port}/0` }, 'worker');
  await checkRedis(redis);
  return port;
}

/** Every file an attempt left for people, by its path below the artifacts. */
function artifacts(): Map<string, string> {
  const folder = join(cli.home, 'artifacts');
  const names = readdirSync(folder, { recursive: true, withFileTypes: true }).filter(entry => entry.isFile());
  return new Map(
    names.map(entry => {
      const path = join(entry.parentPath, entry.name);
      return [path.slice(folder.length + 1), readFileSync(path, 'latin1')];
    }),
  );
}

/** Every key with its value, whatever its kind. */
async function allOfRedis(): Promise<string> {
  const parts: unknown[] = [];
  for (const key of await redis.keys('*')) {
    const type = await redis.type(key);
    if (type === 'string') parts.push(key, await redis.get(key));
    else if (type === 'hash') parts.push(key, await redis.hgetall(key));
    else if (type === 'list') parts.push(key, await redis.lrange(key, '0', '-1'));
    else if (type === 'set') parts.push(key, await redis.smembers(key));
    else if (type === 'zset') parts.push(key, await redis.zrange(key, '0', '-1'));
    else if (type === 'stream') parts.push(key, await redis.xrange(key, '-', '+'));
    else throw new Error(`${key} is a ${type}, which this test cannot read`);
  }
  return JSON.stringify(parts);
}

/** Those of the secrets that stand in the text, as they are or in base64, whatever stands before them there. */
function held(text: string): string[] {
  const inBase64 = (secret: string) =>
    ['', 'x', 'xx'].map(before => Buffer.from(`${before}${secret}`).toString('base64').slice(4, -4));
  return secrets.filter(secret => [secret, ...inBase64(secret)].some(form => text.includes(form)));
}

describe('an agent that shows all it sees', () => {
  test('has seen its key and its password, and none of the other secrets of the worker', () => {
    expect(results.get('shows-all'), done.stderr).toMatchObject({ outcome: 'committed', attempt: 2 });
    const seen = fromHex(git(repository, 'show', 'cellpool/shows-all:seen.hex'));
    const password = /^OPENCODE_SERVER_PASSWORD=(.*)$/m.exec(seen)?.[1] ?? '';
    expect(password.length).toBeGreaterThan(20);
    secrets.push(password);
    expect(seen).toContain(`SCRIPTED_PROVIDER=${PROVIDER_KEY}`);
    for (const secret of [DEPLOY_TOKEN, REDIS_PASSWORD, ...Object.values(WORKER_ONLY)])
      expect(seen).not.toContain(secret);
    expect(seen).not.toMatch(/^(REDIS_URL|BD_|GITHUB_|AWS_|CELLPOOL_(?!CELL=))/m);
  });

  test('leaves no artifact with a secret, and what stood there is masked', () => {
    const files = artifacts();
    const names = [...files.keys()].map(path => path.replace(/^([\w-]+)\/(\d).*\//, '$1/$2/'));
    const expected = ['transcript.json', 'test.log', 'server.log', 'result.json', 'changes.diff'];
    expect(names).toEqual(expect.arrayContaining(expected.map(name => `shows-all/1/${name}`)));
    for (const [path, text] of files) {
      // A patch stays as it is, or it would not apply: the result says so instead.
      if (/^(leaks|named)\/.*\/changes\.diff$/.test(path)) expect(held(text), path).toEqual([PROVIDER_KEY]);
      else expect(held(text), path).toEqual([]);
      if (/transcript\.json|^shows-all\/.*test\.log|hook-onFailure\.log/.test(path))
        expect(text, path).toContain('[redacted]');
    }
    expect([...files.keys()].filter(path => path.includes('hook-onFailure.log'))).toHaveLength(2);
    // The cells of the other attempts had passwords of their own.
    const told = [...files.values()].flatMap(text => [...text.matchAll(/OPENCODE_SERVER_PASSWORD=(.{10})/g)]);
    expect(new Set(told.map(([, value]) => value))).toEqual(new Set(['[redacted]']));
  });

  test('leaves none in Redis', async () => {
    const all = await allOfRedis();
    expect(all).toContain('DEPLOY=[redacted]');
    expect(held(all)).toEqual([]);
  });

  test('leaves none in what the command says and logs', () => {
    expect(done.stderr).toContain('"session ended"');
    expect(held(done.stdout + done.stderr)).toEqual([]);
  });

  test('has none in the prompt of its next attempt, beside what the tests printed', () => {
    const second = [...artifacts()].find(([path]) => /^shows-all\/2-.*transcript\.json$/.test(path))?.[1] ?? '';
    expect(second).toContain('What went wrong');
    expect(second).toContain('DEPLOY=[redacted]');
  });
});

describe('work that holds a secret', () => {
  test('is committed as it was tested, and its result says so', () => {
    expect(results.get('leaks')).toMatchObject({ outcome: 'committed', secretInWork: true });
    expect(git(repository, 'show', 'cellpool/leaks:leak.txt')).toBe(`key: ${PROVIDER_KEY}`);
    expect(results.get('shows-all')).not.toHaveProperty('secretInWork');
    expect(done.stderr).toContain("the agent's work holds a secret");
  });

  test('is told without it, names of files included, when it was reverted', () => {
    expect(results.get('named')).toMatchObject({
      outcome: 'reverted',
      secretInWork: true,
      filesModified: ['[redacted].txt'],
      diffSummary: '[redacted].txt +1 -0',
    });
  });
});
