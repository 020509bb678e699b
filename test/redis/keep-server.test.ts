import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from 'vitest';
import { connectRedis } from '../../src/redis/connection.ts';
import { holdLock, isFreeWithin } from '../../src/redis/file-lock.ts';
import { openPrivateServer, type PrivateServer } from '../../src/redis/private-server.ts';
import { findRedisBinary } from '../../src/redis/redis-binary.ts';
import { isAlive } from '../os/support.ts';
import { compiledRooms } from '../support/compiled.ts';
import { canListProcesses, processesOf } from '../support/leaks.ts';
import { serverPid, startFixture, temporaryFolder } from './support.ts';

let compiled = '';
beforeAll(async () => {
  compiled = await compiledRooms('redis');
  // What is said here is of the server: where the program has to be unpacked first, that is said before.
  await findRedisBinary();
});
afterAll(() => rmSync(compiled, { recursive: true }));

const BOUND = { timeout: 20_000, interval: 10 };

/** A server this process has joined, what it was told of it, and a client that loses no write. */
async function joined(home: string) {
  const said: string[] = [];
  const server = await openPrivateServer(home, { say: message => said.push(message) });
  onTestFinished(() => server.close());
  const client = connectRedis({ path: server.socket }, 'worker');
  onTestFinished(() => client.disconnect());
  await client.config('SET', 'appendfsync', 'always');
  return { server, client, said };
}

async function kill(client: Redis): Promise<number> {
  const pid = await serverPid(client);
  const lost = once(client, 'close');
  process.kill(pid, 'SIGKILL');
  await lost;
  return pid;
}

async function leave(client: Redis, server: PrivateServer): Promise<void> {
  client.disconnect();
  await server.close();
}

/** A state folder whose socket has to lie elsewhere, its path being too long. */
function longHome(): string {
  const home = join(temporaryFolder(), 'long'.repeat(30));
  mkdirSync(home);
  return home;
}

function socketFolders(): string[] {
  return readdirSync(tmpdir()).filter(name => name.startsWith('cellpool-redis-'));
}

function serversOf(home: string): number[] {
  const scope = { marker: `CELLPOOL_TEST_HOME=${home}`, folder: home };
  return processesOf(scope).flatMap(({ pid, command }) => (/^\S*redis-server /.test(command) ? pid : []));
}

function starts(home: string, pattern = /ready to accept connections/gi): number {
  return [...readFileSync(join(home, 'redis', 'server.log'), 'utf8').matchAll(pattern)].length;
}

/** Lets no server start until the returned function is called; each change is one step, so that none starts between. */
function breakData(home: string): () => void {
  const manifest = join(home, 'redis', 'appendonlydir', 'appendonly.aof.manifest');
  const whole = readFileSync(manifest);
  const replace = (content: string | Buffer) => {
    writeFileSync(join(home, 'next'), content);
    renameSync(join(home, 'next'), manifest);
  };
  replace('no manifest\n');
  return () => replace(whole);
}

const isFree = (home: string) => isFreeWithin(join(home, 'redis', 'server.lock'), 0);
const holdDoor = (home: string) => holdLock(join(home, 'redis', 'door.lock'), BOUND.timeout);

/** Resolves when these processes, and no others, watch the server. */
async function watchedBy(client: Redis, ...pids: (number | undefined)[]): Promise<void> {
  await vi.waitFor(async () => {
    const names = String(await client.client('LIST')).matchAll(/ name=cellpool:presence:(\d+)/g);
    expect([...names].map(([, pid]) => Number(pid)).sort()).toEqual(pids.sort());
  }, BOUND);
}

test('a server killed while it is used comes back with its data, and a pending command succeeds, every time', async () => {
  const home = temporaryFolder();
  const { server, client, said } = await joined(home);
  const pids = new Set<number>();
  for (const round of ['1', '2', '3']) {
    await client.config('SET', 'appendfsync', 'always');
    await client.set('key', round);
    pids.add(await kill(client));
    const pending = client.get('key');
    expect(await pending).toBe(round);
    // Told once it is watched again; killed before that, it would count as one that could not be started.
    const again = expect.stringContaining('had died and was started again');
    await vi.waitFor(() => expect(said).toEqual(Array(Number(round)).fill(again)), BOUND);
  }
  expect(pids.size).toBe(3);
  const pid = await serverPid(client);
  await leave(client, server);
  expect(isAlive(pid)).toBe(false);
});

