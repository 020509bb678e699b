/** Tasks of other people on the same queue: a worker of ours takes them too. */
import type { TaskQueue } from '../job/queue.ts';
import type { Enqueued } from '../producer/producer.ts';
import type { WorkerPool } from '../worker/worker.ts';
import type { LiveView } from './live-view.ts';
import { counted } from './words.ts';

/** A worker of ours takes what the queue gives it, be it of this call or left there by another. */
export async function sayWhatElseIsQueued(queue: TaskQueue, own: readonly Enqueued[], view: LiveView): Promise<void> {
  const counts = await queue.getJobCounts('waiting', 'prioritized', 'delayed');
  const all = Object.values(counts).reduce((sum, count) => sum + count, 0);
  const others = all - own.filter(({ state }) => state !== 'active').length;
  if (others <= 0) return;
  view.say(`${counted(others, 'other task')} on the queue: this command works on them too until its own have ended.`);
}

/** How often it is looked for attempts of others until one is seen. */
const LOOK_MS = 100;

/**
 * With its last outcome a worker is handed its next job in the same step, so others may be in hand although no more
 * are taken; such an attempt can begin a moment later.
 */
export async function drainOthers(pool: WorkerPool, drained: Promise<void>, view: LiveView): Promise<void> {
  const look = () => {
    const others = pool.running.length;
    if (others === 0) return;
    clearInterval(timer);
    view.say(`Waiting for ${counted(others, 'attempt')} of other tasks that this command also took.`);
  };
  const timer = setInterval(look, LOOK_MS);
  look();
  await drained.finally(() => clearInterval(timer));
}
