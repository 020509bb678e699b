/** What a worker's jobs need of Redis. */
import type { Redis } from 'ioredis';
import { isRecord } from '../config.ts';
import { openLandingQueue } from '../job/landing.ts';
import { openQueue } from '../job/queue.ts';
import type { Logger } from '../observe/logger.ts';
import { Attempts } from '../redis/attempts.ts';
import { Budgets } from '../redis/budget.ts';
import { Control } from '../redis/control.ts';
import { Cooldowns } from '../redis/cooldown.ts';
import { Dependencies } from '../redis/dependencies.ts';
import { FairShare } from '../redis/fair-share.ts';
import { Fence } from '../redis/fence.ts';
import { JobData } from '../redis/job-data.ts';
import { SetAside } from '../redis/set-aside.ts';
import { Slots } from '../redis/slots.ts';
import { Tally } from '../redis/tally.ts';
import { WorkerList } from '../redis/worker-list.ts';
import type { JobContext } from './held-job.ts';
import { JobDependencies } from './job-dependencies.ts';
import { JobLabels } from './job-labels.ts';

export interface RedisParts
  extends Pick<
    JobContext,
    | 'redis'
    | 'queue'
    | 'landings'
    | 'attempts'
    | 'fence'
    | 'jobData'
    | 'cooldowns'
    | 'budgets'
    | 'tally'
    | 'dependencies'
    | 'labels'
  > {
  slots: Slots;
  fairShare: FairShare;
  /** To be told of every job that has ended for good; `data` is what it held. */
  onEnded(id: string, data: unknown): void;
}

export interface RedisPartsOptions {
  prefix: string;
  log: Logger;
  /** Of the worker. */
  labels: readonly string[];
  lookAgainMs?: number | undefined;
}

/** The connection stays the caller's; the queues are to be closed. */
export function redisParts(redis: Redis, { prefix, log, labels, lookAgainMs }: RedisPartsOptions): RedisParts {
  const queue = openQueue(redis, prefix);
  const fairShare = new FairShare(redis, { prefix });
  const dependencies = new JobDependencies({
    ...{ dependencies: new Dependencies(redis, { prefix }), queue, log, lookAgainMs },
  });
  const [aside, workers, control] = [
    new SetAside(redis, { prefix }),
    new WorkerList(redis, { prefix }),
    new Control(redis, { prefix }),
  ];
  // A worker that hears nothing of it calls the task a little later.
  const onSetAside = () => void control.publish({ kind: 'aside' }).catch(() => undefined);
  return {
    redis,
    queue,
    landings: openLandingQueue(redis, prefix),
    attempts: new Attempts(redis, { prefix }),
    fence: new Fence(redis, { prefix }),
    jobData: new JobData(redis, { prefix }),
    cooldowns: new Cooldowns(redis, { prefix }),
    budgets: new Budgets(redis, { prefix }),
    tally: new Tally(redis, { prefix }),
    slots: new Slots(redis, { prefix }),
    fairShare,
    dependencies,
    labels: new JobLabels({ labels, aside, workers, queue, log, onSetAside }),
    onEnded(id, data) {
      dependencies.release(id);
      const repository = isRecord(data) ? data.repository : null;
      // Whoever meets it in its line later takes it out as well.
      if (typeof repository === 'string') fairShare.ended(id, repository).catch(() => undefined);
    },
  };
}
