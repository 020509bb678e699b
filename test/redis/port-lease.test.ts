import { rmSync } from 'node:fs';
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { InvalidInput } from '../../src/errors.ts';
import { portKeys } from '../../src/redis/keys.ts';
import { type PortLease, PortLeases, type PortRange } from '../../src/redis/port-lease.ts';
import { compiledRooms } from '../support/compiled.ts';
import { redisForFile, startFixture } from './support.ts';

const LONG = 60_000;
const HOUR = 3_600_000;

let server: Awaited<ReturnType<typeof redisForFile>>;
let redis: Redis;
let compiled = '';
beforeAll(async () => {
  [server, compiled] = await Promise.all([redisForFile(), compiledRooms('redis')]);
  redis = server.client();
});
afterAll(async () => {
  rmSync(compiled, { recursive: true });
  await server.close();
});

let hosts = 0;
const newHost = () => {
  hosts += 1;
  return `host-${hosts}`;
};
const pool = (from: number, to: number, host = newHost()) => new PortLeases(redis, { host, range: { from, to } });

async function take(ports: PortLeases, ttlMs = LONG, owner = 'cell'): Promise<PortLease> {
  const lease = await ports.acquire(owner, ttlMs);
  if (lease === null) throw new Error('no port is free');
  return lease;
}

async function takeAll(ports: PortLeases): Promise<number[]> {
  const taken: number[] = [];
  for (let lease = await ports.acquire('cell', LONG); lease !== null; lease = await ports.acquire('cell', LONG)) {
    taken.push(lease.port);
  }
  return taken.sort((a, b) => a - b);
}

test('the default range is 9000 to 9999, each port once, asked for by many at a time', async () => {
  const ports = new PortLeases(redis, { host: newHost() });
  const leases = await Promise.all(Array.from({ length: 1_001 }, () => ports.acquire('cell', LONG)));
  const leased = leases.flatMap(lease => lease?.port ?? []).sort((a, b) => a - b);
  expect(leased).toEqual(Array.from({ length: 1_000 }, (_, index) => 9_000 + index));
});

test('port 4096 is never leased', async () => {
  expect(await takeAll(pool(4_095, 4_097))).toEqual([4_095, 4_097]);
});

test('a lease says until when it holds, by the clock of Redis, and whose it is', async () => {
  const ports = pool(9_000, 9_009);
  const lease = await take(ports, LONG, 'a:b c');
  expect(await ports.held()).toEqual([{ ...lease, owner: 'a:b c' }]);
  const [seconds] = await redis.time();
  expect(Math.abs(lease.expiresAt - LONG - Number(seconds) * 1_000)).toBeLessThan(LONG);
});

test('the port that has been free longest is taken first', async () => {
  const ports = pool(9_000, 9_002);
  const first = await take(ports);
  const second = await take(ports);
  await ports.release(second);
  await ports.release(first);
  const third = await take(ports);
  expect([first.port, second.port]).not.toContain(third.port);
  expect((await take(ports)).port).toBe(second.port);
});

test('a port that was given back with a cool-down is not leased before its end', async () => {
  const ports = pool(9_000, 9_000);
  await ports.release(await take(ports), HOUR);
  expect(await ports.acquire('cell', LONG)).toBeNull();

  const short = pool(9_000, 9_000);
  await short.release(await take(short), 5);
  await vi.waitFor(() => take(short), { timeout: 10_000, interval: 5 });
});

test('a token that is not the current one renews nothing and releases nothing', async () => {
  const ports = pool(9_000, 9_000);
  const old = await take(ports);
  expect(await ports.release(old)).toBe(true);
  const current = await take(ports);
  expect(current.port).toBe(old.port);
  for (const wrong of [old, { ...current, token: '' }, { ...current, token: current.token.slice(0, -1) }]) {
    expect(await ports.renew(wrong, LONG)).toBe(false);
    expect(await ports.release(wrong)).toBe(false);
  }
  expect(await ports.release({ port: 9_001, token: current.token })).toBe(false);
  expect(await ports.held()).toEqual([{ ...current, owner: 'cell' }]);
});

test('an expired lease is listed, but stays its owner’s until somebody releases it', async () => {
  const ports = pool(9_000, 9_000);
  const lease = await take(ports, 1);
  await vi.waitUntil(async () => (await ports.expired()).length === 1, { timeout: 10_000, interval: 2 });
  expect(await ports.acquire('thief', LONG)).toBeNull();

  expect(await ports.renew(lease, LONG)).toBe(true);
  expect(await ports.expired()).toEqual([]);

  expect(await ports.renew(lease, 1)).toBe(true);
  await vi.waitUntil(async () => (await ports.expired()).length === 1, { timeout: 10_000, interval: 2 });
  const [dead] = await ports.expired();
  expect(dead).toMatchObject({ port: lease.port, token: lease.token, owner: 'cell' });
  expect(await ports.release(dead ?? lease)).toBe(true);
  expect(await ports.renew(lease, LONG)).toBe(false);
  expect((await take(ports)).port).toBe(lease.port);
});

