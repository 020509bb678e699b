/**
 * The landing queue as landers use it. BullMQ hands out the head of a line; a lander wants all of one target's, in their
 * order. So it looks at those that wait and takes the ones it wants, each with a lock like BullMQ's own, in one script.
 * The same script that looks puts back what a lander had that has died: an active job without its lock.
 */
import type { Redis } from 'ioredis';
import { CellpoolError } from '../errors.ts';
import { LANDING_QUEUE, TASK_QUEUE } from '../job/names.ts';
import { checked, DEFAULT_PREFIX } from './keys.ts';
import { Script } from './script.ts';

/**
 * KEYS: wait, active, events, meta of this queue and of the one of tasks. ARGV: what keys of jobs begin with, how many, and
 * after how many at the head. Returns ids and data by turns; false while one of the queues is paused.
 */
const LOOK = new Script(`
local from = tonumber(ARGV[3])
if from == 0 then
  for _, id in ipairs(redis.call('LRANGE', KEYS[2], 0, -1)) do
    if redis.call('EXISTS', ARGV[1] .. id .. ':lock') == 0 then
      redis.call('LREM', KEYS[2], 1, id)
      redis.call('RPUSH', KEYS[1], id)
      redis.call('XADD', KEYS[3], 'MAXLEN', '~', 10000, '*', 'event', 'stalled', 'jobId', id)
    end
  end
end
for _, meta in ipairs({KEYS[4], KEYS[5]}) do
  if redis.call('HEXISTS', meta, 'paused') == 1 then return false end
end
local found = {}
local ids = redis.call('LRANGE', KEYS[1], -(from + tonumber(ARGV[2])), -(from + 1))
for at = #ids, 1, -1 do
  local data = redis.pcall('HGET', ARGV[1] .. ids[at], 'data')
  found[#found + 1] = ids[at]
  found[#found + 1] = type(data) == 'string' and data or ''
end
return found
`);

/**
 * KEYS: wait, failed, events. ARGV: beginning, id, epoch ms, reason. As BullMQ fails a job, for one that it could not read.
 */
const DROP = new Script(`
if redis.call('LREM', KEYS[1], 0, ARGV[2]) == 0 then return 0 end
local job = ARGV[1] .. ARGV[2]
if redis.call('TYPE', job).ok ~= 'hash' then return 1 end
redis.call('HSET', job, 'failedReason', ARGV[4], 'finishedOn', ARGV[3])
redis.call('ZADD', KEYS[2], ARGV[3], ARGV[2])
redis.call('XADD', KEYS[3], 'MAXLEN', '~', 10000, '*', 'event', 'failed', 'jobId', ARGV[2],
  'failedReason', ARGV[4], 'prev', 'waiting')
return 1
`);

/** KEYS: wait, active, events. ARGV: beginning, token, ms, epoch ms, ids. Returns those that are taken. */
const TAKE = new Script(`
local taken = {}
for at = 5, #ARGV do
  local id = ARGV[at]
  local job = ARGV[1] .. id
  if redis.call('TYPE', job).ok == 'hash' and redis.call('LREM', KEYS[1], 1, id) == 1 then
    redis.call('LPUSH', KEYS[2], id)
    redis.call('SET', job .. ':lock', ARGV[2], 'PX', ARGV[3])
    redis.call('HSET', job, 'processedOn', ARGV[4])
    redis.call('HINCRBY', job, 'ats', 1)
    redis.call('XADD', KEYS[3], 'MAXLEN', '~', 10000, '*', 'event', 'active', 'jobId', id, 'prev', 'waiting')
    taken[#taken + 1] = id
  end
end
return taken
`);

/** ARGV: beginning, token, ms, ids. Returns how many are not ours any more. */
const RENEW = new Script(`
local lost = 0
for at = 4, #ARGV do
  local lock = ARGV[1] .. ARGV[at] .. ':lock'
  if redis.call('GET', lock) == ARGV[2] then redis.call('PEXPIRE', lock, ARGV[3]) else lost = lost + 1 end
end
return lost
`);

/** KEYS: job, lock. ARGV: token, data. */
const WRITE = new Script(`
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], 'data', ARGV[2])
return 1
`);

/**
 * A lander that is cut off for that long has lost them. A second less than its lease: whoever takes the target over finds
 * in the line what the dead one had, before what stood behind that.
 */
export const LANDING_LOCK_MS = 8_000;
/** Waiting ones that are looked at together. */
export const PAGE = 200;

export interface WaitingLanding {
  id: string;
  /** Undefined when it is no JSON. */
  data: unknown;
}

export class LandingLine {
  readonly #redis: Redis;
  readonly #base: string;
  readonly #tasks: string;

  /** The client stays the caller's. Throws `InvalidInput` for a bad prefix. */
  constructor(redis: Redis, { prefix = DEFAULT_PREFIX }: { prefix?: string } = {}) {
    this.#redis = redis;
    this.#base = `${checked(prefix, 'prefix')}:${LANDING_QUEUE}:`;
    this.#tasks = `${prefix}:${TASK_QUEUE}:`;
  }

  /**
   * Those that wait, in their order, at most `PAGE` of them behind the first `from`; null while the queue is paused, or
   * the pool. @throws the error of Redis
   */
  async look(from = 0): Promise<WaitingLanding[] | null> {
    const keys = [...this.#keys('wait', 'active', 'events', 'meta'), `${this.#tasks}meta`];
    const found = await LOOK.run(this.#redis, keys, [this.#base, PAGE, from]);
    if (!Array.isArray(found)) return null;
    return found.flatMap((id: string, at) => (at % 2 === 0 ? [{ id, data: parsed(found[at + 1]) }] : []));
  }

  /** How many are in the hands of a lander. @throws the error of Redis */
  async tried(): Promise<number> {
    return this.#redis.llen(`${this.#base}active`);
  }

  /** Fails one that waits and is nothing of ours. False when it does not wait any more. @throws the error of Redis */
  async drop(id: string, reason: string): Promise<boolean> {
    const args = [this.#base, id, Date.now(), reason];
    return (await DROP.run(this.#redis, this.#keys('wait', 'failed', 'events'), args)) === 1;
  }

  /** Takes those of `ids` that wait still, in the name of `token`. @throws the error of Redis */
  async take(ids: readonly string[], token: string): Promise<string[]> {
    if (ids.length === 0) return [];
    const args = [this.#base, token, LANDING_LOCK_MS, Date.now(), ...ids];
    return (await TAKE.run(this.#redis, this.#keys('wait', 'active', 'events'), args)) as string[];
  }

  /** False when one of them is not ours any more. @throws the error of Redis */
  async renew(ids: readonly string[], token: string): Promise<boolean> {
    if (ids.length === 0) return true;
    return (await RENEW.run(this.#redis, [this.#base], [this.#base, token, LANDING_LOCK_MS, ...ids])) === 0;
  }

  /** Replaces what a job holds. @throws {CellpoolError} FENCED when it is not ours any more; the error of Redis */
  async write(id: string, token: string, data: unknown): Promise<void> {
    const job = `${this.#base}${id}`;
    if ((await WRITE.run(this.#redis, [job, `${job}:lock`], [token, JSON.stringify(data)])) === 1) return;
    throw new CellpoolError('FENCED', `landing ${id}: the job is no longer ours, nothing is written to it`);
  }

  #keys(...names: string[]): string[] {
    return names.map(name => `${this.#base}${name}`);
  }
}

function parsed(text: string | undefined): unknown {
  try {
    return JSON.parse(text ?? '');
  } catch {
    // Anybody may write to a shared Redis; whoever reads it says that it is no job of ours.
    return undefined;
  }
}
