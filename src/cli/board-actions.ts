/** What the board may do, as the commands of the same names do it. */
import type { Redis } from 'ioredis';
import type { ActionAnswer, BoardActions } from '../board/actions.ts';
import type { TaskQueue } from '../job/queue.ts';
import { cancelTasks } from '../producer/cancel.ts';
import { unavailable } from '../producer/redis-away.ts';
import { retryTasks } from '../producer/retry.ts';
import { Cooldowns } from '../redis/cooldown.ts';
import { cancelledInWords } from './cancel.ts';
import { retriedInWords } from './retry.ts';
import { counted } from './words.ts';

/** A person looks at the page: what takes longer shows itself there. */
const CANCEL_WAIT_MS = 2_000;

/** `redis` is a connection in the producer's role. */
export function boardActions(context: { redis: Redis; queue: TaskQueue; prefix: string }): BoardActions {
  const { redis, queue, prefix } = context;
  return {
    async cancel(taskId) {
      const [cancelled] = await cancelTasks({ redis, prefix }, [taskId], { waitMs: CANCEL_WAIT_MS });
      if (cancelled === undefined) return unknown(taskId);
      const message = `${taskId} ${cancelledInWords(cancelled)}`;
      if (cancelled.how === 'unknown') return { how: 'unknown', message };
      return { how: cancelled.how === 'ended' ? 'refused' : 'done', message };
    },
    async retry(taskId) {
      const [retried] = await retryTasks({ redis, prefix }, [taskId]);
      if (retried === undefined) return unknown(taskId);
      const message = `${taskId} ${retriedInWords(retried)}`;
      if (retried.how === 'unknown') return { how: 'unknown', message };
      return { how: retried.how === 'ended' || retried.how === 'refused' ? 'refused' : 'done', message };
    },
    pause: () =>
      inRedis(async () => {
        await queue.pause();
        return 'Paused: no attempt is begun until the pool is resumed.';
      }),
    resume: () =>
      inRedis(async () => {
        await queue.resume();
        const ended = await new Cooldowns(redis, { prefix }).clearAll();
        return `Resumed.${ended === 0 ? '' : ` ${counted(ended, 'cool-down')} of providers ended.`}`;
      }),
  };
}

function unknown(taskId: string): ActionAnswer {
  return { how: 'unknown', message: `${taskId} is not known.` };
}

async function inRedis(work: () => Promise<string>): Promise<ActionAnswer> {
  try {
    return { how: 'done', message: await work() };
  } catch (error) {
    throw unavailable(error, 'Redis went away', 'Try again in a moment.');
  }
}
