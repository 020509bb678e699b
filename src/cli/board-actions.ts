/** What the board may do, as the commands of the same names do it. */
import type { Redis } from 'ioredis';
import type { ActionAnswer, BoardActions } from '../board/actions.ts';
import type { TaskQueue } from '../job/queue.ts';
import { cancelTasks } from '../producer/cancel.ts';
import { pausePool, resumePool } from '../producer/pause.ts';
import { retryTasks } from '../producer/retry.ts';
import { Cooldowns } from '../redis/cooldown.ts';
import { cancelledInWords } from './cancel.ts';
import { cooldownsInWords } from './pause.ts';
import { retriedInWords } from './retry.ts';

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
      return { how: cancelled.how === 'ended' || cancelled.how === 'landing' ? 'refused' : 'done', message };
    },
    async retry(taskId) {
      const [retried] = await retryTasks({ redis, prefix }, [taskId]);
      if (retried === undefined) return unknown(taskId);
      const message = `${taskId} ${retriedInWords(retried)}`;
      if (retried.how === 'unknown') return { how: 'unknown', message };
      return { how: retried.how === 'ended' || retried.how === 'refused' ? 'refused' : 'done', message };
    },
    async pause() {
      await pausePool(queue);
      return { how: 'done', message: 'Paused: no attempt is begun until the pool is resumed.' };
    },
    async resume() {
      const { cooldownsEnded } = await resumePool(queue, new Cooldowns(redis, { prefix }));
      return { how: 'done', message: `Resumed.${cooldownsInWords(cooldownsEnded)}` };
    },
  };
}

function unknown(taskId: string): ActionAnswer {
  return { how: 'unknown', message: `${taskId} is not known.` };
}
