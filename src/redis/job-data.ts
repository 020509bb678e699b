/** A job's data and lock in our own words: BullMQ's own `updateData` asks nobody whether the job is still ours. */
import type { Redis } from 'ioredis';
import { CellpoolError } from '../errors.ts';
import type { Outcome } from '../job/outcome.ts';
import type { Call } from './chain.ts';
import { DEFAULT_PREFIX, taskKeys } from './keys.ts';
import { Script } from './script.ts';

/**
 * KEYS: the job, its lock, the task's outcome. ARGV: token, data, outcome or ''. Returns 1, or 0 when the lock is not
 * held by the token.
 */
export const WRITE = `
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], 'data', ARGV[2])
if ARGV[3] ~= '' then redis.call('SET', KEYS[3], ARGV[3], 'XX', 'KEEPTTL') end
return 1
`;
const write = new Script(WRITE);

export class JobData {
  readonly #redis: Redis;
  readonly #prefix: string;

  /** The client stays the caller's. */
  constructor(redis: Redis, { prefix = DEFAULT_PREFIX }: { prefix?: string } = {}) {
    this.#redis = redis;
    this.#prefix = prefix;
  }

  /**
   * Takes the lock of a job that nobody has any more, for `ms` milliseconds, in the name of the dead worker who had
   * it: `token` is his. False when somebody has it.
   */
  async takeOver(taskId: string, token: string, ms: number): Promise<boolean> {
    const { lock } = taskKeys(this.#prefix, taskId);
    return (await this.#redis.set(lock, token, 'PX', ms, 'NX')) === 'OK';
  }

  /**
   * Replaces the data of the task's job. `token` is the one the job was taken with. With it the `outcome` that the
   * task has come to for good is kept beside the job, if others depend on it: BullMQ may forget the job before they ask.
   * @throws {CellpoolError} FENCED when the job is no longer ours; nothing was written then
   */
  async write(taskId: string, token: string, data: unknown, outcome: Outcome | '' = ''): Promise<void> {
    const { keys, args } = this.writing(taskId, token, data, outcome);
    this.mustBeWritten(taskId, await write.run(this.#redis, keys, args));
  }

  /** How `write` is said as part of a chain. */
  writing(taskId: string, token: string, data: unknown, outcome: Outcome | ''): Call {
    const { job, lock, outcome: kept } = taskKeys(this.#prefix, taskId);
    return { keys: [job, lock, kept], args: [token, JSON.stringify(data), outcome] };
  }

  /** What is answered. @throws {CellpoolError} FENCED */
  mustBeWritten(taskId: string, written: unknown): void {
    if (written === 1) return;
    throw new CellpoolError('FENCED', `task ${taskId}: the job is no longer ours, nothing is written to it`);
  }
}
