/**
 * Counts an attempt once its end is written down: before that it may yet be somebody else's to end. Jobs that are put
 * back uncounted are no attempts.
 *
 * A worker that dies after the end was written and before it is counted leaves it to whoever finds the job done. Of
 * one that was to be tried again nobody finds out: such an attempt, and one whose worker died in its midst, is missing
 * in the tally, and none is in it twice.
 */
import { messageOf } from '../errors.ts';
import type { AttemptResult } from '../job/outcome.ts';
import type { HeldJob } from './held-job.ts';

/** Never throws: the tally is news. */
export async function countAttempt({ context, job }: HeldJob, result: AttemptResult): Promise<void> {
  const { taskId, attempt, artifacts } = result;
  // Each cell has a folder of its own; a task that ends without one does so once for each time it was enqueued.
  const name = artifacts === '' ? `${taskId} ${job.timestamp} ${attempt}` : artifacts;
  try {
    await context.tally.add(result, name);
  } catch (error) {
    context.log.warn({ problem: messageOf(error) }, 'the attempt could not be counted');
  }
}
