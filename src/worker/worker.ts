/**
 * The worker: takes jobs from the queue and runs a cell for each, never more than its cap at once. It is `working`
 * until `drain` (take no more, let the running ones end) or `stop` (cancel the running ones and hand their jobs back).
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import { CONCURRENCY_CAP, type Settings } from '../config.ts';
import { TASK_QUEUE } from '../job/names.ts';
import type { AttemptResult } from '../job/outcome.ts';
import { backoffMs } from '../job/queue.ts';
import type { Logger } from '../observe/logger.ts';
import { ownIdentity } from '../os/identity.ts';
import { availableMemory, cellsThatFit } from '../os/memory.ts';
import { PortLeases } from '../redis/port-lease.ts';
import { type CellRecord, CellRegistry } from '../redis/registry.ts';
import { LOCK_LOST, processJob } from './process-job.ts';
import { SpawnerPool } from './spawner-pool.ts';

/** How long a job stays ours without renewal, and how often others look for jobs that nobody renews: a quarter. */
const LOCK_MS = 20_000;
const STALLED_MS = LOCK_MS / 4;
/** For handing jobs back once the cells are gone; after that their locks run out by themselves. */
const HAND_BACK_MS = 10_000;
/** A stall is the worker's death, not the task's fault; so many deaths in a row look like the task's after all. */
const MAX_STALLS = 10;

export interface PoolOptions {
  settings: Settings;
  /** A connection of the worker role; it stays the caller's. */
  redis: Redis;
  log: Logger;
  onResult?: (result: AttemptResult) => void;
}

export class WorkerPool {
  readonly concurrency: number;
  readonly #worker: Worker;
  readonly #running = new Set<string>();
  readonly #cells = new Set<Promise<unknown>>();
  #stopping = false;
  #handedBack = 0;
  #tellStopped: () => void = () => undefined;
  readonly #stopped = new Promise<void>(resolve => {
    this.#tellStopped = resolve;
  });

  private constructor(
    { settings, redis, log, onResult }: PoolOptions,
    worker: CellRecord['worker'],
    concurrency: number,
  ) {
    this.concurrency = concurrency;
    const { bootMs, setupMs, testMs } = settings.limits;
    const { home, host, opencodeBin, opencode, author, env, prefix } = settings;
    const ports = new PortLeases(redis, { prefix, host, range: settings.ports });
    const cells = new CellRegistry(redis, { prefix, host, home });
    const site = { home, opencodeBin, opencode, author, bootMs, setupMs, testMs, env, log };
    const spawners = new SpawnerPool(site, ports, { cells, worker });
    const context = {
      spawners,
      host,
      log,
      onCell: (life: Promise<unknown>) => {
        this.#cells.add(life);
        void life.finally(() => this.#cells.delete(life));
      },
      stopping: () => this.#stopping,
      onHandBack: () => {
        this.#handedBack += 1;
      },
      onResult: (result: AttemptResult) => onResult?.(result),
    };
    this.#worker = new Worker(
      TASK_QUEUE,
      async (job, token, signal) => {
        const id = job.id ?? '';
        this.#running.add(id);
        try {
          return await processJob(context, job, token ?? '', signal ?? new AbortController().signal);
        } finally {
          this.#running.delete(id);
        }
      },
      {
        connection: redis,
        prefix,
        concurrency,
        lockDuration: LOCK_MS,
        stalledInterval: STALLED_MS,
        maxStalledCount: MAX_STALLS,
        settings: { backoffStrategy: made => backoffMs(made) },
      },
    );
    // A lost lock does not end a job by itself: another worker may have it by now, so ours must not commit.
    this.#worker.on('lockRenewalFailed', ids => {
      for (const id of ids) this.#worker.cancelJob(id, LOCK_LOST);
    });
    this.#worker.on('error', error => log.warn({ problem: error.message }, 'queue trouble'));
  }

  /** Starts taking jobs. The cap is what was asked, else what memory allows, and never over 50. */
  static async start(options: PoolOptions): Promise<WorkerPool> {
    const wanted = options.settings.concurrency ?? cellsThatFit(await availableMemory());
    const worker = { id: `${options.settings.host}.${randomBytes(4).toString('hex')}`, ...(await ownIdentity()) };
    const pool = new WorkerPool(options, worker, Math.min(CONCURRENCY_CAP, wanted));
    await pool.#worker.waitUntilReady();
    options.log.info({ concurrency: pool.concurrency }, 'worker started');
    return pool;
  }

  /** Task ids of the cells at work. */
  get running(): readonly string[] {
    return [...this.#running];
  }

  /** Attempts that were cancelled, and whose jobs were given back uncounted, because this worker stops. */
  get handedBack(): number {
    return this.#handedBack;
  }

  /** Takes no more jobs and resolves when the running ones have ended, or when `stop` is done. */
  async drain(): Promise<void> {
    await Promise.race([this.#worker.close(), this.#stopped]);
  }

  /** Cancels what runs, hands the jobs back uncounted, and resolves when all cells are torn down, Redis or not. */
  async stop(): Promise<void> {
    this.#stopping = true;
    const closing = this.#worker.close();
    for (const id of this.#running) this.#worker.cancelJob(id, 'the worker stops');
    await Promise.allSettled(this.#cells);
    // The cells are gone. What is left is to tell Redis, which cannot be waited for when it is not there.
    await Promise.race([closing, sleep(HAND_BACK_MS, undefined, { ref: false })]);
    this.#tellStopped();
  }
}
