/**
 * Follows finished branches on their way to their targets. A task that is to land is at its end when its landing has a
 * fate, and not before; one whose work comes back is worked anew, and its next commit has a landing of its own.
 */

import { QueueEvents } from 'bullmq';
import type { Redis } from 'ioredis';
import type { Returned, TaskJob } from '../job/job.ts';
import { type LandingJob, type LandingQueue, landingIdOf, trialMarkOf } from '../job/landing.ts';
import { LANDING_QUEUE } from '../job/names.ts';
import type { AttemptResult } from '../job/outcome.ts';
import { isNoteOf, LandingTargets, type TargetNote } from '../redis/landing-targets.ts';
import { cameBack, fruitless, type LandingStand, landingStand, lost } from './landing-stand.ts';

/** What happens to a finished branch before its end. */
export type LandingNews =
  | { kind: 'waits'; target: string }
  | { kind: 'returned'; target: string; why: 'conflict' | 'red'; message: string };

/** A task that waits for its landing, as its job said when it was there. */
interface Waiting {
  landing: LandingJob;
  result: AttemptResult;
  returned: Returned | undefined;
}

interface Parts {
  queue: LandingQueue;
  /** In the producer's role; it stays the caller's. */
  redis: Redis;
  onNews(taskId: string, news: LandingNews): void;
}

export class LandingFollower {
  readonly #parts: Parts;
  readonly #targets: LandingTargets;
  readonly #events: QueueEvents;
  readonly #waiting = new Map<string, Waiting>();
  /** How each task has come back last, as far as that was told. */
  readonly #returned = new Map<string, Returned>();
  /** Of each target on which something waits: when each of its landers had spoken last before we looked. */
  readonly #spoke = new Map<string, ReadonlyMap<string, number>>();
  /** Tasks whose landing was held at the last look. */
  #seenHeld: ReadonlySet<string> = new Set();
  /** Why nothing lands for those tasks that only a person can send on. */
  #held: ReadonlyMap<string, string> = new Map();

  private constructor(parts: Parts, targets: LandingTargets, events: QueueEvents) {
    this.#parts = parts;
    this.#targets = targets;
    this.#events = events;
  }

  /** `events`: a connection in the worker's role. Both connections stay the caller's. */
  static async open({ events: own, prefix, ...parts }: Parts & { events: Redis; prefix: string }) {
    const events = new QueueEvents(LANDING_QUEUE, { connection: own, prefix });
    // Redis being away for a while is seen by the connection itself; events go on when it is back.
    events.on('error', () => undefined);
    await events.waitUntilReady();
    return new LandingFollower(parts, new LandingTargets(parts.redis, { prefix }), events);
  }

  /** Calls `look` with each task whose landing has ended, or left. */
  onEnded(look: (taskId: string) => void): void {
    const find = ({ jobId }: { jobId: string }) => {
      for (const [taskId, { landing }] of this.#waiting) if (landingIdOf(landing) === jobId) look(taskId);
    };
    for (const name of ['completed', 'failed', 'removed'] as const) this.#events.on(name, find);
  }

  /**
   * The task's result when it is at its end; null while it waits for its landing. `returned`: of its job.
   * @throws the error of Redis
   */
  async ended(taskId: string, result: AttemptResult, returned?: Returned | undefined): Promise<AttemptResult | null> {
    const { redis, queue } = this.#parts;
    return this.#settle(taskId, { result, returned }, await landingStand(redis, queue, result, returned));
  }

  /**
   * The same of a task whose job is not there any more: it was cancelled, or it had ended and is forgotten while its
   * landing waits. `cancelled`: what is told of it in the first case.
   */
  async gone(taskId: string, cancelled: AttemptResult): Promise<AttemptResult | null> {
    const { redis, queue } = this.#parts;
    const before = this.#waiting.get(taskId);
    if (before === undefined) {
      const returned = this.#returned.get(taskId);
      return returned === undefined ? cancelled : fruitless(cancelled, cameBack(returned));
    }
    const stand = await landingStand(redis, queue, before.result, before.returned);
    return 'returned' in stand ? fruitless(cancelled, stand.returned) : this.#settle(taskId, before, stand);
  }

  #settle(taskId: string, of: Omit<Waiting, 'landing'>, stand: LandingStand): AttemptResult | null {
    const before = this.#waiting.get(taskId);
    if ('waits' in stand) this.#waits(taskId, { ...of, landing: stand.waits });
    else this.#waiting.delete(taskId);
    if (!('told' in stand)) return null;
    const { told } = stand;
    const isLost = told.landing === undefined && before !== undefined && before.landing.commit === told.commit;
    return isLost ? lost(told, before.landing) : told;
  }

