/** Takes a finished branch off the queue of those that are to land. The branch stays. */
import type { Redis } from 'ioredis';
import { type LandingJob, type LandingQueue, landingIdOf, openLandingQueue } from '../job/landing.ts';
import type { AttemptResult } from '../job/outcome.ts';
import { landingOfResult } from '../job/stored-landing.ts';
import { Script } from '../redis/script.ts';

/**
 * KEYS: job, wait, paused, delayed, prioritized, events; ARGV: id. 1 when the landing waited and is gone now. One that
 * is being tried stands in none of these lists. BullMQ's own `remove` would also take one that has its fate meanwhile.
 */
const REMOVE_LANDING = new Script(`
  local job, id = KEYS[1], ARGV[1]
  local found = redis.call('LREM', KEYS[2], 0, id) + redis.call('LREM', KEYS[3], 0, id)
    + redis.call('ZREM', KEYS[4], id) + redis.call('ZREM', KEYS[5], id)
  if found == 0 then return 0 end
  redis.call('DEL', job, job .. ':logs', job .. ':dependencies', job .. ':processed', job .. ':failed',
    job .. ':unsuccessful')
  redis.call('XADD', KEYS[6], 'MAXLEN', '~', 10000, '*', 'event', 'removed', 'jobId', id, 'prev', 'waiting')
  return 1
`);

/**
 * What became of the landing of a task that has ended so. `removed`: it waited, and is off the queue. `tried`: a lander
 * is at it just now. Null: it was not to land, or has its fate. @throws the error of Redis
 */
export async function cancelLanding(
  { redis, prefix }: { redis: Redis; prefix: string },
  result: AttemptResult,
): Promise<'removed' | 'tried' | null> {
  const queue = openLandingQueue(redis, prefix);
  try {
    const landing = await waiting(redis, queue, result);
    if (landing === null) return null;
    if (await remove(redis, queue, landing)) return 'removed';
    return (await waiting(redis, queue, result)) === null ? null : 'tried';
  } finally {
    // Closing releases nothing in Redis, so a failure to say goodbye costs nothing.
    await queue.close().catch(() => undefined);
  }
}

async function waiting(redis: Redis, queue: LandingQueue, result: AttemptResult): Promise<LandingJob | null> {
  const data = (await landingOfResult(redis, queue, result))?.data ?? null;
  return data?.fate === undefined ? data : null;
}

async function remove(redis: Redis, queue: LandingQueue, landing: LandingJob): Promise<boolean> {
  const id = landingIdOf(landing);
  const keys = [id, 'wait', 'paused', 'delayed', 'prioritized', 'events'].map(name => queue.toKey(name));
  return (await REMOVE_LANDING.run(redis, keys, [id])) === 1;
}
