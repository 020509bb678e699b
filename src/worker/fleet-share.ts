/**
 * This worker's slots in the fleet: one is leased before a cell begins and given back when it is torn down. How many
 * more there may be is asked for every second, so that a worker without a slot to have does not take jobs either.
 */

import { messageOf } from '../errors.ts';
import type { Logger } from '../observe/logger.ts';
import type { FairShare } from '../redis/fair-share.ts';
import { type Answer, type FleetView, roomIn, type SlotOwner, type Slots, whyFull } from '../redis/slots.ts';

/** How many jobs this worker may have in hand as far as the fleet is concerned. */
export interface Share {
  /** Infinite without a cap. */
  cells: number;
  /** Why no more, for people; null when there are no fewer than there may be. */
  why: string | null;
}

export interface FleetShareOptions {
  slots: Slots;
  fairShare: FairShare;
  worker: SlotOwner['worker'];
  host: string;
  home: string;
  /** The cap of this host that this worker was given; null: none. */
  hostCap: number | null;
  log: Logger;
  /** Told whenever it was asked, or when a job got no slot. */
  onShare(share: Share): void;
}

/** `full`: the caps leave none. `toPass`: the mark of a repository of which a task should have it instead. */
export type Taken = 'granted' | 'full' | { toPass: string };

type SlotJob = Pick<SlotOwner, 'taskId' | 'attempt' | 'repository'>;

export class FleetShare {
  readonly #options: FleetShareOptions;
  readonly #held = new Map<string, SlotOwner>();
  /** Asked for, and not answered yet. */
  readonly #asked = new Map<string, SlotOwner>();

  constructor(options: FleetShareOptions) {
    this.#options = options;
  }

  /**
   * Leases a slot for an attempt: `ask` does that together with whatever else there is to ask, and its answer comes back
   * with what became of the slot; null when no slot was asked for. @throws the error of Redis
   */
  async take<Asked extends { slot: Answer | null }>(
    job: SlotJob,
    ask: (owner: SlotOwner, hostCap: number | null) => Promise<Asked>,
  ): Promise<{ asked: Asked; taken: Taken | null }> {
    const { worker, host, home, hostCap } = this.#options;
    const owner: SlotOwner = { host, home, worker, ...job };
    this.#asked.set(job.taskId, owner);
    try {
      const asked = await ask(owner, hostCap);
      return { asked, taken: asked.slot === null ? null : this.#heed(owner, asked.slot) };
    } finally {
      this.#asked.delete(job.taskId);
    }
  }

  #heed(owner: SlotOwner, { granted, toPass, view }: Answer): Taken {
    if (granted) this.#held.set(owner.taskId, owner);
    else if (toPass === null) this.#tell(view);
    return granted ? 'granted' : toPass === null ? 'full' : { toPass };
  }

  /**
   * Gives the slot of the task back; harmless without one. Not waited for: the cell is gone, whatever Redis says, and
   * what goes wrong here is put right by the next `look`.
   */
  give(taskId: string): void {
    const owner = this.#held.get(taskId);
    if (owner === undefined) return;
    this.#held.delete(taskId);
    this.#options.slots.release([owner]).catch(error => {
      this.#options.log.warn({ task: taskId, problem: messageOf(error) }, 'the slot could not be given back yet');
    });
  }

  /** Puts a task of the repository before the one that was put back for it. Without Redis it is found again later. */
  async letPass(mark: string): Promise<void> {
    const { fairShare, log } = this.#options;
    await fairShare.letPass(mark).catch(error => {
      log.warn({ problem: messageOf(error) }, 'a task of another repository could not be let pass');
    });
  }

  /** Says which slots we have, and hears how many more there may be. @throws the error of Redis */
  async look(): Promise<void> {
    const { slots, host, worker } = this.#options;
    const view = await slots.keep({ host, worker }, [...this.#held.values()], [...this.#asked.values()]);
    this.#tell(view);
  }

  #tell(view: FleetView): void {
    const { hostCap, onShare } = this.#options;
    const room = roomIn(view, hostCap);
    // Those that are asked for may get what room there is.
    onShare({ cells: this.#held.size + room, why: room === 0 ? whyFull(view, hostCap) : null });
  }
}
