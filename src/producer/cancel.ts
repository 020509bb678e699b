/**
 * Cancels tasks, wherever they are: one that waits is taken off the queue, one that runs is stopped by the worker
 * that has it. A running one is marked first and its worker told then, so that a worker that dies in between, or
 * does not hear it, leaves a job that the next worker ends at its pick-up.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { InvalidInput } from '../errors.ts';
import type { Outcome } from '../job/outcome.ts';
import { openQueue, type TaskQueue } from '../job/queue.ts';
import { hasEnded, readJob, standingCommit } from '../job/stored-job.ts';
import { checkRedis } from '../redis/connection.ts';
import { Control } from '../redis/control.ts';
import { Dependencies } from '../redis/dependencies.ts';
import { taskKeys } from '../redis/keys.ts';
import { unavailable } from '../redis/redis-away.ts';
import { Script } from '../redis/script.ts';
import { cancelLanding } from './cancel-landing.ts';
import { idFaults } from './task-ids.ts';

export interface Cancelled {
  taskId: string;
  /**
   * `removed`: had not begun, or waited for its next attempt, and is off the queue. `cancelled`: ran, and was stopped.
   * `ended`: has an end of its own, which stands. `asked`: runs still; its worker has been asked, and whoever picks
   * it up next ends it. `unknown`: there is no such job. `kept-back`: its work is committed and waited for its landing;
   * the branch stays, and does not land. `landing`: the same, but a lander is at it just now, and was not disturbed.
   */
  how: 'removed' | 'cancelled' | 'ended' | 'asked' | 'unknown' | 'kept-back' | 'landing';
  /** Of the last attempt of its present round; null when there is none to tell. */
  outcome: Outcome | null;
}

export interface CancelOptions {
  /** How long to wait for running tasks to end, in ms; 0 waits for none. */
  waitMs?: number;
  /** Ends the waiting; what was asked for stays asked for. */
  signal?: AbortSignal;
  /** Called once a task, as soon as it is known what became of it. */
  onCancelled?: (cancelled: Cancelled) => void;
}

export const CANCEL_WAIT_MS = 10_000;
/** How often it is looked whether a running task has ended. */
const LOOK_MS = 100;
/** A worker may be connecting anew just when it is told: it is told again this often. */
const TELL_MS = 1_000;

/**
 * KEYS: job, wait, paused, delayed, prioritized, events, outcome; ARGV: id. 1 when the job waited and is gone now. BullMQ's own
 * `remove` would also take a job that has ended meanwhile, with its outcome, and one whose worker has just died.
 */
const REMOVE_WAITING = new Script(`
  local job, id = KEYS[1], ARGV[1]
  local found = redis.call('LREM', KEYS[2], 0, id) + redis.call('LREM', KEYS[3], 0, id)
    + redis.call('ZREM', KEYS[4], id) + redis.call('ZREM', KEYS[5], id)
  if found == 0 then return 0 end
  redis.call('DEL', job, job .. ':logs', job .. ':dependencies', job .. ':processed', job .. ':failed',
    job .. ':unsuccessful')
  redis.call('SET', KEYS[7], 'cancelled', 'XX', 'KEEPTTL')
  redis.call('XADD', KEYS[6], 'MAXLEN', '~', 10000, '*', 'event', 'removed', 'jobId', id, 'prev', 'waiting')
  return 1
`);

/**
 * Cancels the tasks and says of each what became of it, in their order. An id that stands twice is told once.
 * `redis` is a connection in the producer's role; it stays the caller's.
 * @throws {InvalidInput} with every id that cannot be one; nothing was cancelled then.
 * @throws {CellpoolError} `REDIS_UNAVAILABLE`; part of the tasks may be cancelled, and a second call does the rest.
 */
