/** What the tests of this room share: a private Redis of their own, and the room's code for child processes. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import type { Redis } from 'ioredis';
import { onTestFinished } from 'vitest';
import { connectRedis, type RedisRole } from '../../src/redis/connection.ts';
import { openPrivateServer } from '../../src/redis/private-server.ts';

/** A folder that is removed when the test ends. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 't-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A private Redis for a whole file; `close` it in afterAll. */
export async function redisForFile(): Promise<{
  socket: string;
  client(role?: RedisRole): Redis;
  close(): Promise<void>;
}> {
  const home = mkdtempSync(join(tmpdir(), 'r-'));
  const server = await openPrivateServer(home);
  const clients: Redis[] = [];
  return {
    socket: server.socket,
    client: (role = 'worker') => {
      const client = connectRedis({ path: server.socket }, role);
      clients.push(client);
      return client;
    },
    close: async () => {
      for (const client of clients) client.disconnect();
      await server.close();
      rmSync(home, { recursive: true });
    },
  };
}

/** The server's own process id. */
export async function serverPid(client: Redis): Promise<number> {
  return Number(/process_id:(\d+)/.exec(await client.info('server'))?.[1]);
}

/** Starts a program of fixtures/; `line(text)` resolves with the first line that starts so, or rejects at its end. */
export function startFixture(name: string, args: string[]) {
  const program = fileURLToPath(new URL(`./fixtures/${name}`, import.meta.url));
  const child = execa(process.execPath, [program, ...args], { reject: false, all: true, timeout: 50_000 });
  return {
    child,
    line: (start: string) =>
      new Promise<string>((resolve, reject) => {
        let said = '';
        child.all.on('data', (chunk: Buffer) => {
          said += chunk;
          const line = said
            .split('\n')
            .slice(0, -1)
            .find(whole => whole.startsWith(start));
          if (line !== undefined) resolve(line);
        });
        child.then(() => reject(new Error(`${name} ended without saying "${start}": ${said}`)), reject);
      }),
  };
}
