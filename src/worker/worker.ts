/**
 * The worker: takes jobs from the queue and runs a cell for each, never more than its cap at once. It is `working`
 * until `drain` (take no more, let the running ones end) or `stop` (cancel the running ones and hand their jobs back).
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Job, Worker } from 'bullmq';
import { chooseProfile } from '../cell/profile.ts';
import { messageOf } from '../errors.ts';
import type { AttemptResult } from '../job/outcome.ts';
import { Redactor } from '../observe/redact.ts';
import { secretsOfWorker } from '../observe/secrets.ts';
import { ownIdentity } from '../os/identity.ts';
import { chooseIsolation, type Isolation } from '../os/isolation.ts';
import { makeStateFolder } from '../os/state-folder.ts';
import type { CellRecord } from '../redis/cell-record.ts';
import { PortLeases } from '../redis/port-lease.ts';
import { CellRegistry } from '../redis/registry.ts';
import type { Occupancy } from './admit.ts';
import { capacityOf } from './capacity.ts';
import { CellStages } from './cell-stages.ts';
import { FleetShare } from './fleet-share.ts';
import { Gate } from './gate.ts';
import { type JobContext, REASONS } from './held-job.ts';
import type { JobLocks } from './job-locks.ts';
import { LOCK_MS, openJobQueue } from './job-queue.ts';
import type { Lander } from './lander.ts';
import { landerOf } from './lander-parts.ts';
import { type PoolOptions, toldOf } from './pool-options.ts';
import { processJob } from './process-job.ts';
import { type RedisParts, redisParts } from './redis-parts.ts';
import { REMOVE_MS, Removals } from './removals.ts';
import { SpareWorkspaces } from './spare-workspaces.ts';
import { SpawnerPool, siteOptionsOf } from './spawner-pool.ts';
import { Upkeep } from './upkeep.ts';
import { WarmCells } from './warm-cells.ts';

/** For handing jobs back once the cells are gone; after that their locks run out by themselves. */
const HAND_BACK_MS = 10_000;
/** A job that may not begin here right now is looked at again so soon. */
const HOLD_MS = 1_000;
/** Of a job that is put back before anything is done for it. */
const NEVER = new AbortController().signal;

