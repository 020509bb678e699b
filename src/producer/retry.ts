/** Works tasks anew that did not end well, and sends on at once those that wait for their next attempt. */
import type { Redis } from 'ioredis';
import { isRecord } from '../config.ts';
import { InvalidInput, messageOf } from '../errors.ts';
import { type DependencyGraph, orderByDependencies } from '../job/dependency-order.ts';
import { taskIdFault } from '../job/names.ts';
import type { Outcome } from '../job/outcome.ts';
import { isDone, promote } from '../job/promote.ts';
import { openQueue, type TaskQueue } from '../job/queue.ts';
import { readJob, readJobs, type StoredJob } from '../job/stored-job.ts';
import { checkRedis } from '../redis/connection.ts';
import { Control } from '../redis/control.ts';
import { FairShare } from '../redis/fair-share.ts';
import { DEFAULT_PREFIX } from '../redis/keys.ts';
import { unavailable } from '../redis/redis-away.ts';
import { Script } from '../redis/script.ts';
import { idFaults } from './task-ids.ts';

export interface Retried {
  taskId: string;
  /**
   * `queued`: had failed, and is queued with all its attempts. `promoted`: waited for its next attempt, and is queued
   * now. `waiting`, `running`: was so already. `ended`: ended well, so it is left alone. `refused`: is no job of
   * cellpool. `unknown`: there is no such job.
   */
  how: 'queued' | 'promoted' | 'waiting' | 'running' | 'ended' | 'refused' | 'unknown';
  /** Of the last attempt before; null when there is none to tell. */
  outcome: Outcome | null;
  /** What went wrong beside that; left out: nothing. */
  remark?: string;
}

type Moved = Pick<Retried, 'how' | 'remark'>;

/** Tasks looked at side by side. */
const AT_ONCE = 50;
/** How often a task is looked at that becomes another while it is. */
const LOOKS = 20;

/**
 * KEYS: job, failed; ARGV: id, the data as read, the data to be. 1 when it is in place: nobody else has touched the
 * failed job. A job that failed by the deaths of its workers starts with none of them (`stc`).
 */
const RENEW_DATA = new Script(`
  if not redis.call('ZSCORE', KEYS[2], ARGV[1]) then return 0 end
  if redis.call('HGET', KEYS[1], 'data') ~= ARGV[2] then return 0 end
  redis.call('HSET', KEYS[1], 'data', ARGV[3])
  redis.call('HDEL', KEYS[1], 'stc')
  return 1
`);

export interface RetryContext {
  /** A connection in the producer's role; it stays the caller's. */
  redis: Redis;
  prefix: string;
}

/**
 * Retries the tasks and says of each what became of it, in their order. An id that stands twice is told once.
 * @throws {InvalidInput} with every id that cannot be one; nothing was retried then.
 * @throws {CellpoolError} `REDIS_UNAVAILABLE`; part of the tasks may be queued, and a second call does the rest.
 */
export async function retryTasks(context: RetryContext, ids: readonly string[]): Promise<Retried[]> {
  const faults = idFaults(ids);
  if (faults.length > 0) throw new InvalidInput(faults);
  return withQueue(context, queue => retryAll(context, queue, [...new Set(ids)]));
}

/** The same for every task that has failed; what is on the queue under a name that no task can have is left alone. */
export async function retryFailed(context: RetryContext): Promise<Retried[]> {
  return withQueue(context, async queue => {
    const ids = await context.redis.zrange(queue.toKey('failed'), '0', '-1');
    return retryAll(
      context,
      queue,
      ids.filter(id => taskIdFault(id) === null),
    );
  });
}

export async function withQueue<T>(
  { redis, prefix }: RetryContext,
  work: (queue: TaskQueue) => Promise<T>,
): Promise<T> {
  await checkRedis(redis);
  const queue = openQueue(redis, prefix);
  try {
    return await work(queue);
  } catch (error) {
    throw unavailable(error, 'Redis went away while tasks were queued', 'The same command again does the rest.');
  } finally {
    // Closing releases nothing in Redis, so a failure to say goodbye costs nothing.
    await queue.close().catch(() => undefined);
  }
}

