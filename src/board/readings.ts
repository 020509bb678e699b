/** The facts as the board reads them: bounded in time, and with one error when Redis is away. */
import type { Redis } from 'ioredis';
import { CellpoolError, messageOf } from '../errors.ts';
import { TooLate, within } from '../os/within.ts';
import { isAway } from '../redis/redis-away.ts';
import type { ViewContext } from './view/context.ts';
import type { PoolFacts, TaskDetail } from './view/facts.ts';
import { type PoolOptions, readPool } from './view/pool-facts.ts';
import { type ListOptions, listTasks, readTask, type TaskPage } from './view/task-facts.ts';

/** People wait this long for a page; a Redis that needs longer is as good as away. */
const READ_MS = 5_000;

export class Readings {
  readonly #view: ViewContext;
  readonly #poolOptions: PoolOptions;
  #pool: Promise<PoolFacts> | null = null;

  constructor(view: ViewContext, poolOptions: PoolOptions) {
    this.#view = view;
    this.#poolOptions = poolOptions;
  }

  /** The pool as it is now; who asks while it is being read gets the same answer. @throws {CellpoolError} */
  pool(): Promise<PoolFacts> {
    this.#pool ??= fromRedis(this.#view.redis, () => readPool(this.#view, this.#poolOptions)).finally(() => {
      this.#pool = null;
    });
    return this.#pool;
  }

  /** null when there is no such task. @throws {CellpoolError} */
  task(taskId: string): Promise<TaskDetail | null> {
    return fromRedis(this.#view.redis, () => readTask(this.#view, taskId));
  }

  /** @throws {InvalidInput} for an `after` that no page gave, {CellpoolError} */
  tasks(options: ListOptions): Promise<TaskPage> {
    return fromRedis(this.#view.redis, () => listTasks(this.#view, options));
  }

  /** @throws {CellpoolError} when Redis does not answer */
  async ping(): Promise<void> {
    await this.by(() => this.#view.redis.ping());
  }

  /** What somebody else reads from the same Redis. @throws {CellpoolError}, and whatever else `read` throws */
  by<T>(read: () => Promise<T>): Promise<T> {
    return fromRedis(this.#view.redis, read);
  }
}

/** @throws {CellpoolError} `REDIS_UNAVAILABLE` when that is the cause, and whatever else `read` throws */
async function fromRedis<T>(redis: Redis, read: () => Promise<T>): Promise<T> {
  try {
    return await within(READ_MS, undefined, read);
  } catch (error) {
    const isGone = error instanceof TooLate || redis.status !== 'ready' || isAway(error);
    if (error instanceof CellpoolError || !isGone) throw error;
    const reason = messageOf(error);
    // It answers, and refuses: for want of memory or disk, say, or because it is a replica by now.
    const says = !(error instanceof TooLate) && redis.status === 'ready';
    // No `cause`: errors of ioredis carry the arguments of their command.
    throw new CellpoolError('REDIS_UNAVAILABLE', says ? `Redis refuses: ${reason}` : 'Redis does not answer.', {
      facts: { reason },
    });
  }
}
