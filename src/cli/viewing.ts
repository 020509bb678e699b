/** What the commands share that tell how the pool stands and change nothing. */
import type { ViewContext } from '../board/view/context.ts';
import type { Settings } from '../config.ts';
import { CellpoolError } from '../errors.ts';
import { openLandingQueue } from '../job/landing.ts';
import { openQueue } from '../job/queue.ts';
import { unavailable } from '../redis/redis-away.ts';
import { withRedis } from './connected.ts';
import { interruptible } from './interrupts.ts';
import type { CommonFlags } from './options.ts';
import { say } from './outputs.ts';

export interface ViewFlags extends CommonFlags {
  json?: boolean;
}

/**
 * Runs `look` with what it needs to read the pool; `stop` is aborted by Ctrl-C, and when nobody reads stdout any more.
 * Returns its exit code, or 130 when it was interrupted. @throws {CellpoolError} REDIS_UNAVAILABLE, and whatever
 * `look` throws
 */
export function viewing(
  settings: Settings,
  look: (context: ViewContext, stop: AbortSignal) => Promise<number>,
): Promise<number> {
  const { prefix } = settings;
  return interruptible(async ({ asked }) => {
    const gone = new AbortController();
    process.stdout.once('error', () => gone.abort());
    const stop = AbortSignal.any([asked, gone.signal]);
    const code = await withRedis(
      settings,
      say,
      async connected => {
        const redis = await connected.connection('producer');
        const queue = openQueue(redis, prefix);
        const landing = openLandingQueue(redis, prefix);
        try {
          return await look({ redis, queue, landing, prefix }, stop);
        } catch (error) {
          throw unavailable(error, 'Redis went away while the pool was looked at', 'Nothing was changed; try again.');
        } finally {
          await Promise.all([queue.close(), landing.close()]);
        }
      },
      asked,
    );
    return asked.aborted ? 130 : code;
  });
}

/** One JSON object a line. */
export function tellJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

export function noSuchTask(taskId: string): CellpoolError {
  return new CellpoolError('NO_SUCH_JOB', `${taskId} is not known: there is no such job`, {
    hint: '`cellpool jobs` lists what there is; tasks that ended long ago are forgotten.',
  });
}
