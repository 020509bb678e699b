/**
 * What a worker does besides its jobs: says that it lives, listens to what people ask of it, and removes what dead
 * workers of its host have left.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import type { HookCallback } from '../cell/hook-facts.ts';
import type { Settings } from '../config.ts';
import { messageOf } from '../errors.ts';
import type { LandingQueue } from '../job/landing.ts';
import type { TaskQueue } from '../job/queue.ts';
import type { Logger } from '../observe/logger.ts';
import type { Redactor } from '../observe/redact.ts';
import { CellMemory } from '../redis/cell-memory.ts';
import type { CellRecord } from '../redis/cell-record.ts';
import { Control } from '../redis/control.ts';
import { DiskUses } from '../redis/disk-use.ts';
import { JobData } from '../redis/job-data.ts';
import type { PortLeases } from '../redis/port-lease.ts';
import type { CellRegistry } from '../redis/registry.ts';
import type { Slots } from '../redis/slots.ts';
import { Tally } from '../redis/tally.ts';
import { WorkerList } from '../redis/worker-list.ts';
import { failureHookOfDead } from './dead-hook.ts';
import type { JobDependencies } from './job-dependencies.ts';
import { memoryOfCells } from './memory-of-cells.ts';
import { Reaper } from './reaper.ts';
import type { Removals } from './removals.ts';
import { tidy } from './tidy.ts';

/** Others take a worker that has said nothing for 30 s for gone. */
const BEAT_MS = 3_000;
/** A look that finds nothing costs two calls of Redis and the listing of a folder. */
const REAP_MS = 2_000;
/** Nothing is decided by it; reading 50 cells takes some ms, the whole process table some tens. */
const MEMORY_MS = 10_000;
/** To ask whose turn it is; what is done then is done far less often. */
const TIDY_MS = 15_000;
/** For the end of what is under way; what a reaper was doing then, the next one does. */
const END_MS = 5_000;

export interface UpkeepOptions {
  settings: Settings;
  redis: Redis;
  /** Both are closed at the end. */
  queue: TaskQueue;
  landings: LandingQueue;
  dependencies: JobDependencies;
  log: Logger;
  redactor: Redactor;
  worker: CellRecord['worker'];
  registry: CellRegistry;
  ports: PortLeases;
  slots: Slots;
  removals: Removals;
  /** The program's own callback for an attempt whose worker died. */
  onFailure?: HookCallback | undefined;
  /** `running`: task id -> when its job was put on the queue, epoch ms. */
  facts(): { concurrency: number; running: ReadonlyMap<string, number>; draining: boolean };
  /** Somebody wants this task's attempt to be ended, wherever it runs. */
  onCancel(taskId: string): void;
  /** Somebody wants this worker to take no more jobs and to end. */
  onDrain(): void;
  /** A task was set aside, which may ask for labels of this worker. */
  onAside(): unknown;
}

export class Upkeep {
  readonly #options: UpkeepOptions;
  readonly #workers: WorkerList;
  readonly #marks: Control;
  readonly #memory: CellMemory;
  readonly #disk: DiskUses;
  readonly #over = new AbortController();
  readonly #reaper: Reaper;
  readonly #startedAt = Date.now();
  readonly #timers: NodeJS.Timeout[] = [];
  /** What is being done right now, by name: nothing is begun a second time meanwhile. */
  readonly #busy = new Map<string, Promise<void>>();
  #control: { close(): Promise<void> } | null = null;

