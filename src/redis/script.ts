/** A Lua script that Redis is sent once and then called by its digest. */
import { createHash } from 'node:crypto';
import type { Redis } from 'ioredis';

export class Script {
  readonly #source: string;
  readonly #digest: string;

  constructor(source: string) {
    this.#source = source;
    this.#digest = createHash('sha1').update(source).digest('hex');
  }

  /** Runs the script; sends its source when the server does not have it, as after a restart. */
  async run(redis: Redis, keys: readonly string[], args: readonly (string | number)[]): Promise<unknown> {
    try {
      return await redis.evalsha(this.#digest, keys.length, ...keys, ...args);
    } catch (error) {
      if (!(error instanceof Error && error.message.startsWith('NOSCRIPT'))) throw error;
      return await this.runWhole(redis, keys, args);
    }
  }

  /**
   * The same with its source, so that it is one command whether the server has the script or not: what is sent after it
   * on the same connection runs after it, though nobody waits for the answer in between.
   */
  async runWhole(redis: Redis, keys: readonly string[], args: readonly (string | number)[]): Promise<unknown> {
    return await redis.eval(this.#source, keys.length, ...keys, ...args);
  }
}
