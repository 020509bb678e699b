/** Leased ports on a real Redis, with real programs that sit on some of them. */
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from 'vitest';
import { HeldPort, isBindable } from '../../src/cell/held-port.ts';
import { silentLogger } from '../../src/observe/logger.ts';
import { PortLeases } from '../../src/redis/port-lease.ts';
import { BOUND } from '../support/bound.ts';
import { occupy, portRangeOfThisFile } from '../support/cell.ts';
import { type TestRedis, testRedis } from '../support/redis.ts';

let redis: TestRedis;
let client: Awaited<ReturnType<TestRedis['connect']>>;
beforeAll(async () => {
  redis = await testRedis();
  client = await redis.connect('worker');
});
afterAll(() => redis.close());

const { from } = portRangeOfThisFile();
const leasesOf = (count: number) =>
  new PortLeases(client, { host: 'here', prefix: redis.prefix(), range: { from, to: from + count - 1 } });
const take = (ports: PortLeases, owner = 'a-cell') => HeldPort.take(ports, owner, silentLogger);
const sitOn = async (port: number, host?: string) => {
  const stranger = await occupy(port, host);
  onTestFinished(() => stranger.close());
};
const held = async (ports: PortLeases) => (await ports.held()).map(({ port, owner }) => `${port} ${owner}`);

test('a port is leased under the name of its owner, and given back once', async () => {
  const ports = leasesOf(3);
  const port = await take(ports);
  expect(await held(ports)).toEqual([`${from} a-cell`]);
  expect(port.lost.aborted).toBe(false);
  await port.release();
  expect(await held(ports)).toEqual([]);
  const next = await ports.acquire('another', 1_000);
  await port.release();
  expect(await held(ports)).toHaveLength(1);
  if (next !== null) await ports.release(next);
});

test.each([undefined, '0.0.0.0', '127.0.0.1', '::'])(
  'a port on which a program listens at %s is passed by',
  async host => {
    const ports = leasesOf(2);
    await sitOn(from, host);
    expect(await isBindable(from)).toBe(false);
    const port = await take(ports);
    expect(port.lease.port).toBe(from + 1);
    expect(await held(ports)).toEqual([`${from + 1} a-cell`]);
    // The occupied one is set aside for a while, so nobody runs into it again at once.
    expect(await ports.acquire('another', 1_000)).toBeNull();
    await port.release();
  },
);

test('a port that turns out to be occupied is exchanged for another', async () => {
  const ports = leasesOf(2);
  const port = await take(ports);
  expect(port.lease.port).toBe(from);
  await port.exchange();
  expect(port.lease.port).toBe(from + 1);
  expect(await held(ports)).toEqual([`${from + 1} a-cell`]);
  expect(port.lost.aborted).toBe(false);
  await port.release();
  expect(await held(ports)).toEqual([]);
});

test('an exchange without another port fails and keeps the lease, so that it can still be given back', async () => {
  const ports = leasesOf(1);
  const port = await take(ports);
  await expect(port.exchange()).rejects.toMatchObject({ code: 'NO_FREE_PORT' });
  expect(await held(ports)).toEqual([`${from} a-cell`]);
  await port.release();
  expect(await held(ports)).toEqual([]);
});

test('a lease of ours is proven by Redis itself', async () => {
  const ports = leasesOf(1);
  const port = await take(ports);
  await port.prove();
  expect(port.lost.aborted).toBe(false);
  await port.release();
});

test('a lease that another owner has got is not proven, and counts as lost from then on', async () => {
  const ports = leasesOf(1);
  const port = await take(ports);
  await ports.release(port.lease);
  const next = await ports.acquire('another', 60_000);
  await expect(port.prove()).rejects.toMatchObject({ code: 'LEASE_LOST', facts: { port: from } });
  expect(port.lost.aborted).toBe(true);
  expect(await held(ports)).toEqual([`${from} another`]);
  if (next !== null) await ports.release(next);
  await expect(port.prove()).rejects.toMatchObject({ code: 'LEASE_LOST' });
  await port.release();
});

test('a lease is not proven by a Redis that says nothing, and is still ours when it speaks again', async () => {
  const ports = leasesOf(1);
  const port = await take(ports);
  const pid = Number(/process_id:(\d+)/.exec(await client.info('server'))?.[1]);
  process.kill(pid, 'SIGSTOP');
  try {
    await expect(port.prove()).rejects.toMatchObject({ code: 'FENCED', retryable: true });
  } finally {
    process.kill(pid, 'SIGCONT');
  }
  await port.prove();
  expect(port.lost.aborted).toBe(false);
  await port.release();
});

test('when every port is leased or occupied there is no free port, and none is left leased by the search', async () => {
  const ports = leasesOf(3);
  const first = await take(ports, 'first');
  await sitOn(from + 1);
  await sitOn(from + 2);
  await expect(take(ports, 'second')).rejects.toMatchObject({
    code: 'NO_FREE_PORT',
    retryable: true,
    hint: expect.stringContaining('--ports'),
  });
  expect(await held(ports)).toEqual([`${from} first`]);
  await first.release();
});

test('a port that was given back is bindable again at once', async () => {
  const ports = leasesOf(1);
  for (let round = 0; round < 3; round += 1) {
    const port = await take(ports);
    expect(port.lease.port).toBe(from);
    await port.release();
  }
});

test('many cells at once get a port each', async () => {
  const ports = leasesOf(15);
  const taken = await Promise.all(Array.from({ length: 15 }, (_, cell) => take(ports, `cell-${cell}`)));
  expect(new Set(taken.map(port => port.lease.port)).size).toBe(15);
  await Promise.all(taken.map(port => port.release()));
  expect(await held(ports)).toEqual([]);
});

test('whoever does not want a port any more does not wait for it, and one that comes late is given back', async () => {
  const ports = leasesOf(1);
  const other = await redis.connect('worker');
  const leases = new PortLeases(other, { host: 'late', prefix: redis.prefix(), range: { from, to: from } });
  const pid = Number(/process_id:(\d+)/.exec(await client.info('server'))?.[1]);
  const wanted = new AbortController();
  expect(await held(ports)).toEqual([]);
  process.kill(pid, 'SIGSTOP');
  try {
    const taking = HeldPort.take(leases, 'a-cell', silentLogger, wanted.signal);
    wanted.abort(new Error('not wanted'));
    await expect(taking).rejects.toThrow('not wanted');
  } finally {
    process.kill(pid, 'SIGCONT');
  }
  await vi.waitFor(async () => expect(await leases.acquire('another', 1_000)).not.toBeNull(), BOUND);
  expect(await held(leases)).toEqual([`${from} another`]);
});
