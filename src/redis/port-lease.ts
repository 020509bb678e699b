/**
 * Ports of one host, each leased to one owner at a time. A lease carries a token that rises with every lease, so an
 * owner that lost its port cannot touch the lease of the next one.
 *
 * An expired lease is still a lease: its process may live on, only its renewals stopped. Expiry makes it a case for
 * the reaper of the same host: list with `expired()`, make sure that the owner is dead, then `release()` it.
 * When Redis is lost between a command and its reply, a client that waits for Redis sends the command again: an
 * `acquire` may then leave a second lease of the same owner that nobody renews, and the reaper finds that one too.
 */
import type { Redis } from 'ioredis';
import { type Fault, InvalidInput } from '../errors.ts';
import { DEFAULT_PREFIX, portKeys } from './keys.ts';
import { ACQUIRE, AHEAD_MAX_MS, EXPIRED, HELD, RELEASE, RENEW } from './port-lease-scripts.ts';
import { Script } from './script.ts';

export interface PortLease {
  readonly port: number;
  /** Decimal; larger than that of every lease before on this host, also after Redis lost its last second. */
  readonly token: string;
  /** Epoch ms by the clock of Redis. */
  readonly expiresAt: number;
}

export interface HeldPortLease extends PortLease {
  readonly owner: string;
}

export interface PortCounts {
  /** Expired leases too: their processes may live. */
  leased: number;
  /** Of all ranges that workers of the host have named so far; some of them may have to rest for a moment. */
  free: number;
}

export interface PortRange {
  readonly from: number;
  /** Included. */
  readonly to: number;
}

export interface PortLeasesOptions {
  /** Of all keys; default `cellpool`. */
  prefix?: string;
  /** Name of the host whose ports these are. */
  host: string;
  /** Default 9000 to 9999. */
  range?: PortRange;
}

export const DEFAULT_PORT_RANGE: PortRange = { from: 9_000, to: 9_999 };
/** opencode's own default: a server that somebody started by hand sits there. */
const NEVER_LEASED = 4_096;
const LOWEST = 1_024;
/** From 32768 on the kernel of Linux gives ports to outgoing connections. */
const HIGHEST = 32_767;

const acquire = new Script(ACQUIRE);
const renew = new Script(RENEW);
const release = new Script(RELEASE);
const held = new Script(HELD);
const expired = new Script(EXPIRED);

export class PortLeases {
  readonly #redis: Redis;
  readonly #keys: readonly string[];
  readonly #range: PortRange;

  /** The client stays the caller's. Throws `InvalidInput` for a bad range, host or prefix. */
  constructor(redis: Redis, options: PortLeasesOptions) {
    const keys = portKeys(options.prefix ?? DEFAULT_PREFIX, options.host);
    this.#redis = redis;
    this.#keys = [keys.free, keys.leased, keys.owner, keys.fence, keys.ranges];
    this.#range = checkedRange(options.range ?? DEFAULT_PORT_RANGE);
  }

  /**
   * Leases the port that has been free longest, or returns null when none is free. `owner` is for the reaper; the
   * lease can be reclaimed `ttlMs` (1 ms to 1 day) after the last renewal. Throws `InvalidInput`.
   */
  async acquire(owner: string, ttlMs: number): Promise<PortLease | null> {
    const { from, to } = this.#range;
    const args = [from, to, checkedMs(ttlMs, 1, 'ttlMs'), owner, NEVER_LEASED];
    const reply = (await acquire.run(this.#redis, this.#keys, args)) as [string, string, string] | null;
    if (reply === null) return null;
    return { port: Number(reply[0]), token: reply[1], expiresAt: Number(reply[2]) };
  }

  /** Holds the lease for `ttlMs` (1 ms to 1 day) from now, even when it had expired. False: no longer ours. */
  async renew(lease: Pick<PortLease, 'port' | 'token'>, ttlMs: number): Promise<boolean> {
    const args = [lease.port, lease.token, checkedMs(ttlMs, 1, 'ttlMs')];
    return (await renew.run(this.#redis, this.#keys, args)) === 1;
  }

  /** Gives the port back, to be leased again after `cooldownMs` (at most 1 day). False: was not ours; harmless. */
  async release(lease: Pick<PortLease, 'port' | 'token'>, cooldownMs = 0): Promise<boolean> {
    const args = [lease.port, lease.token, checkedMs(cooldownMs, 0, 'cooldownMs')];
    return (await release.run(this.#redis, this.#keys, args)) === 1;
  }

  /** Every lease of the host, whatever range it came from; the first to expire first. */
  async held(): Promise<HeldPortLease[]> {
    return entries(await held.run(this.#redis, this.#keys, []));
  }

  /** How many ports there are of each kind. */
  async counts(): Promise<PortCounts> {
    const [free = '', leasedKey = ''] = this.#keys;
    const [leasedCount, freeCount] = await Promise.all([this.#redis.zcard(leasedKey), this.#redis.zcard(free)]);
    return { leased: leasedCount, free: freeCount };
  }

  /** Those of `held()` that have expired. */
  async expired(): Promise<HeldPortLease[]> {
    return entries(await expired.run(this.#redis, this.#keys, []));
  }
}

function entries(reply: unknown): HeldPortLease[] {
  const fields = reply as string[];
  return Array.from({ length: fields.length / 3 }, (_, index) => {
    const [port = '', holder = '', expiresAt = ''] = fields.slice(index * 3, index * 3 + 3);
    const colon = holder.indexOf(':');
    const [token, owner] = [holder.slice(0, colon), holder.slice(colon + 1)];
    return { port: Number(port), token, owner, expiresAt: Number(expiresAt) };
  });
}

function checkedRange(range: PortRange): PortRange {
  const { from, to } = range;
  const faults: Fault[] = [];
  for (const [where, port] of Object.entries({ from, to })) {
    if (Number.isInteger(port) && port >= LOWEST && port <= HIGHEST) continue;
    faults.push({
      where: `port range, ${where}`,
      what: `must be a whole number from ${LOWEST} to ${HIGHEST}, not ${port}`,
    });
  }
  if (from > to) faults.push({ where: 'port range', what: `begins (${from}) after its end (${to})` });
  if (from === NEVER_LEASED && to === NEVER_LEASED) {
    faults.push({ where: 'port range', what: `has only port ${NEVER_LEASED}, which is never leased` });
  }
  if (faults.length > 0) throw new InvalidInput(faults);
  return { from, to };
}

function checkedMs(value: number, least: number, where: string): number {
  if (Number.isInteger(value) && value >= least && value <= AHEAD_MAX_MS) return value;
  throw new InvalidInput([
    { where, what: `must be whole milliseconds from ${least} to ${AHEAD_MAX_MS}, not ${value}` },
  ]);
}
