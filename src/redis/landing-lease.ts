/**
 * Who lands on a target: one lander at a time, on whatever host. The lease has a number that is larger than all before
 * and runs out by itself; only the lander whose number it bears may move the target. As with the fence of an attempt, a
 * process may be stopped after it was permitted: for that, targets move by compare-and-swap.
 */
import type { Redis } from 'ioredis';
import { CellpoolError, messageOf } from '../errors.ts';
import { TooLate, within } from '../os/within.ts';
import { DEFAULT_PREFIX, type LandingKeys, landingKeys } from './keys.ts';
import { NUMBERS } from './lua.ts';
import { Script } from './script.ts';

/** A lander that died leaves its target to the next one after this long. */
export const LEASE_MS = 9_000;
/** A permit that took longer to arrive is stale: this process may have been stopped since it was given. */
const PERMIT_MS = 2_000;

/** KEYS: lease, fence. ARGV: ms. Returns the number, or false when somebody has it. Numbers rise also when forgotten. */
const TAKE = new Script(`${NUMBERS}
if redis.call('EXISTS', KEYS[1]) == 1 then return false end
local time = redis.call('TIME')
local number = tonumber(time[1]) * 1000000 + tonumber(time[2])
local last = tonumber(redis.call('GET', KEYS[2]) or '0') or 0
if last >= number then number = last + 1 end
local text = decimal(number)
redis.call('SET', KEYS[2], text)
redis.call('SET', KEYS[1], text, 'PX', ARGV[1])
return text
`);
/** KEYS: lease. ARGV: number, ms. */
const RENEW = new Script(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
`);
const RELEASE = new Script(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
`);

export interface LandingLease {
  /** Names repository and target. */
  readonly mark: string;
  /** Decimal. */
  readonly number: string;
}

export class LandingLeases {
  readonly #redis: Redis;
  readonly #keys: LandingKeys;

  /** The client stays the caller's. Throws `InvalidInput` for a bad prefix. */
  constructor(redis: Redis, { prefix = DEFAULT_PREFIX }: { prefix?: string } = {}) {
    this.#redis = redis;
    this.#keys = landingKeys(prefix);
  }

  /** null when another lander has it. @throws the error of Redis */
  async take(mark: string): Promise<LandingLease | null> {
    const number = await TAKE.run(this.#redis, [this.#key(mark), this.#keys.fence], [LEASE_MS]);
    return typeof number === 'string' ? { mark, number } : null;
  }

  /** False when it is not ours any more. @throws the error of Redis */
  async renew({ mark, number }: LandingLease): Promise<boolean> {
    return (await RENEW.run(this.#redis, [this.#key(mark)], [number, LEASE_MS])) === 1;
  }

  /** Returns when the target may be moved; act on it at once. @throws {CellpoolError} FENCED */
  async permit(lease: LandingLease): Promise<void> {
    const began = performance.now();
    let why: string | null = null;
    try {
      const isOurs = await within(PERMIT_MS, undefined, () => this.renew(lease));
      if (!isOurs) why = 'another lander may have the target by now';
    } catch (error) {
      why = error instanceof TooLate ? 'no permit came in time' : `Redis did not permit it: ${messageOf(error)}`;
    }
    if (performance.now() - began > PERMIT_MS) why ??= 'the permit came too late';
    if (why === null) return;
    throw new CellpoolError('FENCED', `nothing lands: ${why}`, {
      hint: 'Nothing to do: whoever has the lease goes on.',
      facts: { ...lease, why },
    });
  }

  /** Harmless when it is not ours any more. @throws the error of Redis */
  async release({ mark, number }: LandingLease): Promise<void> {
    await RELEASE.run(this.#redis, [this.#key(mark)], [number]);
  }

  #key(mark: string): string {
    return `${this.#keys.lease}${mark}`;
  }
}
