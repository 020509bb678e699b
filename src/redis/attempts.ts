/**
 * The beginning and the end of an attempt as Redis is told of them, each in one round trip. What is asked, and what an
 * answer means, the parts know whose scripts these are.
 */
import type { Redis } from 'ioredis';
import type { Outcome } from '../job/outcome.ts';
import { type BudgetState, Budgets } from './budget.ts';
import { SHOW } from './budget-scripts.ts';
import { Chain } from './chain.ts';
import { type CooldownAnswer, Cooldowns } from './cooldown.ts';
import { ASK } from './cooldown-scripts.ts';
import { type Begun, Fence } from './fence.ts';
import { BEGIN, END, KNOWN } from './fence-scripts.ts';
import { JobData, WRITE } from './job-data.ts';
import { DEFAULT_PREFIX } from './keys.ts';
import { type Answer, type SlotOwner, Slots } from './slots.ts';
import { ACQUIRE } from './slots-scripts.ts';

/** As `usedUp` says it: of the four that count, none that has a limit has reached it. */
const IS_LEFT = [3, 4, 5, 6]
  .map(index => `(reply[${index + 4}] == '' or tonumber(reply[${index}]) < tonumber(reply[${index + 4}]))`)
  .join(' and ');

/** A task that is cancelled takes neither slot nor turn. */
const IS_CANCELLED = "replies[1] == 'cancelled'";
/** It begins whatever is said; of one that has begun already nobody would know otherwise, and tell its end. */
const BEGINS = "replies[1] ~= ''";

/**
 * Whoever asks the cool-down must be ready to go, so it is asked when all else says go. What begins and is put back must
 * be said to have ended, and is taken for the attempt of a dead worker where that is lost: so it begins last.
 */
const begin = new Chain([
  { source: KNOWN, goesOn: 'true' },
  { source: SHOW, goesOn: `${BEGINS} or (${IS_LEFT})` },
  { source: ACQUIRE, unless: IS_CANCELLED, goesOn: `${BEGINS} or reply[1] == '1'` },
  { source: ASK, unless: IS_CANCELLED, goesOn: `${BEGINS} or reply[1] == '0'` },
  { source: BEGIN, goesOn: 'true' },
]);
/** Whoever finds the job after we died must see its result or an attempt that never ended. */
const end = new Chain([
  { source: WRITE, goesOn: 'reply == 1' },
  { source: END, goesOn: 'true' },
]);

export interface AttemptToBegin {
  owner: SlotOwner;
  /** That of the worker's own host. */
  hostCap: number | null;
  /** Epoch ms. */
  enqueuedAt: number;
  /** `provider/model` */
  model: string;
}

/** What there was to say; null is what was not asked, since what came before it was against it or made it needless. */
export interface Beginning {
  budgets: BudgetState;
  slot: Answer | null;
  turn: CooldownAnswer | null;
  /** Not null although one of the others says no: see `Attempts.begin`. */
  begun: Begun | null;
}

export interface AttemptToEnd {
  taskId: string;
  /** The one that the job was taken with. */
  token: string;
  data: unknown;
  /** That the task has come to for good; empty while it has not. */
  outcome: Outcome | '';
  begun: Pick<Begun, 'number' | 'unended'>;
}

export class Attempts {
  readonly #redis: Redis;
  readonly #budgets: Budgets;
  readonly #slots: Slots;
  readonly #fence: Fence;
  readonly #cooldowns: Cooldowns;
  readonly #jobData: JobData;

  /** The client stays the caller's. @throws {InvalidInput} for a bad prefix */
  constructor(redis: Redis, { prefix = DEFAULT_PREFIX }: { prefix?: string } = {}) {
    this.#redis = redis;
    this.#budgets = new Budgets(redis, { prefix });
    this.#slots = new Slots(redis, { prefix });
    this.#fence = new Fence(redis, { prefix });
    this.#cooldowns = new Cooldowns(redis, { prefix });
    this.#jobData = new JobData(redis, { prefix });
  }

  /**
   * Unless a budget is used up, leases a slot; with that asks the cool-down, and begins the attempt if that says go. That
   * of a task which is cancelled begins at once, without slot and turn. When the call had to be sent again and had begun
   * the attempt the first time, that is said too, whatever else is said now: if it is put back, say that it has ended.
   * @throws {InvalidInput}
   */
  async begin({ owner, hostCap, enqueuedAt, model }: AttemptToBegin): Promise<Beginning> {
    const { taskId } = owner;
    const beginning = this.#fence.beginning({ taskId, enqueuedAt });
    const [, budgets, slot = null, turn = null, begun = null] = await begin.run(this.#redis, [
      beginning,
      this.#budgets.showing(),
      this.#slots.acquiring(owner, hostCap),
      this.#cooldowns.asking(model),
      beginning,
    ]);
    return {
      budgets: this.#budgets.shown(budgets),
      slot: slot === null ? null : this.#slots.acquired(slot),
      turn: turn === null ? null : this.#cooldowns.answered(turn),
      begun: begun === null ? null : this.#fence.begunBy(begun),
    };
  }

  /** `JobData.write`, and then `Fence.end`. @throws {CellpoolError} FENCED: nothing was written, and it has not ended */
  async end({ taskId, token, data, outcome, begun }: AttemptToEnd): Promise<void> {
    const [written] = await end.run(this.#redis, [
      this.#jobData.writing(taskId, token, data, outcome),
      this.#fence.ending(taskId, begun),
    ]);
    this.#jobData.mustBeWritten(taskId, written);
  }
}
