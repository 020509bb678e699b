/** How many jobs stand where on a queue. */
import type { LandingQueue } from '../../job/landing.ts';
import type { TaskQueue } from '../../job/queue.ts';
import type { QueueFacts } from './facts.ts';

/** @throws the error of Redis when it is away */
export async function readQueue(queue: TaskQueue | LandingQueue): Promise<QueueFacts> {
  const [counts, paused] = await Promise.all([queue.getJobCounts(), queue.isPaused()]);
  const of = (...states: string[]) => states.reduce((sum, state) => sum + (counts[state] ?? 0), 0);
  return {
    name: queue.name,
    paused,
    waiting: of('waiting', 'prioritized'),
    running: of('active'),
    delayed: of('delayed'),
    completed: of('completed'),
    failed: of('failed'),
  };
}
