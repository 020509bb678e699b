/** Keeps all workers from beginning attempts, and lets them begin again. */
import type { TaskQueue } from '../job/queue.ts';
import type { Cooldowns } from '../redis/cooldown.ts';
import { inRedis } from '../redis/redis-away.ts';

const AGAIN = 'Try again in a moment.';

export interface Resumed {
  /** Whether it was paused before. */
  changed: boolean;
  /** How many cool-downs of providers were ended. */
  cooldownsEnded: number;
}

/**
 * No worker on any host begins an attempt from now on; `changed` is false when none did before.
 * @throws {CellpoolError} `REDIS_UNAVAILABLE`
 */
export async function pausePool(queue: TaskQueue): Promise<{ changed: boolean }> {
  return inRedis('Redis went away while the pool was paused', AGAIN, async () => {
    const wasPaused = await queue.isPaused();
    await queue.pause();
    return { changed: !wasPaused };
  });
}

/** Workers begin attempts again, and ask anew the providers in cool-down. @throws {CellpoolError} `REDIS_UNAVAILABLE` */
export async function resumePool(queue: TaskQueue, cooldowns: Cooldowns): Promise<Resumed> {
  return inRedis('Redis went away while the pool was resumed', AGAIN, async () => {
    const wasPaused = await queue.isPaused();
    await queue.resume();
    return { changed: wasPaused, cooldownsEnded: await cooldowns.clearAll() };
  });
}
