/**
 * How workers are told what to do while they work. A message reaches those that listen at that moment; for a task
 * that is cancelled a mark stays as well, which `Fence.begin` and `Control.marked` read, so that a worker that missed
 * the message, or takes the job later, finds it. Make the mark first, then publish.
 *
 * With an access list, Redis must also allow the channel: `&<prefix>:control`.
 */
import type { Redis } from 'ioredis';
import { z } from 'zod';
import { taskIdFault } from '../job/names.ts';
import { listenerLike } from './connection.ts';
import { controlChannel, DEFAULT_PREFIX, taskKeys } from './keys.ts';

const KEEP_MS = 7 * 86_400_000;

const controlMessageSchema = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('cancel'),
    taskId: z.string().refine(id => taskIdFault(id) === null, 'is not a task id'),
  }),
  /** `host` null: the workers of every host. */
  z.object({ kind: z.literal('drain'), host: z.string().nullable() }),
  /** A task was set aside that asks for labels; workers that have some may call it. */
  z.object({ kind: z.literal('aside') }),
]);
export type ControlMessage = z.infer<typeof controlMessageSchema>;

export class Control {
  readonly #redis: Redis;
  readonly #prefix: string;

  /** The client stays the caller's. */
  constructor(redis: Redis, { prefix = DEFAULT_PREFIX }: { prefix?: string } = {}) {
    this.#redis = redis;
    this.#prefix = prefix;
  }

  /**
   * Leaves a mark, for 7 days, that this enqueuing of the task (epoch ms) is cancelled; a later one is not.
   * @throws {InvalidInput} for what cannot be a task id
   */
  async markCancelled(taskId: string, enqueuedAt: number): Promise<void> {
    await this.#redis.set(taskKeys(this.#prefix, taskId).cancel, String(enqueuedAt), 'PX', KEEP_MS);
  }

  /** Takes the mark away; harmless when there is none. @throws {InvalidInput} for what cannot be a task id */
  async unmark(taskId: string): Promise<void> {
    await this.#redis.del(taskKeys(this.#prefix, taskId).cancel);
  }

  /** Which of these enqueuings are marked as cancelled, as task ids; one round trip however many. */
  async marked(tasks: readonly { taskId: string; enqueuedAt: number }[]): Promise<string[]> {
    if (tasks.length === 0) return [];
    const marks = await this.#redis.mget(tasks.map(({ taskId }) => taskKeys(this.#prefix, taskId).cancel));
    return tasks.flatMap(({ taskId, enqueuedAt }, index) => (marks[index] === String(enqueuedAt) ? [taskId] : []));
  }

  /** Tells every worker that listens now; returns how many connections heard it. */
  publish(message: ControlMessage): Promise<number> {
    return this.#redis.publish(controlChannel(this.#prefix), JSON.stringify(message));
  }

  /**
   * Listens until `close`, on a connection of its own like `connection`, which stays as it is. When Redis was away
   * it listens again by itself, but what was published meanwhile is missed. Nonsense on the channel is passed over.
   * `onMessage` must not throw. @throws the error of Redis when it does not allow the channel
   */
  static async subscribe(
    connection: Redis,
    prefix: string,
    onMessage: (message: ControlMessage) => void,
  ): Promise<{ close(): Promise<void> }> {
    const channel = controlChannel(prefix);
    const listener = listenerLike(connection);
    // It connects again by itself; without a listener ioredis prints every failed attempt.
    listener.on('error', () => undefined);
    listener.on('message', (_channel, text) => {
      const message = understood(text);
      if (message !== null) onMessage(message);
    });
    try {
      await listener.subscribe(channel);
    } catch (error) {
      listener.disconnect();
      throw error;
    }
    return {
      close: async () => {
        listener.removeAllListeners('message');
        // Nobody waits for its end: ioredis never tells it while Redis is away.
        listener.disconnect();
      },
    };
  }
}

function understood(text: string): ControlMessage | null {
  try {
    return controlMessageSchema.safeParse(JSON.parse(text)).data ?? null;
  } catch {
    // Not even JSON: anybody may publish on a shared Redis.
    return null;
  }
}