async function retryAll(context: RetryContext, queue: TaskQueue, ids: readonly string[]): Promise<Retried[]> {
  const control = new Control(context.redis, { prefix: context.prefix });
  const done = new Map<string, Retried>();
  for (const group of inGroups(await dependenciesOf(queue, ids))) {
    const retried = await Promise.all(group.map(id => retryOne(context.redis, queue, control, id)));
    for (const one of retried) done.set(one.taskId, one);
  }
  return ids.flatMap(id => done.get(id) ?? []);
}

async function dependenciesOf(queue: TaskQueue, ids: readonly string[]): Promise<DependencyGraph> {
  const jobs = await readJobs(queue, ids);
  return new Map(ids.map((id, index) => [id, jobs[index]?.data?.task.dependsOn ?? []]));
}

/**
 * Tasks to be retried side by side. None of them depends on another, and those it depends on came before: a worker that
 * took it up while they still stand as failed would fail it at once.
 */
function inGroups(graph: DependencyGraph): string[][] {
  const groups: string[][] = [];
  let group = new Set<string>();
  for (const id of orderByDependencies(graph).order) {
    if (group.size === 0 || group.size === AT_ONCE || graph.get(id)?.some(one => group.has(one)) === true) {
      group = new Set();
      groups.push([]);
    }
    group.add(id);
    groups.at(-1)?.push(id);
  }
  return groups;
}

async function retryOne(redis: Redis, queue: TaskQueue, control: Control, taskId: string): Promise<Retried> {
  for (let look = 0; look < LOOKS; look += 1) {
    const stored = await readJob(queue, taskId);
    if (stored === null) return { taskId, how: 'unknown', outcome: null };
    // Also of a round before: it is what the task is tried again for.
    const outcome = (stored.result ?? stored.data?.results.at(-1))?.outcome ?? null;
    const moved: Moved | null = stored.data === null ? { how: 'refused' } : await moveOn(redis, queue, control, stored);
    if (moved !== null) return { taskId, ...moved, outcome };
  }
  return { taskId, how: 'refused', outcome: null };
}

/** Null when the job is not any more what it was when it was read. */
async function moveOn(redis: Redis, queue: TaskQueue, control: Control, stored: StoredJob): Promise<Moved | null> {
  const { id, state } = stored;
  switch (state) {
    case 'active':
      return { how: 'running' };
    case 'waiting':
    case 'prioritized':
      return { how: 'waiting' };
    case 'completed':
      return { how: 'ended' };
    case 'failed':
      return requeue(redis, queue, control, stored);
    case 'delayed':
      return (await promote(queue, id)) ? { how: 'promoted' } : null;
    default:
      return null;
  }
}

async function requeue(
  redis: Redis,
  queue: TaskQueue,
  control: Control,
  { id, data: stored }: StoredJob,
): Promise<Moved | null> {
  const [jobKey, failedKey] = [queue.toKey(id), queue.toKey('failed')];
  const [job, before] = await Promise.all([queue.getJob(id), redis.hget(jobKey, 'data')]);
  if (job === undefined || before === null || stored === null) return null;
  const data: unknown = JSON.parse(before);
  if (!isRecord(data)) return null;
  // What was used up and how long something lacked belong to the attempts that are over; their results are kept.
  const { spent: _spent, waits: _waits, ...after } = data;
  const kept = Array.isArray(data.results) ? data.results.length : 0;
  const renewed = [id, before, JSON.stringify({ ...after, ...(kept > 0 ? { kept } : {}) })];
  if ((await RENEW_DATA.run(redis, [jobKey, failedKey], renewed)) !== 1) return null;
  await control.unmark(id);
  if (!(await isDone(job.retry('failed', { resetAttemptsMade: true, resetAttemptsStarted: true })))) return null;
  const { prefix = DEFAULT_PREFIX } = queue.opts;
  try {
    await new FairShare(redis, { prefix }).again(id, stored.repository, stored.task.priority ?? 0);
    return { how: 'queued' };
  } catch (error) {
    // It has its turn in the queue, where it is by now, as one that no producer of ours has put there.
    return { how: 'queued', remark: `it stands in no line of its repository: ${messageOf(error)}` };
  }
}
