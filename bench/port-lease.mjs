// Port leases against the naive way (SET NX, port by port) in one run: 50 clients on 1000 ports of which 950 are
// leased already. Run `npm run build` first, then `node bench/port-lease.mjs`. Takes about 15 s.
import { mkdtempSync, rmSync } from 'node:fs';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { connectRedis } from '../dist/redis/connection.js';
import { openRedis } from '../dist/redis/open-redis.js';
import { PortLeases } from '../dist/redis/port-lease.js';
import { keep } from './lib/figures.mjs';

const CLIENTS = 50;
const FROM = 9_000;
const PORTS = 1_000;
const LEASED = 950;
const TTL_MS = 600_000;
const WARM_UP_MS = 500;
const MEASURE_MS = 1_500;
const ROUNDS = 3;
/** Acquire and release together count as one. */
const BAR = 10_000;

const IF_MINE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";

/** Begins at a random port, or all clients would queue up at the same ones. */
function naive(client) {
  let tokens = 0;
  return {
    acquire: async owner => {
      tokens += 1;
      const token = `${owner}:${tokens}`;
      const start = Math.floor(Math.random() * PORTS);
      for (let step = 0; step < PORTS; step += 1) {
        const key = `naive:${FROM + ((start + step) % PORTS)}`;
        if ((await client.set(key, token, 'PX', TTL_MS, 'NX')) === 'OK') return { key, token };
      }
      return null;
    },
    release: ({ key, token }) => client.eval(IF_MINE, 1, key, token),
  };
}

function sorted(client) {
  const ports = new PortLeases(client, { host: 'bench', prefix: 'bench', range: { from: FROM, to: FROM + PORTS - 1 } });
  return { acquire: owner => ports.acquire(owner, TTL_MS), release: lease => ports.release(lease) };
}

/** Pairs of acquire and release a second, and how often no port was found. */
async function measure(sides) {
  const begin = performance.now() + WARM_UP_MS;
  const end = begin + MEASURE_MS;
  let [pairs, misses] = [0, 0];
  const work = async (side, index) => {
    for (let now = performance.now(); now < end; now = performance.now()) {
      const lease = await side.acquire(`client-${index}`);
      if (lease !== null) await side.release(lease);
      if (now < begin) continue;
      if (lease === null) misses += 1;
      else pairs += 1;
    }
  };
  await Promise.all(sides.map(work));
  return { pairsPerSecond: Math.round(pairs / (MEASURE_MS / 1_000)), misses };
}

const loadBefore = Number(loadavg()[0]?.toFixed(2));
const home = mkdtempSync(join(tmpdir(), 'cellpool-bench-'));
const say = text => process.stderr.write(`${text}\n`);
const redis = await openRedis({ redisUrl: process.env.REDIS_URL, home, say });
const clients = Array.from({ length: CLIENTS }, () => connectRedis(redis.address, 'worker'));
try {
  const sides = { sorted: clients.map(sorted), naive: clients.map(naive) };
  for (const side of Object.values(sides)) {
    for (let port = 0; port < LEASED; port += 1) await side[0].acquire('filler');
  }
  const rounds = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    rounds.push({ sorted: await measure(sides.sorted), naive: await measure(sides.naive) });
  }
  // The median, not the best: the sides take turns, so what else the machine does hits both.
  const median = value => rounds.map(value).sort((a, b) => a - b)[Math.floor(ROUNDS / 2)];
  const sortedPairs = median(round => round.sorted.pairsPerSecond);
  const result = {
    setting: { clients: CLIENTS, ports: PORTS, leased: LEASED, cpus: cpus().length, node: process.version },
    /** Of the last minute, before the run: more than the CPUs means that others had their share of the machine. */
    loadBefore,
    sortedPairsPerSecond: sortedPairs,
    naivePairsPerSecond: median(round => round.naive.pairsPerSecond),
    ratio: Number(median(round => round.sorted.pairsPerSecond / round.naive.pairsPerSecond).toFixed(1)),
    bar: BAR,
    reached: sortedPairs >= BAR,
    rounds,
  };
  keep('port-lease', result);
  process.stdout.write(
    `sorted sets  ${result.sortedPairsPerSecond} acquire+release/s\n` +
      `SET NX       ${result.naivePairsPerSecond} acquire+release/s\n` +
      `ratio        ${result.ratio}   bar of ${BAR}/s ${result.reached ? 'reached' : 'missed'}\n`,
  );
} finally {
  await clients[0].del(...(await clients[0].keys('bench:*')), ...(await clients[0].keys('naive:*')), 'none');
  for (const client of clients) client.disconnect();
  await redis.close();
  rmSync(home, { recursive: true });
}
