/** What a worker's jobs need of Redis. */
import type { Redis } from 'ioredis';
import { openQueue } from '../job/queue.ts';
import type { Logger } from '../observe/logger.ts';
import { Budgets } from '../redis/budget.ts';
import { Cooldowns } from '../redis/cooldown.ts';
import { Dependencies } from '../redis/dependencies.ts';
import { Fence } from '../redis/fence.ts';
import { JobData } from '../redis/job-data.ts';
import { Tally } from '../redis/tally.ts';
import type { JobContext } from './held-job.ts';
import { JobDependencies } from './job-dependencies.ts';

export type RedisParts = Pick<
  JobContext,
  'queue' | 'fence' | 'jobData' | 'cooldowns' | 'budgets' | 'tally' | 'dependencies'
>;

/** The connection stays the caller's; the queue is to be closed. */
export function redisParts(
  redis: Redis,
  { prefix, log, lookAgainMs }: { prefix: string; log: Logger; lookAgainMs?: number | undefined },
): RedisParts {
  const queue = openQueue(redis, prefix);
  const dependencies = new Dependencies(redis, { prefix });
  return {
    queue,
    fence: new Fence(redis, { prefix }),
    jobData: new JobData(redis, { prefix }),
    cooldowns: new Cooldowns(redis, { prefix }),
    budgets: new Budgets(redis, { prefix }),
    tally: new Tally(redis, { prefix }),
    dependencies: new JobDependencies({ dependencies, queue, log, lookAgainMs }),
  };
}
