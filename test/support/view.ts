/** What the board and the commands read a pool with, for a test. */
import type { Redis } from 'ioredis';
import { onTestFinished } from 'vitest';
import type { ViewContext } from '../../src/board/view/context.ts';
import { openLandingQueue } from '../../src/job/landing.ts';
import { openQueue } from '../../src/job/queue.ts';

/** Its queues are closed when the test ends; the connection stays the caller's. */
export function viewContext(redis: Redis, prefix: string): ViewContext {
  const [queue, landing] = [openQueue(redis, prefix), openLandingQueue(redis, prefix)];
  onTestFinished(async () => {
    await Promise.all([queue.close(), landing.close()]);
  });
  return { redis, queue, landing, prefix };
}