  constructor(options: UpkeepOptions) {
    const { settings, redis, queue, log, redactor, worker, registry, ports, slots, removals } = options;
    const { prefix, host, home } = settings;
    this.#options = options;
    this.#workers = new WorkerList(redis, { prefix });
    this.#marks = new Control(redis, { prefix });
    this.#memory = new CellMemory(redis, { prefix });
    this.#disk = new DiskUses(redis, { prefix });
    const onFailure = failureHookOfDead(queue, { settings, log, redactor, callback: options.onFailure });
    this.#reaper = new Reaper({
      registry,
      ports,
      slots,
      removals,
      queue,
      jobData: new JobData(redis, { prefix }),
      home,
      host,
      log,
      identity: worker,
      onFailure,
      tally: new Tally(redis, { prefix }),
    });
  }

  /** Enters the worker, listens, and begins the rounds; the first look for leftovers is over when it resolves. */
  async begin(): Promise<void> {
    const { redis, settings, onDrain, onAside } = this.#options;
    this.#control = await Control.subscribe(redis, settings.prefix, message => {
      if (message.kind === 'cancel') void this.#heed(message.taskId);
      else if (message.kind === 'aside') onAside();
      else if (message.host === null || message.host === settings.host) onDrain();
    });
    await Promise.all([this.#beat(), this.#reap()]);
    this.#every(BEAT_MS, 'beat', () => this.#beat());
    this.#every(REAP_MS, 'reap', () => this.#reap());
    this.#every(MEMORY_MS, 'look at the memory of cells', () => this.#lookAtMemory());
    this.#every(TIDY_MS, 'tidy', () => this.#tidy());
  }

  /** Harmless when repeated. What is under way is waited for, but not for a Redis that is away or says nothing. */
  async end(): Promise<void> {
    for (const timer of this.#timers.splice(0)) clearInterval(timer);
    this.#over.abort();
    const control = this.#control;
    this.#control = null;
    const { redis, queue, landings, dependencies, worker } = this.#options;
    // It would go on listening for a Redis that comes back, and keep the process alive with that.
    await control?.close();
    if (redis.status !== 'ready') return;
    const ended = Promise.allSettled([this.#workers.remove(worker.id), dependencies.settled(), ...this.#busy.values()]);
    await Promise.race([
      ended.then(() => Promise.all([queue.close(), landings.close()])),
      sleep(END_MS, undefined, { ref: false }),
    ]);
  }

  #every(ms: number, name: string, work: () => Promise<void>): void {
    const round = () => {
      if (this.#busy.has(name)) return;
      const done = work()
        .catch(error => this.#options.log.warn({ problem: messageOf(error) }, `${name} failed`))
        .finally(() => this.#busy.delete(name));
      this.#busy.set(name, done);
    };
    this.#timers.push(setInterval(round, ms).unref());
  }

  /** The message names a task; which enqueuing of it is meant tells the mark, and it may not be the one that runs. */
  async #heed(taskId: string): Promise<void> {
    const { facts, onCancel, log } = this.#options;
    const enqueuedAt = facts().running.get(taskId);
    if (enqueuedAt === undefined) return;
    try {
      if ((await this.#marks.marked([{ taskId, enqueuedAt }])).length > 0) onCancel(taskId);
    } catch (error) {
      // The next beat looks for the mark again.
      log.warn({ task: taskId, problem: messageOf(error) }, 'a cancellation could not be looked up');
    }
  }

  async #beat(): Promise<void> {
    const { settings, worker, registry, removals, facts, onDrain, onCancel } = this.#options;
    const { id, pid, startTime, bootId } = worker;
    const { running, ...rest } = facts();
    const { host, labels } = settings;
    const entry = { id, host, labels, pid, startTime, bootId, startedAt: this.#startedAt, ...rest };
    const removing = removals.waiting;
    const asked = [...running].map(([taskId, enqueuedAt]) => ({ taskId, enqueuedAt }));
    const [{ drain }, cancelled] = await Promise.all([
      this.#workers.beat({ ...entry, removing, running: [...running.keys()] }),
      // A message that was sent while we were cut off is not sent again.
      this.#marks.marked(asked),
      registry.beat(),
    ]);
    if (drain) onDrain();
    for (const taskId of cancelled) onCancel(taskId);
  }

  async #lookAtMemory(): Promise<void> {
    const { registry } = this.#options;
    const cells = registry.own;
    if (cells.length > 0) await this.#memory.write(registry.host, await memoryOfCells(cells));
  }

  async #tidy(): Promise<void> {
    const { settings, registry, log } = this.#options;
    await tidy({ settings, registry, uses: this.#disk, log, signal: this.#over.signal });
  }

  async #reap(): Promise<void> {
    await this.#reaper.run();
  }
}