test.skipIf(!canListProcesses)('of several processes that lose the server one starts it, and all go on', async () => {
  const home = temporaryFolder();
  const users = [1, 2].map(() => startFixture('user.mjs', [compiled, home]));
  await Promise.all(users.map(user => user.line('joined ')));
  const { server, client } = await joined(home);
  const all = [process.pid, ...users.map(({ child }) => child.pid)];
  for (let round = 1; round <= 2; round += 1) {
    await kill(client);
    await watchedBy(client, ...all);
    expect(serversOf(home)).toEqual([await serverPid(client)]);
    expect(starts(home)).toBe(1 + round);
  }
  // One that joined only starts it as well, when it is the only one left.
  for (const { child } of users) {
    child.stdin.end();
    expect((await child).exitCode).toBe(0);
  }
  await kill(client);
  await watchedBy(client, process.pid);
  await leave(client, server);
  expect(serversOf(home)).toEqual([]);
});

test('a user that leaves during the outage does not take the place of the socket from the others', async () => {
  const home = longHome();
  const { server, client } = await joined(home);
  const other = await openPrivateServer(home);
  await client.set('key', 'kept');
  const openDoor = await holdDoor(home);
  await kill(client);
  const leaving = other.close();
  await openDoor();
  await leaving;
  expect(await client.get('key')).toBe('kept');
  expect(existsSync(server.socket)).toBe(true);
  await leave(client, server);
  expect(socketFolders()).toEqual([]);
});

test('whoever closes during the outage leaves no server and no folder', async () => {
  for (const whileWaiting of [true, false]) {
    const home = longHome();
    const { server, client } = await joined(home);
    const openDoor = whileWaiting ? await holdDoor(home) : undefined;
    await kill(client);
    const leaving = leave(client, server);
    await openDoor?.();
    await leaving;
    expect(await isFree(home)).toBe(true);
    expect(existsSync(dirname(server.socket))).toBe(false);
  }
  expect(socketFolders()).toEqual([]);
});

test('a close while the server is being started again ends that server too', async () => {
  const home = temporaryFolder();
  const { server, client } = await joined(home);
  const initialising = /oO0OoO0OoO0Oo Redis is starting/g;
  const before = starts(home, initialising);
  await kill(client);
  await vi.waitUntil(() => starts(home, initialising) > before, { ...BOUND, interval: 1 });
  await leave(client, server);
  expect(await isFree(home)).toBe(true);
  expect(existsSync(server.socket)).toBe(false);
});

test('users that leave at the same time stop the server once, and none of them starts it again', async () => {
  const home = temporaryFolder();
  const user = startFixture('user.mjs', [compiled, home]);
  await user.line('joined ');
  const { server, client } = await joined(home);
  const third = await openPrivateServer(home);
  user.child.stdin.end();
  const [{ exitCode }] = await Promise.all([user.child, leave(client, server), third.close()]);
  expect(exitCode).toBe(0);
  expect(await isFree(home)).toBe(true);
  expect(existsSync(server.socket)).toBe(false);
  expect(starts(home)).toBe(1);
});

test('a server that cannot be started again is told of once and tried on until it can', async () => {
  const home = temporaryFolder();
  const { server, client, said } = await joined(home);
  await client.set('key', 'kept');
  const mend = breakData(home);
  const initialising = /oO0OoO0OoO0Oo Redis is starting/g;
  const before = starts(home, initialising);
  await kill(client);
  await vi.waitUntil(() => starts(home, initialising) >= before + 3, BOUND);
  expect(said).toEqual([expect.stringContaining('has died, trying on')]);
  mend();
  expect(await client.get('key')).toBe('kept');
  await vi.waitFor(() => expect(said.at(-1)).toContain('was started again'), BOUND);
  expect(said).toHaveLength(2);
  await leave(client, server);
});

test('closing is prompt while the server cannot be started again', async () => {
  const home = temporaryFolder();
  const { server, client, said } = await joined(home);
  breakData(home);
  await kill(client);
  await vi.waitUntil(() => said.length > 0, BOUND);
  const before = performance.now();
  await leave(client, server);
  expect(performance.now() - before).toBeLessThan(3_000);
  expect(await isFree(home)).toBe(true);
});

test('a server that hangs is not started a second time, even when connections to it break', async () => {
  const home = temporaryFolder();
  const { server, client, said } = await joined(home);
  const pid = await serverPid(client);
  const presence = /id=(\d+) .* name=cellpool:presence/.exec(String(await client.client('LIST')))?.[1] ?? '';
  const openDoor = await holdDoor(home);
  await client.client('KILL', 'ID', presence);
  process.kill(pid, 'SIGSTOP');
  await openDoor();
  onTestFinished(() => {
    if (isAlive(pid)) process.kill(pid, 'SIGCONT');
  });
  const door = join(home, 'redis', 'door.lock');
  await vi.waitUntil(async () => !(await isFreeWithin(door, 0)), BOUND);
  process.kill(pid, 'SIGCONT');
  await watchedBy(client, process.pid);
  expect(await serverPid(client)).toBe(pid);
  expect(said).toEqual([]);
  expect(starts(home)).toBe(1);
  await leave(client, server);
});
