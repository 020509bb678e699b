/** A private Redis for one test file, and keys that no other file's are in the way of. */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Redis } from 'ioredis';
import { parseRedisUrl, type RedisAddress } from '../../src/redis/address.ts';
import { checkRedis, connectRedis, type RedisRole } from '../../src/redis/connection.ts';
import { openRedis } from '../../src/redis/open-redis.ts';

export interface TestRedis {
  readonly address: RedisAddress;
  /** A ready connection; `close` ends it if the test has not. */
  connect(role: RedisRole): Promise<Redis>;
  /** First part of all keys of one test; a new one at each call. */
  prefix(): string;
  close(): Promise<void>;
}

/** Names the variable with the URL of a Redis that all files of a run share: see test/integration. */
export const SHARED_REDIS = 'CELLPOOL_TEST_REDIS_URL';

export async function testRedis(): Promise<TestRedis> {
  const shared = process.env[SHARED_REDIS] ?? '';
  return shared === '' ? privateRedis() : redisAt(parseRedisUrl(shared), removeKeys);
}

async function privateRedis(): Promise<TestRedis> {
  // Short, because the path of a unix socket may have about 100 characters.
  const home = await mkdtemp(join(tmpdir(), 'r-'));
  const server = await openRedis({ home });
  return redisAt(server.address, async () => {
    await server.close();
    await rm(home, { recursive: true, force: true });
  });
}

function redisAt(
  address: RedisAddress,
  tidy: (address: RedisAddress, prefixes: readonly string[]) => Promise<void>,
): TestRedis {
  const clients: Redis[] = [];
  const prefixes: string[] = [];
  return {
    address,
    async connect(role) {
      const client = connectRedis(address, role);
      clients.push(client);
      await checkRedis(client);
      return client;
    },
    prefix: () => {
      const prefix = `test-${randomBytes(6).toString('hex')}`;
      prefixes.push(prefix);
      return prefix;
    },
    async close() {
      for (const client of clients) client.disconnect();
      await tidy(address, prefixes);
    },
  };
}

async function removeKeys(address: RedisAddress, prefixes: readonly string[]): Promise<void> {
  const client = connectRedis(address, 'worker');
  try {
    for (const prefix of prefixes) {
      const keys = await client.keys(`${prefix}:*`);
      if (keys.length > 0) await client.unlink(...keys);
    }
  } finally {
    client.disconnect();
  }
}
