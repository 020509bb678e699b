/** Something happens on a queue: a bridge waits for that, and does not ask again and again. */
import { setTimeout as sleep } from 'node:timers/promises';
import { QueueEvents } from 'bullmq';
import type { Redis } from 'ioredis';
import { LANDING_QUEUE, TASK_QUEUE } from '../../job/names.ts';

/** Many jobs that begin or end together are one stir. */
const TOGETHER_MS = 100;

const EVENTS = ['active', 'delayed', 'completed', 'failed', 'removed'] as const;

export class Stir {
  readonly #events: readonly QueueEvents[];
  #stirred = false;
  #wake: () => void = () => undefined;

  private constructor(events: readonly QueueEvents[]) {
    this.#events = events;
    for (const one of events) for (const name of EVENTS) one.on(name, () => this.#stir());
  }

  #stir(): void {
    this.#stirred = true;
    this.#wake();
  }

  /** `redis` is a connection in the worker's role; it stays the caller's. */
  static async open(redis: Redis, prefix: string): Promise<Stir> {
    const events = [TASK_QUEUE, LANDING_QUEUE].map(name => new QueueEvents(name, { connection: redis, prefix }));
    for (const one of events) {
      // Redis being away for a while is seen by the connection itself; events go on when it is back.
      one.on('error', () => undefined);
      await one.waitUntilReady();
    }
    return new Stir(events);
  }

  /** Waits until a job or a landing has begun, ended or left; `false` after `ms` without. Returns at once when one did meanwhile. */
  async wait(ms: number, signal: AbortSignal): Promise<boolean> {
    if (!this.#stirred) await this.#sleep(ms, signal);
    const stirred = this.#stirred;
    if (stirred) await this.#sleep(TOGETHER_MS, signal, false);
    this.#stirred = false;
    return stirred;
  }

  /** With a listener that is taken away again: the signal lives as long as the command. */
  async #sleep(ms: number, signal: AbortSignal, wakes = true): Promise<void> {
    const over = new AbortController();
    const end = () => over.abort();
    if (wakes) this.#wake = end;
    signal.addEventListener('abort', end, { once: true });
    if (signal.aborted) end();
    await sleep(ms, undefined, { signal: over.signal }).catch(() => undefined);
    signal.removeEventListener('abort', end);
  }

  async close(): Promise<void> {
    for (const one of this.#events) {
      one.removeAllListeners();
      one.on('error', () => undefined);
      await one.close();
    }
  }
}
