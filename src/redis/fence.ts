/**
 * The fence: each attempt of a task takes a number that is larger than all before, and only the attempt with the
 * largest one, whose worker still holds the job's lock, may commit. A worker that was stopped or cut off while its
 * job went to another one is refused here.
 *
 * Two things no script can see. A Redis that lost its last second may take an older attempt for the latest again;
 * and a process may be stopped after the answer. For both, refs move by compare-and-swap.
 */
import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import { CellpoolError, InvalidInput, messageOf } from '../errors.ts';
import { TooLate, within } from '../os/within.ts';
import type { Call } from './chain.ts';
import { BEGIN, END, PERMIT } from './fence-scripts.ts';
import { DEFAULT_PREFIX, type TaskKeys, taskKeys } from './keys.ts';
import { Script } from './script.ts';

/** Numbers come from the clock, so they rise also after the last one was forgotten. */
const KEEP_MS = 7 * 86_400_000;
/** A permit that took longer to arrive is stale: this process may have been stopped since it was given. */
const PERMIT_MS = 2_000;

const begin = new Script(BEGIN);
const permit = new Script(PERMIT);
const end = new Script(END);

export interface Begun {
  /** Decimal; larger than that of every attempt of this task before. */
  readonly number: string;
  /** How many attempts before this one, in a row, have begun and never ended: their worker died. */
  readonly unended: number;
  /** This enqueuing of the task was cancelled. */
  readonly cancelled: boolean;
}

const REFUSALS: Record<string, string> = {
  newer: 'a newer attempt has begun',
  forgotten: 'Redis has forgotten that it began',
  lock: "the job's lock was lost",
};

export class Fence {
  readonly #redis: Redis;
  readonly #prefix: string;

  /** The client stays the caller's. */
  constructor(redis: Redis, { prefix = DEFAULT_PREFIX }: { prefix?: string } = {}) {
    this.#redis = redis;
    this.#prefix = prefix;
  }

  /**
   * Takes the next number for an attempt; `enqueuedAt` (epoch ms) tells this enqueuing of the task from earlier ones.
   * @throws {InvalidInput} for what cannot be a task id
   */
  async begin(task: { taskId: string; enqueuedAt: number }): Promise<Begun> {
    const { keys, args } = this.beginning(task);
    return this.begunBy(await begin.run(this.#redis, keys, args));
  }

  /** How `begin` is asked as part of a chain, and what is answered. @throws {InvalidInput} */
  beginning({ taskId, enqueuedAt }: { taskId: string; enqueuedAt: number }): Call {
    const { fence, cancel } = this.#keys(taskId);
    return { keys: [fence, cancel], args: [randomUUID(), String(enqueuedAt), KEEP_MS] };
  }

  begunBy(reply: unknown): Begun {
    const [number, unended, cancelled] = reply as [string, string, number];
    return { number, unended: Number(unended), cancelled: cancelled === 1 };
  }

  /**
   * Returns when this attempt may commit, with the job's lock held for `lockMs` from now; act on it at once.
   * @throws {CellpoolError} FENCED when a newer attempt began, the lock is not held by `token`, or no answer came
   *   within 2 s
   */
  async permit(asked: { taskId: string; number: string; token: string; lockMs: number }): Promise<void> {
    const { taskId, number, token, lockMs } = asked;
    const { fence, lock } = this.#keys(taskId);
    if (!Number.isInteger(lockMs) || lockMs < 1) {
      throw new InvalidInput([{ where: 'lockMs', what: `must be whole milliseconds from 1, not ${lockMs}` }]);
    }
    const began = performance.now();
    let answer: unknown;
    try {
      answer = await within(PERMIT_MS, undefined, () =>
        permit.run(this.#redis, [fence, lock], [number, token, lockMs, KEEP_MS]),
      );
    } catch (error) {
      // No `cause`: errors of ioredis carry the arguments of the command, and the token is one.
      throw refused(
        taskId,
        number,
        error instanceof TooLate ? tooLate() : `Redis did not permit it: ${messageOf(error)}`,
      );
    }
    if (performance.now() - began > PERMIT_MS) throw refused(taskId, number, tooLate());
    if (answer !== 'ok') throw refused(taskId, number, REFUSALS[String(answer)] ?? 'Redis did not permit it');
  }

  /**
   * Says that the attempt has ended, however: the worker that had it lives. `unended` of those before it stay so, for
   * an attempt that ended before it could look for what they have done. Harmless when a newer one began.
   */
  async end(taskId: string, begun: Pick<Begun, 'number' | 'unended'>): Promise<void> {
    const { keys, args } = this.ending(taskId, begun);
    await end.run(this.#redis, keys, args);
  }

  /** How `end` is said as part of a chain. */
  ending(taskId: string, { number, unended }: Pick<Begun, 'number' | 'unended'>): Call {
    return { keys: [this.#keys(taskId).fence], args: [number, KEEP_MS, unended] };
  }

  #keys(taskId: string): TaskKeys {
    return taskKeys(this.#prefix, taskId);
  }
}

function tooLate(): string {
  return `no permit came within ${PERMIT_MS} ms`;
}

function refused(taskId: string, number: string, why: string): CellpoolError {
  return new CellpoolError('FENCED', `this attempt of task ${taskId} may not commit: ${why}`, {
    hint: 'Nothing to do: the task runs again, or a newer attempt has it.',
    facts: { taskId, number, why },
  });
}