  #waits(taskId: string, waiting: Waiting): void {
    const before = this.#waiting.get(taskId);
    this.#waiting.set(taskId, waiting);
    if (before?.landing.commit === waiting.landing.commit) return;
    this.#parts.onNews(taskId, { kind: 'waits', target: waiting.landing.target });
  }

  /** The task is on the queue: perhaps as its work came back. */
  goesOn(taskId: string, { returned }: Pick<TaskJob, 'returned'>): void {
    this.#waiting.delete(taskId);
    if (returned === undefined || (this.#returned.get(taskId)?.times ?? 0) >= returned.times) return;
    this.#returned.set(taskId, returned);
    const { target, why, message } = returned;
    this.#parts.onNews(taskId, { kind: 'returned', target, why, message });
  }

  /** Those that wait for a landing which a person has to let through, as was seen by the last two looks. */
  get held(): ReadonlySet<string> {
    return new Set(this.#held.keys());
  }

  /**
   * Looks which landings are held until a person does something. One look is not enough to say so: a lander that lacks
   * nothing may be about to try it. @throws the error of Redis when it is away
   */
  async look(): Promise<void> {
    const notes = this.#waiting.size === 0 ? [] : await this.#targets.list();
    const seen = new Map<string, string>();
    for (const [taskId, { landing }] of this.#waiting) {
      const trial = trialMarkOf(landing);
      const ofTarget = notes.filter(note => isNoteOf(note, { ...landing, trial }));
      const reason = this.#reasonOf(trial, ofTarget);
      if (reason !== null) seen.set(taskId, reason);
    }
    this.#held = new Map([...seen].filter(([taskId]) => this.#seenHeld.has(taskId)));
    this.#seenHeld = new Set(seen.keys());
  }

  /** Why nothing lands on a target whichever lander tries it, as the first of them says; null: it may land by itself. */
  #reasonOf(mark: string, notes: readonly TargetNote[]): string | null {
    const spoke = this.#spoke.get(mark);
    if (spoke === undefined) this.#spoke.set(mark, new Map(notes.map(({ worker, at }) => [worker, at])));
    // A lander that is at work says nothing for as long as its tests take.
    if (spoke === undefined || notes.some(({ held, trying }) => held === null || trying.length > 0)) return null;
    // What was said before may have been put right since; a lander that lives says it again.
    const holds = notes.flatMap(({ worker, at, held }) => (held === null || spoke.get(worker) === at ? [] : [held]));
    return holds.every(({ forPerson }) => forPerson) ? (holds[0]?.reason ?? null) : null;
  }

  /** The results of all that wait, as they are told by who waits no longer. */
  unlanded(): [taskId: string, result: AttemptResult][] {
    return [...this.#waiting].map(([taskId, { landing, result }]) => {
      const held = this.#held.get(taskId);
      const message = held === undefined ? NOT_YET : `${held.replace(/\.$/, '')}. \`cellpool land\` lands it then.`;
      return [taskId, { ...result, landing: { target: landing.target, state: 'waiting', commit: null, message } }];
    });
  }

  async close(): Promise<void> {
    this.#events.removeAllListeners();
    this.#events.on('error', () => undefined);
    await this.#events.close();
  }
}

const NOT_YET = 'its turn has not come; it is on the queue, and the next worker lands it, or `cellpool land`.';
