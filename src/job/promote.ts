/** Moves of jobs by BullMQ that somebody else may have made first. */
import type { TaskQueue } from './queue.ts';

/** Queues a job that waits for its time, at the end of the line. False when the job is not delayed any more. */
export function promote(queue: TaskQueue, id: string): Promise<boolean> {
  return isDone(queue.getBackend().promote(id));
}

/** BullMQ's codes: the job is gone (-1), or not in the state (-3) any more: somebody else was faster. */
export async function isDone(move: Promise<void>): Promise<boolean> {
  try {
    await move;
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === -1 || error.code === -3)) return false;
    throw error;
  }
}
