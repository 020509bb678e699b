/**
 * Follows finished branches on their way to their targets. A task that is to land is at its end when its landing has a
 * fate, and not before; one whose work comes back is worked anew, and its next commit has a landing of its own.
 */

import { QueueEvents } from 'bullmq';
import type { Redis } from 'ioredis';
import type { TaskJob } from '../job/job.ts';
import { type LandingJob, type LandingQueue, landingIdOf } from '../job/landing.ts';
import { LANDING_QUEUE } from '../job/names.ts';
import type { AttemptResult } from '../job/outcome.ts';
import { landingOfResult } from '../job/stored-landing.ts';
import { isNoteOf, LandingTargets } from '../redis/landing-targets.ts';

/** What happens to a finished branch before its end. */
export type LandingNews =
  | { kind: 'waits'; target: string }
  | { kind: 'returned'; target: string; why: 'conflict' | 'red'; message: string };

/** How a committed task stands: at its end, with its landing if it has one, or with a branch that is still to land. */
export type LandingStand = { told: AttemptResult } | { waits: LandingJob } | { returned: true };

/**
 * Where the landing of a result stands. One that was never to land is at its end; so is one whose landing is not there
 * any more, of which nobody can tell. @throws the error of Redis when it is away
 */
export async function landingStand(redis: Redis, queue: LandingQueue, result: AttemptResult): Promise<LandingStand> {
  if (result.outcome !== 'committed') return { told: result };
  const landing = (await landingOfResult(redis, queue, result))?.data ?? null;
  if (landing === null) return { told: result };
  const { fate, target } = landing;
  if (fate === undefined) return { waits: landing };
  const { kind: state, commit, message } = fate;
  // Its task is on the queue anew, or will be in a moment.
  if (state === 'returned') return { returned: true };
  return { told: { ...result, landing: { target, state, commit, message } } };
}

interface Waiting {
  landing: LandingJob;
  result: AttemptResult;
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
  /** How often each task has come back, as far as that was told. */
  readonly #returns = new Map<string, number>();
  /** Of each target on which something waits: when its lander had spoken last before we looked. */
  readonly #spoke = new Map<string, number | null>();
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

  /** The task's result when it is at its end; null while it waits for its landing. @throws the error of Redis */
  async ended(taskId: string, result: AttemptResult): Promise<AttemptResult | null> {
    const stand = await landingStand(this.#parts.redis, this.#parts.queue, result);
    if ('waits' in stand) this.#waits(taskId, stand.waits, result);
    else this.#waiting.delete(taskId);
    return 'told' in stand ? stand.told : null;
  }

  #waits(taskId: string, landing: LandingJob, result: AttemptResult): void {
    const before = this.#waiting.get(taskId);
    this.#waiting.set(taskId, { landing, result });
    if (before?.landing.commit === landing.commit) return;
    this.#parts.onNews(taskId, { kind: 'waits', target: landing.target });
  }

  /** The task is on the queue: perhaps as its work came back. */
  goesOn(taskId: string, { returned }: Pick<TaskJob, 'returned'>): void {
    this.#waiting.delete(taskId);
    if (returned === undefined || (this.#returns.get(taskId) ?? 0) >= returned.times) return;
    this.#returns.set(taskId, returned.times);
    const { target, why, message } = returned;
    this.#parts.onNews(taskId, { kind: 'returned', target, why, message });
  }

  /** Those that wait for a landing which a person has to let through, as was seen by the last look. */
  get held(): ReadonlySet<string> {
    return new Set(this.#held.keys());
  }

  /** Looks which landings are held until a person does something. @throws the error of Redis when it is away */
  async look(): Promise<void> {
    if (this.#waiting.size === 0) {
      this.#held = new Map();
      return;
    }
    const notes = await this.#targets.list();
    this.#held = new Map(
      [...this.#waiting].flatMap(([taskId, { landing }]) => {
        const mark = markOf(landing);
        const { at, held } = notes.find(note => isNoteOf(note, landing)) ?? { at: null, held: null };
        // What was said before may have been put right since; a lander that lives says it again.
        if (!this.#spoke.has(mark)) this.#spoke.set(mark, at);
        const isNews = this.#spoke.get(mark) !== at;
        return isNews && held?.forPerson === true ? [[taskId, held.reason] as const] : [];
      }),
    );
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

const markOf = ({ repository, target, land }: LandingJob) => `${repository} ${land} ${target}`;
