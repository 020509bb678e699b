/**
 * Cells made ready ahead of demand (`--warm`): for what stands in line, or else for what was worked on last. They are
 * made one at a time and only while no cell is being spawned, with a rest after each as long as it took while others
 * work, so that they never have more than half a processor's time from running cells. Where memory or disk gets scarce
 * they are given up first.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { AgentSpawner } from '../cell/agent-spawner.ts';
import type { Settings } from '../config.ts';
import { messageOf } from '../errors.ts';
import type { TaskJob } from '../job/job.ts';
import type { TaskQueue } from '../job/queue.ts';
import type { Logger } from '../observe/logger.ts';
import { CELL_MEMORY_BYTES } from '../os/memory.ts';
import { type Occupancy, type Room, roomOf } from './admit.ts';
import type { SpawnerPool } from './spawner-pool.ts';
import { type Demand, demandOf, demandsInLine, keyOf, keyWith, planOf, wantedOf } from './warm-demand.ts';

export interface WarmCellsOptions {
  /** `warm` of them are kept ready at most. */
  settings: Pick<Settings, 'warm' | 'labels' | 'reserve' | 'home'>;
  queue: Pick<TaskQueue, 'getWaiting' | 'getPrioritized'>;
  spawners: Pick<SpawnerPool, 'of' | 'opened'>;
  occupancy(): Occupancy;
  /** What is free; left out: on this machine. */
  room?: () => Promise<Room>;
  log: Logger;
  /** Milliseconds between two looks. */
  everyMs?: number;
}

const EVERY_MS = 1_000;
/** A kind of cell that could not be made is left alone for so long. */
const FAILED_MS = 60_000;
/** Keys and logins change; what is older than this is made anew. */
const OLD_MS = 60 * 60_000;
/** So many kinds of cells are remembered of the jobs that were worked on. */
const REMEMBERED = 4;
/** A cell is made ahead while there is room for two more beside it: the next jobs may be of another kind. */
const ROOM_CELLS = 3;
const MIB = 1024 * 1024;

interface Ready {
  key: string;
  spawner: AgentSpawner;
  cellId: string;
  isSound: boolean;
  createdAt: Date;
}

export class WarmCells {
  readonly #options: WarmCellsOptions;
  readonly #over = new AbortController();
  /** Latest first. */
  #last: Demand[] = [];
  /** By key: until when (epoch ms) it is not tried again. */
  readonly #failed = new Map<string, number>();
  #making: Promise<void> | null = null;
  #restUntil = 0;
  #rounds: Promise<void> = Promise.resolve();

  constructor(options: WarmCellsOptions) {
    this.#options = options;
  }

  /** Cells that are being made and have not taken their memory yet. */
  get making(): number {
    return this.#making === null ? 0 : 1;
  }

  begin(): void {
    if (this.#options.settings.warm > 0) this.#rounds = this.#run();
  }

  /** A job is worked on: the next may be like it. */
  note(data: TaskJob): void {
    const demand = demandOf(data);
    const others = this.#last.filter(one => keyOf(one) !== keyOf(demand));
    this.#last = [demand, ...others].slice(0, REMEMBERED);
  }

  /** Removes them all, and makes no more; over when nothing of them is left. Harmless when repeated. */
  async end(): Promise<void> {
    this.#over.abort();
    await this.#rounds;
    await this.#making;
    await Promise.all(this.#ready().map(one => this.#discard(one)));
  }

  async #run(): Promise<void> {
    const { everyMs = EVERY_MS, log } = this.#options;
    const { signal } = this.#over;
    while (!signal.aborted) {
      await this.#look().catch(error => log.debug({ problem: messageOf(error) }, 'no cells could be made ahead'));
      await sleep(everyMs, undefined, { signal }).catch(() => undefined);
    }
  }

  async #look(): Promise<void> {
    const { settings, queue, room = () => roomOf(settings.home) } = this.#options;
    const { warm, labels, reserve } = settings;
    const ready = this.#ready();
    const spoilt = ready.find(one => !one.isSound || Date.now() - one.createdAt.getTime() > OLD_MS);
    if (spoilt !== undefined) return this.#discard(spoilt);
    const { freeMemory, freeDisk } = await room();
    const cells = Math.floor((freeMemory - reserve.memoryMb * MIB) / CELL_MEMORY_BYTES.fast);
    if (cells < 1 || freeDisk < reserve.diskMb * MIB) return this.#giveUp(ready);
    const wanted = wantedOf(await demandsInLine(queue, labels, warm), this.#last, warm);
    const { surplus, missing } = planOf(wanted, ready);
    const next = missing.find(one => (this.#failed.get(keyOf(one)) ?? 0) <= Date.now());
    if (next === undefined || this.#making !== null) return;
    // One that waits for nobody makes way; what takes its place is begun at the next look.
    if (ready.length >= warm) return surplus[0] && this.#discard(surplus[0]);
    const { spawning } = this.#options.occupancy();
    if (spawning > 0 || Date.now() < this.#restUntil || cells < ROOM_CELLS) return;
    this.#making = this.#make(next).finally(() => {
      this.#making = null;
    });
  }

  async #giveUp([oldest]: readonly Ready[]): Promise<void> {
    if (oldest === undefined) return;
    this.#options.log.info({ cell: oldest.cellId }, 'a cell made ahead is given up: memory or disk is scarce');
    await this.#discard(oldest);
  }

  async #make(demand: Demand): Promise<void> {
    const { spawners, log, occupancy } = this.#options;
    const { signal } = this.#over;
    const began = Date.now();
    try {
      const { spawner } = await spawners.of(demand.repository, signal);
      await spawner.prepareAgent(demand.kind, signal);
    } catch (error) {
      if (signal.aborted) return;
      this.#failed.set(keyOf(demand), Date.now() + FAILED_MS);
      // Whoever takes the task will tell what is wrong with it.
      log.info({ repository: demand.repository, problem: messageOf(error) }, 'no cell could be made ahead for it');
    }
    if (occupancy().running > 0) this.#restUntil = Date.now() + (Date.now() - began);
  }

  #ready(): Ready[] {
    return this.#options.spawners.opened.flatMap(({ repository, spawner }) =>
      spawner.prepared.map(({ mark, ...cell }) => ({ ...cell, spawner, key: keyWith(repository, mark) })),
    );
  }

  #discard({ spawner, cellId }: Ready): Promise<void> {
    return spawner.discardPrepared(cellId);
  }
}