test('pools with overlapping ranges on one host never share a port, and each stays in its range', async () => {
  const host = newHost();
  const [low, high] = [pool(9_000, 9_005, host), pool(9_004, 9_009, host)];
  const early = await take(high);
  expect(await takeAll(low)).not.toContain(early.port);
  const rest = await takeAll(high);
  expect([...rest, early.port].every(port => port >= 9_004 && port <= 9_009)).toBe(true);
  const held = (await low.held()).map(lease => lease.port).sort((a, b) => a - b);
  expect(held).toEqual(Array.from({ length: 10 }, (_, index) => 9_000 + index));
});

test('a small range is found behind a thousand free ports of another', async () => {
  const host = newHost();
  const wide = new PortLeases(redis, { host });
  await wide.release(await take(wide));
  expect(await takeAll(pool(9_990, 9_992, host))).toEqual([9_990, 9_991, 9_992]);
});

test('hosts do not see each other', async () => {
  const [here, there] = [pool(9_000, 9_000), pool(9_000, 9_000)];
  expect((await take(here)).port).toBe((await take(there)).port);
});

test('tokens rise though Redis forgot the last one, and though its clock was set back', async () => {
  const host = newHost();
  const ports = pool(9_000, 9_009, host);
  const first = await take(ports);
  await redis.del(portKeys('cellpool', host).fence);
  const second = await take(ports);
  expect(BigInt(second.token)).toBeGreaterThan(BigInt(first.token));

  const ahead = BigInt(second.token) + 86_400_000_000n;
  await redis.set(portKeys('cellpool', host).fence, String(ahead));
  expect((await take(ports)).token).toBe(String(ahead + 1n));
});

test('a clock that was set back by days starves nobody and hides no dead lease', async () => {
  const host = newHost();
  const ports = pool(9_000, 9_001, host);
  const keys = portKeys('cellpool', host);
  const [free, leased] = [await take(ports), await take(ports)];
  await ports.release(free);
  const future = Date.now() + 10 * 24 * HOUR;
  await redis.zadd(keys.free, future * 1_000, free.port);
  await redis.zadd(keys.leased, future, leased.port);
  expect((await take(ports)).port).toBe(free.port);
  expect((await ports.expired()).map(lease => lease.port)).toEqual([leased.port]);
});

test('scripts work again after the server forgot them', async () => {
  const ports = pool(9_000, 9_009);
  const lease = await take(ports);
  await redis.script('FLUSH');
  expect(await ports.renew(lease, LONG)).toBe(true);
  expect(await ports.release(lease)).toBe(true);
});

test.each<PortRange>([
  { from: 1_023, to: 2_000 },
  { from: 9_000, to: 32_768 },
  { from: 9_001, to: 9_000 },
  { from: 9_000.5, to: 9_001 },
  { from: Number.NaN, to: 9_001 },
  { from: 4_096, to: 4_096 },
])('the range $from to $to is refused', range => {
  expect(() => new PortLeases(redis, { host: 'host', range })).toThrow(InvalidInput);
});

test('a host name or a prefix that would break the keys is refused', () => {
  for (const bad of ['', 'a b', 'a{b}', 'a\n']) {
    expect(() => new PortLeases(redis, { host: bad })).toThrow(InvalidInput);
    expect(() => new PortLeases(redis, { host: 'host', prefix: bad })).toThrow(InvalidInput);
  }
});

test('a time that is no time is refused', async () => {
  const ports = pool(9_000, 9_009);
  for (const bad of [0, -1, 1.5, Number.NaN, 90_000_000]) {
    await expect(ports.acquire('cell', bad)).rejects.toThrow(InvalidInput);
  }
  const lease = await take(ports);
  await expect(ports.renew(lease, 0)).rejects.toThrow(InvalidInput);
  await expect(ports.release(lease, -1)).rejects.toThrow(InvalidInput);
});

test('no port is leased twice by processes that work at once, also when some are killed', async () => {
  const host = newHost();
  const start = (rounds: number) => startFixture('lessee.mjs', [compiled, server.socket, host, String(rounds)]);
  const [victim, ...others] = [start(1_000_000), start(400), start(400), start(400)];
  // Listened for from the first: they may be done before the victim is at work.
  const said = Promise.all(others.map(other => other.line('leased ')));
  await victim.line('working');
  victim.child.kill('SIGKILL');
  expect((await said).map(line => Number(line.split(' ')[1])).every(count => count > 0)).toBe(true);
  await Promise.all(others.map(({ child }) => child));

  const held = await pool(9_000, 9_011, host).held();
  expect(held.every(lease => lease.owner === `pid:${victim.child.pid}`)).toBe(true);
});