export class WorkerPool {
  readonly concurrency: number;
  /** How far its cells are kept from this machine. */
  readonly isolation: Isolation;
  /** Jobs that were given back because the worker stops. */
  handedBack = 0;
  readonly #worker: Worker;
  readonly #locks: JobLocks;
  readonly #upkeep: Upkeep;
  readonly #fleet: FleetShare;
  readonly #parts: RedisParts;
  readonly #gate: Gate;
  readonly #removals: Removals;
  readonly #spares: SpareWorkspaces;
  /** By task id: when the job was put on the queue. */
  readonly #running = new Map<string, number>();
  readonly #cells = new Set<Promise<unknown>>();
  readonly #stages = new CellStages();
  readonly #warm: WarmCells;
  readonly #lander: Lander;
  readonly #drainAsked = new AbortController();
  #stopping = false;
  /** Takes no more jobs. */
  #ending = false;
  #tellStopped: () => void = () => undefined;
  readonly #stopped = new Promise<void>(resolve => {
    this.#tellStopped = resolve;
  });

  private constructor(options: PoolOptions, worker: CellRecord['worker'], concurrency: number, isolation: Isolation) {
    const { settings, redis, log } = options;
    const { home, host, prefix, reserve } = settings;
    this.concurrency = concurrency;
    this.isolation = isolation;
    const parts = redisParts(redis, { prefix, log, labels: settings.labels, lookAgainMs: options.lookAgainMs });
    this.#parts = parts;
    const registry = new CellRegistry(redis, { prefix, host, home });
    const ports = new PortLeases(redis, { prefix, host, range: settings.ports });
    const redactor = options.redactor ?? new Redactor(secretsOfWorker(settings));
    const demand = () => this.#stages.demand(this.#gate.allowed, this.#warm.ready, settings);
    const profile = () => chooseProfile(settings.profile, demand());
    this.#removals = new Removals({ home, owner: worker, log });
    this.#spares = new SpareWorkspaces({ home, owner: worker, removals: this.#removals, reserve, log });
    const folders = { workspaces: this.#spares.get, discard: (dir: string) => this.#removals.take(dir) };
    const site = { ...siteOptionsOf(settings, log), redactor, profile, ...folders };
    const { spawners: make = (...own) => new SpawnerPool(site, ...own) } = options;
    const spawners = make(ports, { cells: registry, worker });
    this.#fleet = new FleetShare({
      ...{ slots: parts.slots, fairShare: parts.fairShare, worker, host, home, log },
      hostCap: settings.hostConcurrency ?? null,
      onShare: share => this.#gate.share(share),
    });
    const { queue, landings, dependencies, slots, onEnded } = parts;
    const registration = { cells: registry, worker };
    this.#lander = landerOf({ settings, redis, parts, spawners, registration, log, redactor });
    this.#warm = new WarmCells({ settings, queue, spawners, log, occupancy: () => this.#occupancy });
    const context = { ...this.#contextOf(options), ...parts, fleet: this.#fleet, spawners, redactor };
    const work = (job: Job, token: string) => this.#work(context, job, token);
    const { worker: bull, locks } = openJobQueue({
      ...{ redis, prefix, concurrency, log, work, onEnded },
      telemetry: options.tracing?.telemetry,
    });
    this.#worker = bull;
    this.#locks = locks;
    this.#gate = new Gate({ worker: bull, cap: concurrency, log, onHeld: options.onHeld });
    this.#upkeep = new Upkeep({
      ...{ settings, redis, log, redactor, worker, registry, ports, queue, landings, dependencies, slots },
      removals: this.#removals,
      onFailure: options.hooks?.onFailure,
      facts: () => ({ concurrency, running: this.#running, draining: this.#drainAsked.signal.aborted }),
      onCancel: id => this.#locks.cancel(id, REASONS.cancelled),
      onDrain: () => this.#drainAsked.abort(),
      onAside: () => settings.labels.length > 0 && this.#gate.look(),
    });
  }

  /**
   * Starts taking jobs, never more at once than `capacityOf` says.
   * @throws {CellpoolError} ISOLATION_MISSING when the level that was asked for does not work here
   */
  static async start(options: PoolOptions): Promise<WorkerPool> {
    const worker = { id: `${options.settings.host}.${randomBytes(4).toString('hex')}`, ...(await ownIdentity()) };
    const { level, readable } = options.settings.isolation;
    const isolation = await chooseIsolation(level, readable);
    const concurrency = await capacityOf(options.settings);
    // On every line, so that the lines of many hosts can be read together.
    const log = options.log.child({ host: options.settings.host, worker: worker.id });
    const named = { ...options, log };
    const pool = new WorkerPool(named, worker, concurrency, isolation);
    await pool.#begin(named).catch(async error => {
      await pool.stop();
      throw error;
    });
    log.info({ concurrency: pool.concurrency, isolation: isolation.level }, 'worker started');
    return pool;
  }

  /** Task ids of the cells at work. */
  get running(): readonly string[] {
    return [...this.#running.keys()];
  }

  /** Aborted when somebody (`cellpool drain`) wants this worker to take no more jobs and to end. */
  get drainAsked(): AbortSignal {
    return this.#drainAsked.signal;
  }

  /** Takes no more jobs and resolves when the running ones have ended, or when `stop` is done. */
  async drain(): Promise<void> {
    this.#ending = true;
    const cooled = this.#giveUpAhead();
    await Promise.race([Promise.all([this.#worker.close(), this.#lander.drain()]), this.#stopped]);
    await cooled;
    await this.#removals.end(REMOVE_MS.drain);
    await this.#close();
  }

  /** Cancels what runs, hands the jobs back uncounted, and resolves when all cells are torn down, Redis or not. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.#ending = true;
    this.#removals.close();
    const cooled = Promise.all([this.#giveUpAhead(), this.#lander.stop()]);
    const closing = this.#worker.close();
    for (const id of this.#running.keys()) this.#locks.cancel(id, REASONS.stopping);
    // Again: a job that was being taken just now may have begun its cell meanwhile.
    while (this.#cells.size > 0) await Promise.allSettled(this.#cells);
    await cooled;
    // The cells are gone. What is left is to tell Redis, which cannot be waited for when it is not there.
    const over = Promise.all([closing, this.#removals.end(REMOVE_MS.stop)]);
    await Promise.race([over, sleep(HAND_BACK_MS, undefined, { ref: false })]);
    this.#tellStopped();
    await this.#close();
  }

  /** What was made ahead. */
  readonly #giveUpAhead = () => Promise.all([this.#warm.end(), this.#spares.end()]);

  async #close(): Promise<void> {
    this.#locks.close();
    this.#gate.close();
    await this.#upkeep.end();
  }

  #contextOf(options: PoolOptions): Omit<JobContext, keyof RedisParts | 'spawners' | 'redactor' | 'fleet'> {
    return {
      ...toldOf(options),
      lockMs: LOCK_MS,
      onCell: life => {
        this.#cells.add(life);
        const over = () => void this.#cells.delete(life);
        life.then(over, over);
      },
      holdMs: () => (this.#stopping ? HOLD_MS : this.#running.size > this.#gate.allowed ? 0 : null),
      onStage: (id, stage) => this.#stages.enter(id, stage),
      onBegun: (data, base) => this.#warm.note(data, base),
      onHandedBack: () => {
        this.handedBack += 1;
      },
    };
  }

  async #work(context: JobContext, job: Job, token: string): Promise<AttemptResult> {
    const id = job.id ?? '';
    // After a long silence of Redis we may be handed a job whose last attempt we are still ending.
    if (this.#running.has(id)) return await processJob({ ...context, holdMs: () => HOLD_MS }, job, token, NEVER);
    this.#running.set(id, job.timestamp);
    const signal = this.#locks.take(id, token);
    try {
      return await processJob(context, job, token, signal);
    } finally {
      this.#running.delete(id);
      this.#stages.over(id);
      this.#locks.done(id);
    }
  }

  get #occupancy(): Occupancy {
    return { running: this.#running.size, spawning: this.#stages.spawning + this.#warm.making };
  }

  async #look(): Promise<void> {
    await Promise.all([this.#fleet.look(), this.#spares.look()]);
    await this.#parts.labels.call(this.#ending ? 0 : this.#gate.allowed - this.#running.size);
  }

  /** No job is taken before what dead workers left is removed, and before it is known how many cells fit. */
  async #begin({ settings, log }: PoolOptions): Promise<void> {
    const { home, reserve, profile } = settings;
    await makeStateFolder(home);
    // Whoever starts a worker may have put the key right.
    await this.#parts.cooldowns.clearAll('refused');
    await this.#upkeep.begin();
    await this.#gate.open({
      folder: home,
      reserve,
      profile,
      occupancy: () => this.#occupancy,
      look: () => this.#look(),
    });
    void this.#worker.run().catch(error => log.error({ problem: messageOf(error) }, 'the queue cannot be worked'));
    await this.#worker.waitUntilReady();
    this.#warm.begin();
    this.#lander.begin();
  }
}
