/** The pool at one moment, cheap enough to be read every second: only the latest ended jobs are looked at. */
import { Cooldowns } from '../../redis/cooldown.ts';
import { endedKeys } from '../../redis/keys.ts';
import { WorkerList } from '../../redis/worker-list.ts';
import { readCells } from './cell-facts.ts';
import type { ViewContext } from './context.ts';
import type { CooldownFacts, EndedFacts, PoolFacts, WorkerFacts } from './facts.ts';
import { readPoolLandings } from './landing-facts.ts';
import { readQueue } from './queue-facts.ts';
import { readHours } from './recorded.ts';
import { viewJobs } from './viewed-job.ts';

export interface PoolOptions {
  /** How many hours back, the present one included. */
  hours: number;
  /** How many of the tasks that ended last. */
  latest: number;
  /** How many landings under way, and how many that ended last; left out: none. */
  landings?: number;
}

/** @throws the error of Redis when it is away */
export async function readPool(context: ViewContext, { hours, latest, landings = 0 }: PoolOptions): Promise<PoolFacts> {
  const at = Date.now();
  // All at once: what waits for an answer of its own is at most three answers away.
  const [queue, workers, cells, cooldowns, recorded, ended, landed] = await Promise.all([
    readQueue(context.queue),
    readWorkers(context),
    readCells(context),
    readCooldowns(context),
    readHours(context, hours),
    readEnded(context, latest),
    readPoolLandings(context, landings),
  ]);
  return {
    ...{ at, prefix: context.prefix, queues: [queue], landings: landed, workers, cells, cooldowns },
    ...{ hours: recorded, latest: ended },
  };
}

/** Those that said something in the last 30 s, by host and start. */
export async function readWorkers({ redis, prefix }: ViewContext): Promise<WorkerFacts[]> {
  const listed = await new WorkerList(redis, { prefix }).list();
  return listed
    .map(({ id, host, pid, startedAt, beatAt, concurrency, running, removing = 0, draining }) => ({
      ...{ id, host, pid, startedAt, lastSignAt: beatAt },
      ...{ concurrency, running: running.length, removing, draining },
    }))
    .sort((a, b) => (a.host === b.host ? a.startedAt - b.startedAt : a.host < b.host ? -1 : 1));
}

async function readCooldowns({ redis, prefix }: ViewContext): Promise<CooldownFacts[]> {
  const listed = await new Cooldowns(redis, { prefix }).list();
  return listed.map(({ name, kind, reason, until }) => ({ name, kind, reason, until }));
}

/** The tasks that ended last, latest first. */
export async function readEnded(context: ViewContext, count: number): Promise<EndedFacts[]> {
  if (count <= 0) return [];
  const { completed, failed } = endedKeys(context.prefix);
  const { redis } = context;
  const listed = async (key: string) => {
    const pairs = await redis.zrevrange(key, 0, count - 1, 'WITHSCORES');
    return pairs.flatMap((id, at) => (at % 2 === 0 ? [{ id, at: Number(pairs[at + 1]), failed: key === failed }] : []));
  };
  const found = await Promise.all([completed, failed].map(listed));
  const ended = found
    .flat()
    .sort((a, b) => b.at - a.at)
    .slice(0, count);
  const jobs = await viewJobs(
    context,
    ended.map(({ id }) => id),
  );
  return jobs.flatMap((job, index): EndedFacts[] => {
    // Somebody may have put it on the queue anew, or BullMQ forgotten it, since the list was read.
    if (job?.endedAt == null) return [];
    const { taskId, data, result } = job;
    const [title, repository] = [data?.task.title ?? null, data?.repository ?? ''];
    return [{ taskId, title, repository, endedAt: job.endedAt, failed: ended[index]?.failed === true, result }];
  });
}
