import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from 'vitest';
import { connectRedis } from '../../src/redis/connection.ts';
import { isFreeWithin } from '../../src/redis/file-lock.ts';
import { openPrivateServer } from '../../src/redis/private-server.ts';
import { isAlive } from '../os/support.ts';
import { compiledRooms } from '../support/compiled.ts';
import { serverPid, startFixture, temporaryFolder } from './support.ts';

let compiled = '';
beforeAll(async () => {
  compiled = await compiledRooms('redis');
});
afterAll(() => rmSync(compiled, { recursive: true }));

const BOUND = { timeout: 20_000 };

/** A client of the server, gone when the test ends. */
function clientOf(socket: string) {
  const client = connectRedis({ path: socket }, 'worker');
  onTestFinished(() => client.disconnect());
  return client;
}

test('the data outlives the server, and the server outlives nobody', async () => {
  const home = temporaryFolder();
  const first = await openPrivateServer(home);
  const client = clientOf(first.socket);
  await client.set('key', 'kept');
  const pid = await serverPid(client);
  client.disconnect();
  await first.close();
  await first.close();
  expect(isAlive(pid)).toBe(false);
  expect(existsSync(first.socket)).toBe(false);

  const second = await openPrivateServer(home);
  expect(await clientOf(second.socket).get('key')).toBe('kept');
  await second.close();
});

test('the settings are those a queue needs, and only the owner can reach any of it', async () => {
  const home = temporaryFolder();
  const server = await openPrivateServer(home);
  const client = clientOf(server.socket);
  const setting = async (name: string) => ((await client.config('GET', name)) as string[])[1];
  expect(await setting('appendonly')).toBe('yes');
  expect(await setting('appendfsync')).toBe('everysec');
  expect(await setting('maxmemory-policy')).toBe('noeviction');
  expect(await setting('port')).toBe('0');
  expect(await setting('save')).toBe('');
  expect(statSync(join(home, 'redis')).mode & 0o777).toBe(0o700);
  expect(statSync(server.socket).mode & 0o777).toBe(0o700);
  client.disconnect();
  await server.close();
});

test.skipIf(!existsSync('/proc/self/stat'))(
  'the server is in a session of its own and sees no secret of ours',
  async () => {
    process.env.CELLPOOL_TEST_SECRET = 'secret';
    onTestFinished(() => {
      delete process.env.CELLPOOL_TEST_SECRET;
    });
    const server = await openPrivateServer(temporaryFolder());
    const client = clientOf(server.socket);
    const pid = await serverPid(client);
    const names = readFileSync(`/proc/${pid}/environ`, 'utf8')
      .split('\0')
      .flatMap(line => line.split('=')[0] || []);
    expect(['PATH', 'LD_LIBRARY_PATH']).toEqual(expect.arrayContaining(names));
    // After the name in brackets: state, parent, group, session.
    const session = (of: number | 'self') => readFileSync(`/proc/${of}/stat`, 'utf8').split(') ').at(-1)?.split(' ')[3];
    expect(session(pid)).not.toBe(session('self'));
    client.disconnect();
    await server.close();
  },
);

test('a folder that was open to others is closed to them', async () => {
  const home = temporaryFolder();
  mkdirSync(join(home, 'redis'), { mode: 0o755 });
  const server = await openPrivateServer(home);
  expect(statSync(join(home, 'redis')).mode & 0o777).toBe(0o700);
  await server.close();
});

test('several processes that start at once share one server, and the last to leave stops it', async () => {
  const home = temporaryFolder();
  const users = Array.from({ length: 4 }, () => startFixture('user.mjs', [compiled, home]));
  const joined = await Promise.all(users.map(user => user.line('joined ')));
  expect(new Set(joined).size).toBe(1);

  const here = await openPrivateServer(home);
  const client = clientOf(here.socket);
  const pid = await serverPid(client);
  for (const { child } of users) {
    expect(await serverPid(client)).toBe(pid);
    child.stdin.end();
    expect((await child).exitCode).toBe(0);
  }
  expect(await client.ping()).toBe('PONG');
  client.disconnect();
  await here.close();
  expect(isAlive(pid)).toBe(false);
});

test('processes that come and go all the time never find a server that is being stopped', async () => {
  const home = temporaryFolder();
  const comeAndGo = async () => {
    for (let round = 0; round < 6; round += 1) {
      const server = await openPrivateServer(home);
      const client = connectRedis({ path: server.socket }, 'producer');
      await new Promise((resolve, reject) => client.once('ready', resolve).once('error', reject));
      await client.incr('visits');
      client.disconnect();
      await server.close();
    }
  };
  await Promise.all([comeAndGo(), comeAndGo(), comeAndGo()]);
  const server = await openPrivateServer(home);
  expect(await clientOf(server.socket).get('visits')).toBe('18');
  await server.close();
});

test('a process killed with SIGKILL does not keep the server alive for ever', async () => {
  const home = temporaryFolder();
  const user = startFixture('user.mjs', [compiled, home]);
  await user.line('joined ');
  const server = await openPrivateServer(home);
  const client = clientOf(server.socket);
  const pid = await serverPid(client);
  user.child.kill('SIGKILL');
  await user.child;
  expect(await client.ping()).toBe('PONG');
  client.disconnect();
  await server.close();
  expect(isAlive(pid)).toBe(false);
});