export async function cancelTasks(
  { redis, prefix }: { redis: Redis; prefix: string },
  ids: readonly string[],
  { waitMs = CANCEL_WAIT_MS, signal, onCancelled }: CancelOptions = {},
): Promise<Cancelled[]> {
  const faults = idFaults(ids);
  if (faults.length > 0) throw new InvalidInput(faults);
  await checkRedis(redis);
  const queue = openQueue(redis, prefix);
  const dependencies = new Dependencies(redis, { prefix });
  const context: Context = { redis, prefix, queue, dependencies, control: new Control(redis, { prefix }) };
  const waiting = new AbortController();
  const give = () => waiting.abort();
  const timer = setTimeout(give, waitMs);
  signal?.addEventListener('abort', give, { once: true });
  if (signal?.aborted === true || waitMs <= 0) give();
  try {
    return await Promise.all(
      [...new Set(ids)].map(async taskId => {
        const cancelled = await cancelOne(context, taskId, waiting.signal);
        onCancelled?.(cancelled);
        return cancelled;
      }),
    );
  } catch (error) {
    throw unavailable(error, 'Redis went away while tasks were cancelled', 'The same command again does the rest.');
  } finally {
    give();
    clearTimeout(timer);
    signal?.removeEventListener('abort', give);
    // Closing releases nothing in Redis, so a failure to say goodbye costs nothing.
    await queue.close().catch(() => undefined);
  }
}

interface Context {
  redis: Redis;
  prefix: string;
  queue: TaskQueue;
  dependencies: Dependencies;
  control: Control;
}

/** Goes on until the task is off the queue or has ended, or until nobody waits for it any more. */
async function cancelOne(context: Context, taskId: string, enough: AbortSignal): Promise<Cancelled> {
  const { queue, control, dependencies } = context;
  let asked = false;
  let toldAt = Number.NEGATIVE_INFINITY;
  for (;;) {
    const stored = await readJob(queue, taskId);
    // Somebody else may have removed it once we had asked for its end.
    if (stored === null) return { taskId, how: asked ? 'removed' : 'unknown', outcome: null };
    const outcome = stored.result?.outcome ?? null;
    // Also one that was running: it may have been handed back, or wait for its next attempt.
    const removed = !hasEnded(stored) && (await removeWaiting(context, taskId));
    if (removed || hasEnded(stored)) {
      // The mark has done its work; left there, it would end the same job when somebody retries it.
      if (asked) await control.unmark(taskId);
      if (removed) {
        // What waits for it is to fail now; of one that ran its worker sees to that.
        await dependencies.release(queue, taskId);
        return { taskId, how: 'removed', outcome };
      }
      const commit = stored.result === null ? null : standingCommit(stored.result, stored.data?.returned);
      const landing = await cancelLanding(context, { taskId, commit });
      if (landing !== null) return { taskId, how: landing === 'removed' ? 'kept-back' : 'landing', outcome };
      return { taskId, how: asked && outcome === 'cancelled' ? 'cancelled' : 'ended', outcome };
    }
    if (performance.now() - toldAt >= TELL_MS && (await tell(context, taskId))) {
      asked = true;
      toldAt = performance.now();
    }
    // Without its enqueuing nobody can be asked for its end: that is a job nobody has put on the queue.
    if (enough.aborted) return { taskId, how: asked ? 'asked' : 'unknown', outcome };
    await sleep(LOOK_MS, undefined, { signal: asked ? enough : undefined }).catch(() => undefined);
  }
}

async function removeWaiting({ redis, prefix, queue }: Context, taskId: string): Promise<boolean> {
  const names = [taskId, 'wait', 'paused', 'delayed', 'prioritized', 'events'];
  const keys = [...names.map(name => queue.toKey(name)), taskKeys(prefix, taskId).outcome];
  return (await REMOVE_WAITING.run(redis, keys, [taskId])) === 1;
}

/** Marks this very enqueuing of the task and tells all workers; false when the job has gone meanwhile. */
async function tell({ redis, queue, control }: Context, taskId: string): Promise<boolean> {
  const enqueuedAt = Number(await redis.hget(queue.toKey(taskId), 'timestamp'));
  if (!(enqueuedAt > 0)) return false;
  await control.markCancelled(taskId, enqueuedAt);
  await control.publish({ kind: 'cancel', taskId });
  return true;
}
