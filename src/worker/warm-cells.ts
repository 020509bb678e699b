/**
 * Cells made ready ahead of demand (`--warm`): for what stands in line, or else for what was worked on last. They are
 * made one at a time and only while no cell is being spawned, with a rest after each as long as it took while others
 * work, so that they never have more than half a processor's time from running cells. Where memory or disk gets scarce
 * they are given up first.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { AgentSpawner } from '../cell/agent-spawner.ts';
import { largest, smallest } from '../cell/profile.ts';
import type { Settings } from '../config.ts';
import { messageOf } from '../errors.ts';
import type { TaskJob } from '../job/job.ts';
import type { TaskQueue } from '../job/queue.ts';
import type { Logger } from '../observe/logger.ts';
import { CELL_MEMORY_BYTES } from '../os/memory.ts';
import { whileWanted } from '../os/within.ts';
import { type Occupancy, type Room, roomOf } from './admit.ts';
import type { SpawnerPool } from './spawner-pool.ts';
import { type Demand, demandOf, demandsInLine, keyOf, keyWith, planOf, wantedOf } from './warm-demand.ts';

export interface WarmCellsOptions {
  /** `warm` of them are kept ready at most. */
  settings: Pick<Settings, 'warm' | 'labels' | 'reserve' | 'home' | 'profile'>;
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
/** A kind of cell that could not be made is left alone for so long, and for twice as long each time after that. */
const FAILED_MS = 60_000;
const FAILED_MOST_MS = 30 * 60_000;
/** A cell that one of so many jobs in line, for each cell that is kept, will ask for is not given up for another. */
const FORESIGHT = 4;
/** Keys and logins change; what is older than this is made anew. */
const OLD_MS = 60 * 60_000;
/** So many kinds of cells are remembered of the jobs that were worked on. */
const REMEMBERED = 4;
/** With all that are to be kept, at each so many looks it is asked if they are still the right ones. */
const FULL_LOOKS = 5;
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
  /** By key: until when (epoch ms) it is not tried again, and how long that is. */
  readonly #failed = new Map<string, { until: number; ms: number }>();
  #making: Promise<void> | null = null;
  #looksAtFull = 0;
  #restUntil = 0;
  #rounds: Promise<void> = Promise.resolve();

  constructor(options: WarmCellsOptions) {
    this.#options = options;
  }

  /** Cells that are being made and have not taken their memory yet. */
  get making(): number {
    return this.#making === null ? 0 : 1;
  }

  /** Cells that are there and have theirs. */
  get ready(): number {
    return this.#ready().length;
  }

  begin(): void {
    if (this.#options.settings.warm > 0) this.#rounds = this.#run();
  }

  /** A job is worked on, at the tip of `base`: the next may be like it. */
  note(data: TaskJob, base: string): void {
    const demand = demandOf(data, base);
    if (demand === null) return;
    const others = this.#last.filter(one => keyOf(one) !== keyOf(demand));
    this.#last = [demand, ...others].slice(0, REMEMBERED);
  }

  /** Removes them all, and makes no more; over when nothing of them is left. Harmless when repeated. */
  async end(): Promise<void> {
    this.#over.abort();
    const discardAll = () => Promise.all(this.#ready().map(one => this.#discard(one)));
    await Promise.all([discardAll(), this.#rounds, this.#making]);
    // One may have been ready just then.
    await discardAll();
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
    const { settings, room = () => roomOf(settings.home), occupancy } = this.#options;
    const { warm, reserve, profile } = settings;
    const ready = this.#ready();
    const spoilt = ready.find(one => !one.isSound || Date.now() - one.createdAt.getTime() > OLD_MS);
    if (spoilt !== undefined) return this.#discard(spoilt);
    const { freeMemory, freeDisk } = await whileWanted(this.#over.signal, room());
    const free = freeMemory - reserve.memoryMb * MIB;
    const isScarce = free < CELL_MEMORY_BYTES[smallest(profile)] || freeDisk < reserve.diskMb * MIB;
    if (isScarce) return this.#giveUp(ready);
    const fits = free >= ROOM_CELLS * CELL_MEMORY_BYTES[largest(profile)];
    const mayMake = this.#making === null && occupancy().spawning === 0 && Date.now() >= this.#restUntil && fits;
    const isFull = ready.length >= warm;
    if (isFull) this.#looksAtFull += 1;
    // Reading jobs costs what their prompts weigh.
    if (isFull ? this.#looksAtFull % FULL_LOOKS !== 0 : !mayMake) return;
    const inLine = await this.#inLine();
    const { surplus, missing } = planOf(wantedOf(inLine, this.#makeable(this.#last), warm), ready);
    const [next] = missing;
    if (next === undefined) return;
    if (isFull) {
      // One that waits for nobody makes way; what takes its place is begun at the next look.
      const soon = new Set(inLine.map(keyOf));
      const idle = surplus.find(({ key }) => !soon.has(key));
      return idle && this.#discard(idle);
    }
    this.#making = this.#make(next).finally(() => {
      this.#making = null;
    });
  }

  async #inLine(): Promise<Demand[]> {
    const { settings, queue } = this.#options;
    // Redis may be away for long, and who ends does not wait for it.
    const asked = demandsInLine(queue, settings.labels, FORESIGHT * settings.warm);
    return this.#makeable(await whileWanted(this.#over.signal, asked));
  }

  #makeable(demands: readonly Demand[]): Demand[] {
    return demands.filter(one => (this.#failed.get(keyOf(one))?.until ?? 0) <= Date.now());
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
      this.#failed.delete(keyOf(demand));
    } catch (error) {
      if (signal.aborted) return;
      this.#leaveAlone(keyOf(demand));
      // Whoever takes the task will tell what is wrong with it.
      log.info({ repository: demand.repository, problem: messageOf(error) }, 'no cell could be made ahead for it');
    }
    if (occupancy().running > 0) this.#restUntil = Date.now() + (Date.now() - began);
  }

  #leaveAlone(key: string): void {
    const now = Date.now();
    // Those of long ago, of bases that are gone, would pile up.
    for (const [other, { until }] of this.#failed) if (until < now - FAILED_MOST_MS) this.#failed.delete(other);
    const ms = Math.min(FAILED_MOST_MS, 2 * (this.#failed.get(key)?.ms ?? FAILED_MS / 2));
    this.#failed.set(key, { until: now + ms, ms });
  }

  #ready(): Ready[] {
    return this.#options.spawners.opened.flatMap(({ repository, spawner, isCurrent }) =>
      spawner.prepared.map(({ mark, ...cell }) => {
        return { ...cell, isSound: cell.isSound && isCurrent, spawner, key: keyWith(repository, mark) };
      }),
    );
  }

  #discard({ spawner, cellId }: Ready): Promise<void> {
    return spawner.discardPrepared(cellId);
  }
}