test('a process that is stopped for a while still counts as a user', async () => {
  const home = temporaryFolder();
  const user = startFixture('user.mjs', [compiled, home]);
  await user.line('joined ');
  const server = await openPrivateServer(home);
  const client = clientOf(server.socket);
  user.child.kill('SIGSTOP');
  await server.close();
  expect(await client.ping()).toBe('PONG');
  const pid = await serverPid(client);
  client.disconnect();
  user.child.kill('SIGCONT');
  user.child.stdin.end();
  expect((await user.child).exitCode).toBe(0);
  expect(isAlive(pid)).toBe(false);
});

test('a server whose only user was killed is joined by the next one and stopped by it', async () => {
  const home = temporaryFolder();
  const user = startFixture('user.mjs', [compiled, home]);
  const socket = (await user.line('joined ')).slice('joined '.length);
  user.child.kill('SIGKILL');
  await user.child;
  const client = clientOf(socket);
  const pid = await serverPid(client);
  const server = await openPrivateServer(home);
  expect(await serverPid(client)).toBe(pid);
  client.disconnect();
  await server.close();
  expect(isAlive(pid)).toBe(false);
});

test('a process killed while it starts the server does not block the next one', async () => {
  const home = temporaryFolder();
  mkdirSync(join(home, 'redis'), { mode: 0o700 });
  for (const after of ['door.lock', 'server.lock', 'server.log', 'redis.sock']) {
    const user = startFixture('user.mjs', [compiled, home]);
    await vi.waitUntil(() => existsSync(join(home, 'redis', after)), { ...BOUND, interval: 1 });
    user.child.kill('SIGKILL');
    await user.child;
    const server = await openPrivateServer(home);
    const client = clientOf(server.socket);
    const pid = await serverPid(client);
    client.disconnect();
    await server.close();
    expect(isAlive(pid)).toBe(false);
    for (const name of readdirSync(join(home, 'redis'))) {
      if (name !== 'appendonlydir') rmSync(join(home, 'redis', name));
    }
  }
});

test('after the server was killed the next start has the data, and a client that waited goes on', async () => {
  const home = temporaryFolder();
  const first = await openPrivateServer(home);
  const client = clientOf(first.socket);
  await client.set('key', 'kept');
  await client.config('SET', 'appendfsync', 'always');
  await client.set('other', 'kept too');
  process.kill(await serverPid(client), 'SIGKILL');
  await isFreeWithin(join(home, 'redis', 'server.lock'), BOUND.timeout);

  const second = await openPrivateServer(home);
  expect(second.socket).toBe(first.socket);
  expect(await client.mget('key', 'other')).toEqual(['kept', 'kept too']);
  client.disconnect();
  await first.close();
  await second.close();
});

test('leaving a server that has died already is no error', async () => {
  const home = temporaryFolder();
  const server = await openPrivateServer(home);
  const client = clientOf(server.socket);
  process.kill(await serverPid(client), 'SIGKILL');
  client.disconnect();
  await server.close();
  expect(existsSync(server.socket)).toBe(false);
});

test('a state folder with a path too long for a socket works, and the folder made for it is removed', async () => {
  const home = join(temporaryFolder(), 'long'.repeat(30));
  mkdirSync(home);
  const first = await openPrivateServer(home);
  expect(Buffer.byteLength(first.socket)).toBeLessThanOrEqual(100);
  expect(statSync(dirname(first.socket)).mode & 0o777).toBe(0o700);
  const second = await openPrivateServer(home);
  expect(second.socket).toBe(first.socket);
  await first.close();
  expect(await clientOf(second.socket).ping()).toBe('PONG');
  await second.close();
  expect(readdirSync(tmpdir()).filter(name => name.startsWith('cellpool-redis-'))).toEqual([]);
});

test('a path with spaces and quotes works', async () => {
  const home = join(temporaryFolder(), `a "b" 'c' \\d é`);
  mkdirSync(home);
  const server = await openPrivateServer(home);
  expect(await clientOf(server.socket).ping()).toBe('PONG');
  await server.close();
});

test('an aborted start rejects with the reason and leaves no server', async () => {
  const home = temporaryFolder();
  const abort = new AbortController();
  const opening = openPrivateServer(home, { signal: abort.signal });
  const reason = new Error('stop');
  await vi.waitUntil(() => existsSync(join(home, 'redis', 'server.log')), { ...BOUND, interval: 1 });
  abort.abort(reason);
  const outcome = await opening.catch(error => error);
  // It may have been faster than the abort; then it is there and is left in order.
  if (outcome !== reason) await outcome.close();
  expect(await isFreeWithin(join(home, 'redis', 'server.lock'), 0)).toBe(true);
  expect(existsSync(join(home, 'redis', 'redis.sock'))).toBe(false);
});

test('a server that cannot start is reported with what it said, and blocks nothing', async () => {
  const home = temporaryFolder();
  mkdirSync(join(home, 'redis', 'appendonlydir', 'appendonly.aof.manifest'), { recursive: true });
  const failing = openPrivateServer(home);
  await expect(failing).rejects.toMatchObject({ code: 'REDIS_UNAVAILABLE', exitCode: 3 });
  await expect(failing).rejects.toThrow('did not start');
  rmSync(join(home, 'redis', 'appendonlydir'), { recursive: true });
  await (await openPrivateServer(home)).close();
});

test('a state folder that cannot be used is an error about the state folder', async () => {
  const file = join(temporaryFolder(), 'file');
  writeFileSync(file, '');
  await expect(openPrivateServer(file)).rejects.toMatchObject({ code: 'STATE_FOLDER', exitCode: 3 });
});
