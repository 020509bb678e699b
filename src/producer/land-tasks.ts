/** Puts finished branches on the landing queue that a person names: of tasks that did not ask for it, or that stayed. */
import { Job } from 'bullmq';
import type { Redis } from 'ioredis';
import { InvalidInput } from '../errors.ts';
import {
  checkedLanding,
  LANDING_JOB,
  type LandingJob,
  type LandingQueue,
  landingIdOf,
  landingOf,
  landingOptions,
  openLandingQueue,
  targetMarkOf,
  understoodLanding,
} from '../job/landing.ts';
import { branchOf, isTaskBranch, jobIdOf } from '../job/names.ts';
import { type JobRetention, openQueue, type TaskQueue } from '../job/queue.ts';
import { hasEnded, readJob, standingCommit } from '../job/stored-job.ts';
import type { Task } from '../job/task.ts';
import { checkRedis } from '../redis/connection.ts';
import { unavailable } from '../redis/redis-away.ts';
import { idFaults } from './task-ids.ts';

export interface LandingAsked {
  taskId: string;
  /** Of its landing job; null when there is none. */
  landingId: string | null;
  /** `queued`: waits to land now. `waiting`: did so already. `landed`: has landed before. `refused`: cannot land. */
  how: 'queued' | 'waiting' | 'landed' | 'refused';
  /** Why not; left out when nothing is in the way. */
  reason?: string;
}

export interface LandTasksContext {
  /** A connection in the producer's role; it stays the caller's. */
  redis: Redis;
  prefix: string;
  retention: JobRetention;
}

/**
 * Says of each what became of it, in their order. `how` and `target` count where the task does not say it itself.
 * @throws {InvalidInput} with every id that cannot be one; nothing was queued then.
 * @throws {CellpoolError} REDIS_UNAVAILABLE; part may be queued, and a second call does the rest.
 */
export async function landTasks(
  { redis, prefix, retention }: LandTasksContext,
  ids: readonly string[],
  wanted: { land?: LandingJob['land']; landOn?: string | undefined } = {},
): Promise<LandingAsked[]> {
  const faults = idFaults(ids);
  if (faults.length > 0) throw new InvalidInput(faults);
  await checkRedis(redis);
  const [tasks, landings] = [openQueue(redis, prefix), openLandingQueue(redis, prefix)];
  const asked: LandingAsked[] = [];
  try {
    for (const id of new Set(ids)) {
      const landing = await landingFor(redis, tasks, id, wanted);
      asked.push(typeof landing === 'string' ? refused(id, landing) : await queueOne(landings, landing, retention));
    }
    return asked;
  } catch (error) {
    throw unavailable(error, 'Redis went away while branches were queued', 'The same command again does the rest.');
  } finally {
    // Closing releases nothing in Redis, so a failure to say goodbye costs nothing.
    await Promise.all([tasks.close(), landings.close()]).catch(() => undefined);
  }
}

/** A text says why there is nothing to land. */
async function landingFor(
  redis: Redis,
  queue: TaskQueue,
  taskId: string,
  { land = 'merge', landOn }: { land?: LandingJob['land']; landOn?: string | undefined },
): Promise<LandingJob | string> {
  const [stored, timestamp] = await Promise.all([
    readJob(queue, taskId),
    redis.hget(queue.toKey(jobIdOf(taskId)), 'timestamp'),
  ]);
  if (stored === null) return 'there is no such task';
  if (stored.data === null) return stored.fault;
  if (!hasEnded(stored) || stored.result === null) return 'it has not ended yet';
  const commit = standingCommit(stored.result, stored.data.returned);
  if (commit === null) return `it ended ${stored.result.outcome}: there is no branch to land`;
  const { task } = stored.data;
  const said: Pick<Task, 'land' | 'landOn'> = {
    land: task.land === undefined || task.land === 'none' ? land : task.land,
    ...(landOn === undefined ? {} : { landOn }),
  };
  const target = landOn ?? task.landOn ?? task.base;
  if (isTaskBranch(target)) {
    return `${target} is the branch of a task, on which nothing lands: say with --land-on where it is to go`;
  }
  if (task.test === undefined) return 'it has no test command, and what lands is what its tests let through';
  // Its host is where the branch is.
  const by = stored.data.results.findLast(one => one.commit === commit);
  const work = { ...by, outcome: 'committed', branch: branchOf(taskId), commit } as const;
  const landing = landingOf({ ...stored.data, task: { ...task, ...said } }, work, Number(timestamp));
  return landing ?? 'it has committed nothing';
}

/** A candidate that has landed elsewhere may land once more; one that waits to is not sent to another target unasked. */
async function queueOne(queue: LandingQueue, landing: LandingJob, retention: JobRetention): Promise<LandingAsked> {
  const { taskId, target } = landing;
  const landingId = landingIdOf(landing);
  const before = await Job.fromId<unknown>(queue as never, landingId);
  const { data = null } = before === undefined ? {} : understoodLanding(before.data);
  const isSame = data !== null && targetMarkOf(data) === targetMarkOf(landing);
  if (data?.fate?.kind === 'landed' && isSame) return { taskId, landingId, how: 'landed' };
  if (before !== undefined && before.finishedOn === undefined) {
    if (isSame) return { taskId, landingId, how: 'waiting' };
    return refused(
      taskId,
      `it waits to land on ${data?.target ?? 'another branch'}, not on ${target}: cancel that first`,
    );
  }
  await before?.remove();
  await queue.add(LANDING_JOB, checkedLanding(landing), landingOptions(landing, retention));
  return { taskId, landingId, how: 'queued' };
}

const refused = (taskId: string, reason: string): LandingAsked => ({ taskId, landingId: null, how: 'refused', reason });
