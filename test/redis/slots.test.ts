import { appendFileSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { InvalidInput } from '../../src/errors.ts';
import { connectRedis } from '../../src/redis/connection.ts';
import { slotKeys } from '../../src/redis/fleet-keys.ts';
import { openPrivateServer } from '../../src/redis/private-server.ts';
import { roomIn, type SlotOwner, Slots, whyFull } from '../../src/redis/slots.ts';
import { compiledRooms } from '../support/compiled.ts';
import { redisForFile, serverPid, startFixture, temporaryFolder } from './support.ts';

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

let prefixes = 0;
function newFleet(options: { ttlMs?: number; settleMs?: number } = {}) {
  prefixes += 1;
  const prefix = `slots-${prefixes}`;
  return { slots: new Slots(redis, { prefix, ...options }), keys: slotKeys(prefix), prefix };
}

const owner = (taskId: string, worker = 'w1', host = 'here'): SlotOwner => ({
  ...{ host, home: '/home', taskId, attempt: 1, repository: '/repo' },
  worker: { id: worker, pid: 7, startTime: '1', bootId: 'b', pidNamespace: 'n' },
});
const isGranted = async (slots: Slots, one: SlotOwner, hostCap: number | null = null) =>
  (await slots.acquire(one, hostCap)).granted;
const tasksOf = async (slots: Slots) => (await slots.list()).slots.map(({ taskId }) => taskId);
/** As if Redis had been started anew since it was last asked. */
const startAnew = (keys: ReturnType<typeof newFleet>['keys']) => redis.hset(keys.fleet, 'run', 'f00');

describe('a slot', () => {
  test('is granted as long as there is one, and again when one is given back', async () => {
    const { slots } = newFleet();
    await slots.set({ cells: 2 });
    expect(await isGranted(slots, owner('a'))).toBe(true);
    expect(await isGranted(slots, owner('b', 'w2', 'there'))).toBe(true);
    const { granted, view } = await slots.acquire(owner('c', 'w2', 'there'), null);
    expect(granted).toBe(false);
    expect(view).toMatchObject({ used: 2, usedOnHost: 1, cells: 2, hostCells: null });
    expect(whyFull(view, null)).toBe("the fleet's cap of 2 cells is reached (cellpool fleet)");

    expect(await slots.release([owner('a')])).toBe(1);
    expect(await isGranted(slots, owner('c'))).toBe(true);
    expect(await slots.release([owner('a')])).toBe(0);
    expect(await tasksOf(slots)).toEqual(['c', 'b']);
  });

  test('is counted, and no more, where there is no cap', async () => {
    const { slots } = newFleet();
    for (let index = 0; index < 20; index += 1) expect(await isGranted(slots, owner(`t${index}`))).toBe(true);
    const view = await slots.keep(owner(''), [owner('t1')]);
    expect(view).toMatchObject({ used: 1, cells: null, hostCells: null });
    expect(roomIn(view, null)).toBe(Number.POSITIVE_INFINITY);
  });

  test('is the same one when its worker asks again, and counts once', async () => {
    const { slots } = newFleet();
    await slots.set({ cells: 1 });
    expect(await isGranted(slots, owner('a'))).toBe(true);
    expect(await isGranted(slots, owner('a'))).toBe(true);
    expect(await isGranted(slots, owner('a', 'w2'))).toBe(false);
    expect(await tasksOf(slots)).toEqual(['a']);
  });

  test('counts for its host too, whose cap is the least of the fleet’s and the worker’s own', async () => {
    const { slots } = newFleet();
    await slots.set({ hostCells: 2 });
    expect(await isGranted(slots, owner('a'), 3)).toBe(true);
    expect(await isGranted(slots, owner('b', 'w2'), 1)).toBe(false);
    expect(await isGranted(slots, owner('b', 'w2'), 3)).toBe(true);
    const { granted, view } = await slots.acquire(owner('c', 'w3'), 3);
    expect(granted).toBe(false);
    expect(whyFull(view, 3)).toBe('the cap of 2 cells on this host is reached');
    // A host whose name begins like ours is another one.
    expect(await isGranted(slots, owner('c', 'w4', 'here.too'), 1)).toBe(true);
    await slots.set({ hostCells: null });
    expect(await isGranted(slots, owner('c', 'w3'), 3)).toBe(true);
    expect(await isGranted(slots, owner('d', 'w3'), 3)).toBe(false);
  });

  test('is named by host and worker, so neither may hold what parts them', async () => {
    const { slots } = newFleet();
    await expect(slots.acquire(owner('a', 'w|1'), null)).rejects.toThrow(InvalidInput);
    await expect(slots.acquire(owner('a', 'w1', 'he|re'), null)).rejects.toThrow(InvalidInput);
  });

  test('of a host that is gone runs out, and is another’s then', async () => {
    const { slots, prefix } = newFleet({ ttlMs: 200 });
    // What it is granted is still there when it is looked at.
    const others = new Slots(redis, { prefix });
    await slots.set({ cells: 1 });
    expect(await isGranted(slots, owner('a'))).toBe(true);
    await vi.waitUntil(() => isGranted(others, owner('b', 'w2', 'there')), { timeout: 10_000, interval: 20 });
    expect(await tasksOf(others)).toEqual(['b']);
  });

  test('that was leased before the clock was set back runs out all the same', async () => {
    const { slots, keys } = newFleet({ ttlMs: 200 });
    await slots.set({ cells: 1 });
    await isGranted(slots, owner('a'));
    for (const slot of await redis.zrange(keys.leased, '0', '-1')) await redis.zincrby(keys.leased, 86_400_000, slot);
    await vi.waitUntil(() => isGranted(slots, owner('b', 'w2')), { timeout: 10_000, interval: 20 });
  });
});

describe('a worker that says what it has', () => {
  test('keeps it for longer than it was leased for', async () => {
    const { slots, keys } = newFleet();
    await isGranted(slots, owner('a'));
    const [slot = ''] = await redis.zrange(keys.leased, '0', '-1');
    await redis.zincrby(keys.leased, -59_000, slot);
    const before = Number(await redis.zscore(keys.leased, slot));
    await slots.keep(owner(''), [owner('a')]);
    expect(Number(await redis.zscore(keys.leased, slot))).toBeGreaterThanOrEqual(before + 59_000);
  });

  test('enters what Redis has lost, over the cap if need be: those cells live', async () => {
    const { slots, keys } = newFleet();
    await slots.set({ cells: 1 });
    await isGranted(slots, owner('a'));
    await redis.del(keys.leased, keys.owners);
    expect(await isGranted(slots, owner('b', 'w2'))).toBe(true);
    const view = await slots.keep(owner(''), [owner('a')]);
    expect(view).toMatchObject({ used: 2, cells: 1 });
    expect(roomIn(view, null)).toBe(0);
    expect(await tasksOf(slots)).toEqual(['a', 'b']);
  });

  test('releases what else stands in its name, but nothing that it has just asked for, and nothing of others', async () => {
    const { slots } = newFleet();
    for (const one of [owner('a'), owner('b'), owner('asked'), owner('a', 'w11'), owner('c', 'w1', 'there')]) {
      await isGranted(slots, one);
    }
    await slots.keep(owner(''), [owner('a')], [owner('asked'), owner('not-granted')]);
    expect((await slots.list()).slots.map(({ host, worker, taskId }) => `${host} ${worker.id} ${taskId}`)).toEqual([
      'here w11 a',
      'here w1 a',
      'here w1 asked',
      'there w1 c',
    ]);
    expect((await slots.list('here')).slots).toEqual((await slots.list()).slots.filter(({ host }) => host === 'here'));
    expect((await slots.list('her')).slots).toEqual([]);
  });
});

describe('a Redis that was started anew', () => {
  test('grants no slot until the workers can have said what they have, and takes what they say', async () => {
    const { slots, keys } = newFleet({ settleMs: 300 });
    await slots.set({ cells: 2 });
    await isGranted(slots, owner('a'));
    await startAnew(keys);
    await redis.del(keys.leased, keys.owners);
    const { granted, view } = await slots.acquire(owner('b', 'w2'), null);
    expect(granted).toBe(false);
    expect(view.settlingMs).toBeGreaterThan(0);
    expect(roomIn(view, null)).toBe(0);
    expect(whyFull(view, null)).toContain('started anew');
    await slots.keep(owner(''), [owner('a')]);
    await vi.waitUntil(() => isGranted(slots, owner('b', 'w2')), { timeout: 10_000, interval: 20 });
    expect(await isGranted(slots, owner('c', 'w2'))).toBe(false);
  });

  test('makes nobody wait where there is no cap, nor when it is asked for the first time', async () => {
    const { slots, keys } = newFleet();
    expect((await slots.acquire(owner('a'), null)).view.settlingMs).toBe(0);
    await startAnew(keys);
    const { granted, view } = await slots.acquire(owner('b'), null);
    expect(granted).toBe(true);
    expect(roomIn(view, null)).toBe(Number.POSITIVE_INFINITY);
    expect(roomIn(view, 5)).toBe(0);
  });

  test('is known for it by what it says of itself', async () => {
    const home = temporaryFolder();
    const own = await openPrivateServer(home);
    const client = connectRedis({ path: own.socket }, 'worker');
    try {
      const slots = new Slots(client);
      await slots.set({ cells: 2 });
      expect(await isGranted(slots, owner('a'))).toBe(true);
      process.kill(await serverPid(client), 'SIGKILL');
      // It is brought back by whoever uses it; it may have lost what it was told last.
      await vi.waitUntil(async () => (await slots.list().catch(() => null)) !== null, {
        timeout: 30_000,
        interval: 50,
      });
      const { granted, view } = await slots.acquire(owner('b'), null);
      expect(granted).toBe(false);
      expect(view.used).toBeLessThanOrEqual(1);
      expect(view.settlingMs).toBeGreaterThan(0);
    } finally {
      client.disconnect();
      await own.close();
    }
  });
});

test('nonsense in Redis is passed over, counts for what it may be, and hides nobody', async () => {
  const { slots, keys } = newFleet();
  await redis.set(keys.owners, 'text');
  await redis.hset(keys.fleet, { cells: 'many', hostCells: '-1', until: '1e300' });
  expect(await isGranted(slots, owner('a'))).toBe(true);
  const far = Date.now() + 30_000;
  await redis.zadd(keys.leased, far, 'here|w9|x', far, 'odd', far, 'here|w8|y');
  await redis.hset(keys.owners, { 'here|w9|x': '{', 'here|w8|y': JSON.stringify(owner('other', 'w8')) });
  const state = await slots.list();
  expect(state).toMatchObject({ cells: null, hostCells: null });
  expect(state.slots.map(({ taskId }) => taskId)).toEqual(['a']);
  await slots.set({ cells: 4 });
  expect(await isGranted(slots, owner('b'))).toBe(false);
});

test('caps are set, changed and taken away one by one', async () => {
  const { slots } = newFleet();
  await slots.set({ cells: 4, hostCells: 2 });
  expect(await slots.list()).toMatchObject({ cells: 4, hostCells: 2 });
  await slots.set({ cells: 3 });
  expect(await slots.list()).toMatchObject({ cells: 3, hostCells: 2 });
  await slots.set({ hostCells: null });
  expect(await slots.list()).toMatchObject({ cells: 3, hostCells: null });
});

test('processes that work at once never have more cells than the cap, also when some are killed and Redis forgets', async () => {
  const { prefix, slots, keys } = newFleet({ settleMs: 2_000 });
  const CAP = 5;
  await slots.set({ cells: CAP, hostCells: 3 });
  const folder = temporaryFolder();
  const file = join(folder, 'story');
  mkdirSync(folder, { recursive: true });
  appendFileSync(file, '');
  const start = (worker: string, host: string, rounds: number) =>
    startFixture('tenant.mjs', [compiled, server.socket, prefix, host, worker, file, String(rounds)]);
  const victims = [start('v1', 'here', 1_000_000), start('v2', 'there', 1_000_000)];
  const others = [start('w1', 'here', 30), start('w2', 'there', 30), start('w3', 'there', 30)];
  onTestFinished(() => {
    for (const { child } of [...victims, ...others]) child.kill('SIGKILL');
  });
  // Listened for from the first: they may be done before the victims are dead.
  const done = Promise.all(others.map(other => other.line('done')));
  await Promise.race([done, Promise.all(victims.map(victim => victim.line('working')))]);

  // Redis loses a slot that was granted in its last second, and is started anew: in one step, as a crash is.
  const [lost = ''] = await redis.zrevrange(keys.leased, '0', '0');
  await redis.multi().zrem(keys.leased, lost).hdel(keys.owners, lost).hset(keys.fleet, 'run', 'f00').exec();
  for (const victim of victims) {
    victim.child.kill('SIGKILL');
    await victim.child;
  }
  // Their cells end with them, which the story must tell before their slots are freed, as a reaper would.
  appendFileSync(file, 'dead v1\ndead v2\n');
  const left = (await slots.list()).slots.filter(({ worker }) => worker.id.startsWith('v'));
  await slots.release(left);

  await done;
  await Promise.all(others.map(({ child }) => child));
  const { most, mostOnHost, begun } = mostAtOnce(readFileSync(file, 'utf8'));
  expect(begun).toBeGreaterThan(90);
  expect(most).toBeGreaterThan(1);
  expect(most).toBeLessThanOrEqual(CAP);
  expect(mostOnHost).toBeLessThanOrEqual(3);
  expect((await slots.list()).slots).toEqual([]);
}, 60_000);

/** From lines `begin <host> <worker> <task>`, `end ...` and `dead <worker>`, in the order in which they happened. */
function mostAtOnce(story: string) {
  const live = new Map<string, { host: string; worker: string }>();
  let [most, mostOnHost, begun] = [0, 0, 0];
  for (const line of story.split('\n').filter(Boolean)) {
    const [what, ...words] = line.split(' ');
    if (what === 'dead') {
      for (const [key, { worker }] of live) if (worker === words[0]) live.delete(key);
      continue;
    }
    const [host = '', worker = ''] = words;
    if (what === 'end') live.delete(words.join(' '));
    else live.set(words.join(' '), { host, worker });
    if (what === 'begin') begun += 1;
    most = Math.max(most, live.size);
    mostOnHost = Math.max(mostOnHost, [...live.values()].filter(one => one.host === host).length);
  }
  return { most, mostOnHost, begun };
}
