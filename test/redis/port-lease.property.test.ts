/** Random sequences of operations by several pools, against a model of what a host's leases promise. */
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type PortLease, PortLeases, type PortRange } from '../../src/redis/port-lease.ts';
import { redisForFile } from './support.ts';

const HOUR = 3_600_000;
/** Overlapping, one inside another, and 4096 in the midst. */
const RANGES: PortRange[] = [
  { from: 4_093, to: 4_099 },
  { from: 4_093, to: 4_099 },
  { from: 4_096, to: 4_101 },
  { from: 4_098, to: 4_098 },
];

type Step =
  | { do: 'acquire'; pool: number; ttlMs: number }
  | { do: 'renew'; pool: number; pick: number }
  | { do: 'forge'; pool: number; pick: number }
  | { do: 'release'; pool: number; pick: number; cooldownMs: number }
  | { do: 'reclaim'; pool: number };

const pool = fc.nat(RANGES.length - 1);
const pick = fc.nat(20);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant('acquire' as const), pool, ttlMs: fc.constantFrom(1, HOUR) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('renew' as const), pool, pick }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('forge' as const), pool, pick }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('release' as const),
      pool,
      pick,
      cooldownMs: fc.constantFrom(0, 0, 0, HOUR),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('reclaim' as const), pool }) },
);

let server: Awaited<ReturnType<typeof redisForFile>>;
beforeAll(async () => {
  server = await redisForFile();
});
afterAll(() => server.close());

class Model {
  readonly #pools: PortLeases[];
  readonly #held = new Map<number, PortLease>();
  readonly #ended: PortLease[] = [];
  readonly #cooling = new Set<number>();
  readonly #mayExpire = new Set<string>();
  #lastToken = 0n;

  constructor(host: string) {
    this.#pools = RANGES.map(range => new PortLeases(server.client(), { host, range, prefix: 'model' }));
  }

  async run(step: Step): Promise<void> {
    const pool = this.#pools[step.pool];
    const range = RANGES[step.pool];
    if (pool === undefined || range === undefined) throw new Error('no such pool');
    if (step.do === 'acquire') return this.#acquire(pool, range, step.ttlMs);
    if (step.do === 'reclaim') return this.#reclaim(pool);
    // One that is held, or one that was and is no more.
    const known = [...this.#held.values(), ...this.#ended];
    const lease = known[step.pick % Math.max(known.length, 1)];
    if (lease === undefined) return;
    const ours = this.#held.get(lease.port) === lease;
    if (step.do === 'renew') {
      expect(await pool.renew(lease, HOUR)).toBe(ours);
      if (ours) this.#mayExpire.delete(lease.token);
    } else if (step.do === 'forge') {
      const forged = { ...lease, token: String(BigInt(lease.token) + 1n) };
      if (this.#held.get(lease.port)?.token === forged.token) return;
      expect(await pool.renew(forged, HOUR)).toBe(false);
      expect(await pool.release(forged)).toBe(false);
    } else {
      expect(await pool.release(lease, step.cooldownMs)).toBe(ours);
      if (ours) this.#end(lease, step.cooldownMs);
    }
  }

  async #acquire(pool: PortLeases, range: PortRange, ttlMs: number): Promise<void> {
    const lease = await pool.acquire('cell', ttlMs);
    const free = [];
    for (let port = range.from; port <= range.to; port += 1) {
      if (port !== 4_096 && !this.#held.has(port) && !this.#cooling.has(port)) free.push(port);
    }
    if (lease === null) {
      expect(free).toEqual([]);
      return;
    }
    expect(free).toContain(lease.port);
    expect(BigInt(lease.token)).toBeGreaterThan(this.#lastToken);
    this.#lastToken = BigInt(lease.token);
    this.#held.set(lease.port, lease);
    if (ttlMs === 1) this.#mayExpire.add(lease.token);
  }

  async #reclaim(pool: PortLeases): Promise<void> {
    for (const lease of await pool.expired()) {
      const known = this.#held.get(lease.port);
      expect(lease.token).toBe(known?.token);
      expect(this.#mayExpire.has(lease.token)).toBe(true);
      expect(await pool.release(lease)).toBe(true);
      if (known !== undefined) this.#end(known, 0);
    }
  }

  async check(): Promise<void> {
    const held = (await this.#pools[0]?.held()) ?? [];
    const tokens = (leases: Iterable<PortLease>) => [...leases].map(({ port, token }) => `${port} ${token}`).sort();
    expect(tokens(held)).toEqual(tokens(this.#held.values()));
  }

  #end(lease: PortLease, cooldownMs: number): void {
    this.#held.delete(lease.port);
    this.#ended.push(lease);
    if (cooldownMs > 0) this.#cooling.add(lease.port);
  }
}

test('never a port twice, never one that cools or lies outside the range, and tokens only rise', async () => {
  let host = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 80 }), async steps => {
      host += 1;
      const model = new Model(`host-${host}`);
      for (const one of steps) await model.run(one);
      await model.check();
    }),
    { numRuns: 100 },
  );
});
