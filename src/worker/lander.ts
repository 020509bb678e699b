/**
 * The lander: brings finished branches onto their targets, one target at a time. Every worker has one; which of them
 * lands on a target is decided by its lease. It looks at the line every second, and at a target that keeps it from
 * landing less often.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { asCellpoolError, CellpoolError, messageOf } from '../errors.ts';
import { PAGE, type WaitingLanding } from '../redis/landing-line.ts';
import type { LandingTargets, TargetNote } from '../redis/landing-targets.ts';
import { type LandContext, landTarget } from './land-target.ts';
import { Doubts } from './landing-doubts.ts';
import { groupsOf, type TargetGroup, type WaitingCandidate } from './landing-groups.ts';
import { Holds } from './landing-holds.ts';
import { LandingNews } from './landing-news.ts';
import { OwnCandidates } from './own-candidates.ts';

/** A look that finds nothing costs one call of Redis. */
const LOOK_MS = 1_000;
/** For the last words to Redis, once the tests are ended. */
const END_MS = 8_000;

export interface LanderOptions extends Omit<LandContext, 'onTrying' | 'doubtsOf'> {
  targets: LandingTargets;
  /** What this worker has; candidates that ask for more are not tried by it. */
  labels: readonly string[];
  /** Looks at once at a target that another lander has found red; left out: leaves it alone as long as that one does. */
  eager?: boolean;
  /** Told why nothing lands on a target for now, and with null that something may again. */
  onHeld?: ((group: TargetGroup, reason: string | null) => void) | undefined;
}

export class Lander {
  readonly #options: LanderOptions;
  readonly #holds = new Holds();
  /** By target and way of testing. */
  readonly #doubts = new Map<string, Doubts>();
  readonly #news: LandingNews;
  readonly #own: OwnCandidates;
  readonly #over = new AbortController();
  #draining = false;
  #onlyHeld = false;
  #paused = false;
  #timer: NodeJS.Timeout | null = null;
  #looking: Promise<boolean> | null = null;

  constructor(options: LanderOptions) {
    const { targets, host, redactor, labels } = options;
    this.#options = options;
    this.#news = new LandingNews({ targets, host, redactor, worker: options.registration.worker.id });
    this.#own = new OwnCandidates(labels);
  }

  /** Lands what comes, until the end. */
  begin(): void {
    this.#timer = setInterval(() => void this.look(), LOOK_MS).unref();
  }

