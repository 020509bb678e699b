import { createServer, type Server, type Socket } from 'node:net';
import getPort from 'get-port';
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { type CellpoolError, messageOf } from '../../src/errors.ts';
import type { RedisAddress } from '../../src/redis/address.ts';
import { checkRedis, connectRedis, lastErrorOf, type RedisRole } from '../../src/redis/connection.ts';
import { openRedis } from '../../src/redis/open-redis.ts';
import { redisForFile, temporaryFolder } from './support.ts';

let redis: Awaited<ReturnType<typeof redisForFile>>;
beforeAll(async () => {
  redis = await redisForFile();
});
afterAll(() => redis.close());

function connected(address: RedisAddress, role: RedisRole): Redis {
  const client = connectRedis(address, role);
  onTestFinished(() => client.disconnect());
  return client;
}

async function nobody(): Promise<string> {
  return `redis://:secret@127.0.0.1:${await getPort()}`;
}

/** Accepts connections and never says a word. */
async function mute(): Promise<string> {
  const sockets = new Set<Socket>();
  const server: Server = createServer(socket => sockets.add(socket.on('error', () => undefined)));
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const address = server.address();
  return `redis://:secret@127.0.0.1:${typeof address === 'object' ? address?.port : ''}`;
}

test('the check tells version, eviction policy and whether there is an append-only file', async () => {
  const facts = await checkRedis(connected({ path: redis.socket }, 'producer'));
  expect(facts).toEqual({ version: expect.stringMatching(/^\d+\.\d+/), maxmemoryPolicy: 'noeviction', aof: true });
});

test('connections carry a name that says what they are for', async () => {
  expect(await connected({ path: redis.socket }, 'worker').client('GETNAME')).toBe(`cellpool:worker:${process.pid}`);
});

test('what one turn of the event loop asks for is sent together and in its order, a transaction among it', async () => {
  const client = connected({ path: redis.socket }, 'worker');
  await client.ping();
  let writes = 0;
  const [write, writev] = [client.stream._write.bind(client.stream), client.stream._writev?.bind(client.stream)];
  client.stream._write = (...args) => {
    writes += 1;
    write(...args);
  };
  client.stream._writev = (...args) => {
    writes += 1;
    writev?.(...args);
  };
  const key = 'order';
  const first = client.rpush(key, '1');
  const both = client.multi().rpush(key, '2').rpush(key, '3').exec();
  const later = Promise.resolve().then(() => client.rpush(key, '4'));
  await Promise.all([first, both, later]);
  expect(writes).toBe(1);
  expect(await client.lrange(key, 0, -1)).toEqual(['1', '2', '3', '4']);
});

test.each([
  ['nobody listens', nobody, /ECONNREFUSED/],
  ['somebody listens and says nothing', mute, /no answer within 2 s/],
])('when %s, Redis is unavailable, with a hint and without the password', async (_case, start, reason) => {
  const url = await start();
  const opening = openRedis({ redisUrl: url, home: temporaryFolder() });
  const error = (await opening.catch((caught: unknown) => caught)) as CellpoolError;
  expect(error).toMatchObject({ code: 'REDIS_UNAVAILABLE', exitCode: 3, hint: expect.stringContaining('REDIS_URL') });
  expect(error.message).toMatch(reason);
  expect(JSON.stringify([error.message, error.facts, error.hint, String(error.cause)])).not.toContain('secret');
});

test('a wrong password is told apart from an absent Redis, and not shown', async () => {
  const port = await getPort();
  const admin = redis.client();
  await admin.config('SET', 'port', port);
  await admin.config('SET', 'requirepass', 'right');
  const check = checkRedis(connected({ url: `redis://:secret@127.0.0.1:${port}` }, 'producer'));
  const error = (await check.catch((caught: unknown) => caught)) as CellpoolError;
  const right = await checkRedis(connected({ url: `redis://:right@127.0.0.1:${port}` }, 'worker'));
  await admin.config('SET', 'requirepass', '');
  expect(error).toMatchObject({ code: 'REDIS_UNAVAILABLE', hint: expect.stringContaining('password') });
  expect(JSON.stringify([error.message, error.facts, String(error.cause)])).not.toContain('secret');
  expect(right.aof).toBe(true);
});

test('an aborted check ends with the reason', async () => {
  const abort = new AbortController();
  const check = checkRedis(connected({ url: await mute() }, 'worker'), abort.signal);
  const reason = new Error('stop');
  abort.abort(reason);
  await expect(check).rejects.toBe(reason);
});

test('a producer without Redis fails at once', async () => {
  const client = connected({ url: await nobody() }, 'producer');
  await expect(client.set('key', 'value')).rejects.toThrow(/writeable|writable|closed/i);
});

test('a worker without Redis waits for it, and remembers why', async () => {
  const port = await getPort();
  const client = connected({ url: `redis://127.0.0.1:${port}` }, 'worker');
  const reply = client.ping();
  await new Promise(resolve => client.once('reconnecting', resolve));
  expect(messageOf(lastErrorOf(client))).toContain('ECONNREFUSED');
  await redis.client().config('SET', 'port', port);
  expect(await reply).toBe('PONG');
});

test.each([
  ['', (client: Redis) => client],
  [', and so does a copy of it, which BullMQ blocks on', (client: Redis) => client.duplicate()],
])('a connection that is closed while Redis is away tells its end and refuses what waits%s', async (_case, made) => {
  const client = made(connected({ url: await nobody() }, 'worker'));
  client.on('error', () => undefined);
  const refused = expect(client.ping()).rejects.toThrow('Connection is closed');
  await new Promise(resolve => client.once('reconnecting', resolve));
  const ended = new Promise<void>(resolve => client.once('end', resolve));
  client.disconnect();
  await ended;
  await refused;
  expect(client.status).toBe('end');
});

test('a Redis that was named is used as it is, and left running', async () => {
  const handle = await openRedis({ redisUrl: `unix://${redis.socket}`, home: '/nowhere' });
  expect(handle).toMatchObject({ origin: 'url', address: { path: redis.socket } });
  await handle.close();
  expect(await redis.client().ping()).toBe('PONG');
});

test('a Redis that may throw jobs away or forget them is used with a warning', async () => {
  const admin = redis.client();
  await admin.config('SET', 'maxmemory-policy', 'allkeys-lru');
  await admin.config('SET', 'appendonly', 'no');
  const said: string[] = [];
  await openRedis({ redisUrl: `unix://${redis.socket}`, home: '/nowhere', say: message => said.push(message) });
  expect(said.join('\n')).toMatch(/allkeys-lru.*\n.*append-only/);
});

test('without a URL there is a private Redis', async () => {
  const handle = await openRedis({ redisUrl: '', home: temporaryFolder() });
  expect(handle.origin).toBe('private');
  expect((await checkRedis(connected(handle.address, 'worker'))).aof).toBe(true);
  await handle.close();
  await handle.close();
});
