/** All that metrics tell of a pool, read from Redis at one moment. */
import { type DiskUse, DiskUses } from '../redis/disk-use.ts';
import { type PortCounts, PortLeases } from '../redis/port-lease.ts';
import { type FleetState, Slots } from '../redis/slots.ts';
import { Tally, type Totals } from '../redis/tally.ts';
import type { ViewContext } from './view/context.ts';
import type { PoolFacts } from './view/facts.ts';
import { readPool } from './view/pool-facts.ts';

export interface PoolReading {
  pool: PoolFacts;
  totals: Totals;
  /** By host that has a worker or cells. */
  ports: Map<string, PortCounts>;
  /** By host that has been measured within the last day. */
  disk: Map<string, DiskUse>;
  /** The caps, and the slots that are leased. */
  fleet: FleetState;
  roundTripMs: number;
}

/** @throws the error of Redis when it is away */
export async function readForMetrics(context: ViewContext): Promise<PoolReading> {
  const { redis, prefix } = context;
  const asked = performance.now();
  await redis.ping();
  const roundTripMs = performance.now() - asked;
  const [pool, totals, disk, fleet] = await Promise.all([
    readPool(context, { hours: 1, latest: 0 }),
    new Tally(redis, { prefix }).totals(),
    new DiskUses(redis, { prefix }).list(),
    new Slots(redis, { prefix }).list(),
  ]);
  const hosts = [...new Set([...pool.workers, ...pool.cells].map(({ host }) => host))].filter(isHost);
  const counts = await Promise.all(hosts.map(host => new PortLeases(redis, { prefix, host }).counts()));
  const ports = new Map(hosts.map((host, at) => [host, counts[at] ?? { leased: 0, free: 0 }]));
  return { pool, totals, ports, disk, fleet, roundTripMs };
}

/** Of a worker it is known what it says of itself. */
function isHost(name: string): boolean {
  return /^[A-Za-z0-9._-]{1,255}$/.test(name);
}