  /**
   * Looks once, and goes on as long as something gets its fate by that; who looks meanwhile waits for the same look.
   * Never throws. @returns whether something waits still
   */
  look(): Promise<boolean> {
    this.#looking ??= this.#lookOnce()
      .catch(error => {
        if (!this.#over.signal.aborted) this.#options.log.warn({ problem: messageOf(error) }, 'nothing can be landed');
        return true;
      })
      .finally(() => {
        this.#looking = null;
      });
    return this.#looking;
  }

  /** Whether all that waited at the last look is held up, or is not for this lander to try. */
  get onlyHeld(): boolean {
    return this.#onlyHeld;
  }

  /** Whether nothing was to be landed at the last look. */
  get isPaused(): boolean {
    return this.#paused;
  }

  /** Begins no further round, and resolves when the one at work is over. */
  async drain(): Promise<void> {
    this.#draining = true;
    if (this.#timer !== null) clearInterval(this.#timer);
    await this.#looking;
    await this.#news.end();
  }

  /** The same, with the round at work cut short; a Redis that says nothing is not waited for. */
  async stop(): Promise<void> {
    this.#over.abort(new CellpoolError('CANCELLED', 'the lander stops'));
    await Promise.race([this.drain(), sleep(END_MS, undefined, { ref: false })]);
  }

  async #lookOnce(): Promise<boolean> {
    for (;;) {
      this.#onlyHeld = false;
      let settled = 0;
      const seen: TargetGroup[] = [];
      // Those behind a page on which nothing moves may be of other targets.
      for (let from = 0; settled === 0; from += PAGE) {
        const page = await this.#options.line.look(from);
        this.#paused = page === null;
        const groups = page === null ? [] : await this.#groupsOf(page, seen);
        seen.push(...groups);
        for (const group of groups) {
          if (this.#draining) return true;
          settled += await this.#land(group);
        }
        if (page === null || page.length < PAGE) break;
      }
      if (settled > 0 && !this.#draining) continue;
      await this.#forgetOthers(seen);
      if (this.#paused) return false;
      // What others try just now may come back into the line.
      const tried = await this.#options.line.tried();
      this.#onlyHeld = tried === 0 && seen.length > 0 && seen.every(group => this.#whyHeld(group) !== null);
      return tried > 0 || seen.length > 0;
    }
  }

  /** Those that were not seen on a page before. What is no job of ours is failed. */
  async #groupsOf(page: readonly WaitingLanding[], seen: readonly TargetGroup[]): Promise<TargetGroup[]> {
    const { groups, nonsense } = groupsOf(page);
    for (const { id, fault } of nonsense) {
      // Whoever can write to Redis can write a job.
      const reason = `this is no landing job of cellpool: ${fault}`;
      if (await this.#options.line.drop(id, reason)) this.#options.log.warn({ landing: id, fault }, 'dropped');
    }
    const known = new Set(seen.map(({ trial }) => trial));
    return groups.filter(({ trial }) => !known.has(trial));
  }

  async #land(group: TargetGroup): Promise<number> {
    const { leases, log, eager = false } = this.#options;
    const { mark, trial, target, repository } = group;
    const doubts = this.#doubtsOn(trial);
    const waiting = doubts.among(this.#own.among(group));
    if (waiting.length === 0) {
      await this.#news.say(group, [], this.#whyHeld(group));
      return 0;
    }
    if (this.#holds.isHeld(trial)) return 0;
    // One that has found it red itself is the one to look again.
    if (!eager && this.#holds.of(trial) === null && (await this.#news.isRedToOthers(group))) return 0;
    const lease = await leases.take(mark);
    if (lease === null) return 0;
    try {
      const { settled, redTip, left, tried } = await landTarget(
        {
          ...this.#options,
          batch: doubts.batch(this.#options.batch),
          doubtsOf: id => doubts.of(id),
          onTrying: ids => void this.#news.say(group, ids, this.#holds.of(trial)),
        },
        { ...group, waiting: await this.#withReclaimed(group, waiting) },
        lease,
        this.#over.signal,
      );
      for (const { id, why } of left) this.#own.leave(id, why);
      if (redTip !== null) this.#hold(group, redTarget(group, redTip));
      else if (tried > 0 && this.#holds.lift(trial)) this.#options.onHeld?.(group, null);
      if (tried > 0) doubts.over();
      return settled;
    } catch (error) {
      if (this.#over.signal.aborted) return 0;
      const known = asCellpoolError(error);
      log.warn({ repository, target, code: known.code, problem: known.message }, 'nothing landed');
      doubts.failed(waiting[0]?.id ?? '', known);
      this.#hold(group, known);
      return 0;
    } finally {
      await this.#news.say(group, [], this.#holds.of(trial));
      await leases.release(lease).catch(() => undefined);
    }
  }

  /** What the one had that had the lease before, and has died, is in the line again by now, before all others. */
  async #withReclaimed({ trial }: TargetGroup, waiting: readonly WaitingCandidate[]): Promise<WaitingCandidate[]> {
    const { groups } = groupsOf((await this.#options.line.look()) ?? []);
    const now = groups.find(one => one.trial === trial) ?? { waiting: [] };
    const first = this.#doubtsOn(trial).among(this.#own.among(now));
    const known = new Set(first.map(({ id }) => id));
    // Those of a page further behind come after them.
    return [...first, ...waiting.filter(({ id }) => !known.has(id))];
  }

  #doubtsOn(trial: string): Doubts {
    const known = this.#doubts.get(trial) ?? new Doubts();
    this.#doubts.set(trial, known);
    return known;
  }

  /** Why nothing of the group is tried for now; null: it is about to be. */
  #whyHeld(group: TargetGroup): TargetNote['held'] {
    const held = this.#holds.of(group.trial);
    return held ?? (this.#own.among(group).length > 0 ? null : this.#own.whyNone(group));
  }

  #hold(group: TargetGroup, error: CellpoolError): void {
    const reason = this.#holds.hold(group.trial, error);
    if (reason !== null) this.#options.onHeld?.(group, reason);
  }

  /** Nothing waits for the others any more. */
  async #forgetOthers(seen: readonly TargetGroup[]): Promise<void> {
    this.#own.keep(new Set(seen.flatMap(({ waiting }) => waiting.map(({ id }) => id))));
    const waiting = new Set(seen.map(({ trial }) => trial));
    const trials = new Set([...this.#news.trials, ...this.#doubts.keys()]);
    for (const trial of [...trials].filter(one => !waiting.has(one))) {
      await this.#news.forget(trial);
      this.#holds.lift(trial);
      this.#doubts.delete(trial);
    }
  }
}

function redTarget({ target }: TargetGroup, tail: string): CellpoolError {
  return new CellpoolError('TARGET_RED', `the tests fail on ${target} itself: ${tail.slice(-1_000)}`, {
    hint: `Put ${target} right; what waits lands then.`,
  });
}
