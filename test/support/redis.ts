/** A private Redis for one test file, and keys that no other file's are in the way of. */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Redis } from 'ioredis';
import type { RedisAddress } from '../../src/redis/address.ts';
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

export async function testRedis(): Promise<TestRedis> {
  // Short, because the path of a unix socket may have about 100 characters.
  const home = await mkdtemp(join(tmpdir(), 'r-'));
  const server = await openRedis({ home });
  const clients: Redis[] = [];
  return {
    address: server.address,
    async connect(role) {
      const client = connectRedis(server.address, role);
      clients.push(client);
      await checkRedis(client);
      return client;
    },
    prefix: () => `test-${randomBytes(6).toString('hex')}`,
    async close() {
      for (const client of clients) client.disconnect();
      await server.close();
      await rm(home, { recursive: true, force: true });
    },
  };
}
