/** Finds or makes the Redis of this run, says which, and looks at the end that its tests left no key in it. */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execaSync } from 'execa';
import { GenericContainer, Wait } from 'testcontainers';
import { describeAddress, parseRedisUrl } from '../../src/redis/address.ts';
import { checkRedis, connectRedis } from '../../src/redis/connection.ts';
import { openRedis } from '../../src/redis/open-redis.ts';
import { SHARED_REDIS } from '../support/redis.ts';

interface RunRedis {
  url: string;
  origin: string;
  close(): Promise<void>;
}

const PORT = 6379;

const WAYS: Record<string, () => Promise<RunRedis>> = { url: given, docker: container, private: ownServer };

export default async function setup(): Promise<() => Promise<void>> {
  const asked = process.env.CELLPOOL_TEST_REDIS ?? '';
  const way = asked === '' ? chosen() : asked;
  const open = WAYS[way];
  if (open === undefined) throw new Error(`CELLPOOL_TEST_REDIS is url, docker or private, not ${way}`);
  const redis = await open();
  process.stdout.write(`Redis of this run: ${redis.origin}\n`);
  process.env[SHARED_REDIS] = redis.url;
  return async () => {
    try {
      await nothingLeft(redis.url);
    } finally {
      await redis.close();
    }
  };
}

function chosen(): string {
  if (process.env.CELLPOOL_TEST_REDIS_GIVEN) return 'url';
  return execaSync('docker', ['info'], { reject: false, timeout: 30_000 }).exitCode === 0 ? 'docker' : 'private';
}

async function given(): Promise<RunRedis> {
  const url = process.env.CELLPOOL_TEST_REDIS_GIVEN ?? '';
  if (url === '') throw new Error('REDIS_URL names no Redis');
  return { url, origin: `${describeAddress(parseRedisUrl(url))}, from REDIS_URL`, close: async () => undefined };
}

async function container(): Promise<RunRedis> {
  process.env.TESTCONTAINERS_RYUK_DISABLED ??= 'true';
  const started = await new GenericContainer('redis:7-alpine')
    .withCommand(['redis-server', '--appendonly', 'yes', '--maxmemory-policy', 'noeviction'])
    .withExposedPorts(PORT)
    .withWaitStrategy(Wait.forLogMessage('Ready to accept connections'))
    .start();
  return {
    url: `redis://${started.getHost()}:${started.getMappedPort(PORT)}`,
    origin: 'a container of redis:7-alpine',
    close: async () => {
      await started.stop({ remove: true, removeVolumes: true });
      // Testcontainers leaves its lock file in the temp folder.
      for (const name of readdirSync(tmpdir())) {
        if (/^testcontainers-.*\.lock$/.test(name)) rmSync(join(tmpdir(), name), { recursive: true });
      }
    },
  };
}

async function ownServer(): Promise<RunRedis> {
  const home = mkdtempSync(join(tmpdir(), 'r-'));
  const server = await openRedis({ home });
  return {
    url: describeAddress(server.address),
    origin: 'a private one',
    close: async () => {
      await server.close();
      rmSync(home, { recursive: true, force: true });
    },
  };
}

async function nothingLeft(url: string): Promise<void> {
  const redis = connectRedis(parseRedisUrl(url), 'producer');
  try {
    await checkRedis(redis);
    const left = await redis.keys('test-*');
    if (left.length > 0) {
      process.stderr.write(
        `\nLEAK: the tests left ${left.length} keys in Redis, such as ${left.slice(0, 5).join(', ')}\n`,
      );
      process.exitCode = 1;
    }
  } finally {
    redis.disconnect();
  }
}
