/**
 * The lander: brings finished branches onto their targets, one target at a time. Every worker has one; which of them
 * lands on a target is decided by its lease. It looks at the line every second, and at a target that keeps it from
 * landing less often.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { lackingLabels } from '../config.ts';
import { asCellpoolError, CellpoolError, messageOf } from '../errors.ts';
import { isUrl } from '../job/repository.ts';
import { isNoteOf, type LandingTargets } from '../redis/landing-targets.ts';
import { type LandContext, landTarget } from './land-target.ts';
import { Doubts } from './landing-doubts.ts';
import { groupsOf, type TargetGroup } from './landing-groups.ts';
import { Holds } from './landing-holds.ts';

/** A look that finds nothing costs one call of Redis. */
const LOOK_MS = 1_000;
/** Lacks of a host; another one may have what this one has not. */
const HERE_ALONE: ReadonlySet<string> = new Set([
  'NOT_A_REPOSITORY',
  'OPENCODE_MISSING',
  'STATE_FOLDER',
  'GIT_MISSING',
]);
/** For the last words to Redis, once the tests are ended. */
const END_MS = 8_000;

export interface LanderOptions extends Omit<LandContext, 'onTrying' | 'doubtsOf'> {
  targets: LandingTargets;
  host: string;
  /** What this worker has; candidates that ask for more are not tried by it. */
  labels: readonly string[];
  /** Told why nothing lands on a target for now, and with null that something may again. */
  onHeld?: ((group: TargetGroup, reason: string | null) => void) | undefined;
}

export class Lander {
  readonly #options: LanderOptions;
  readonly #holds = new Holds();
  readonly #doubts = new Doubts();
  readonly #over = new AbortController();
  /** Of targets of which the fleet was told something. */
  readonly #told = new Set<string>();
  #draining = false;
  #onlyHeld = false;
  #timer: NodeJS.Timeout | null = null;
  #looking: Promise<boolean> | null = null;

  constructor(options: LanderOptions) {
    this.#options = options;
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

  /** Whether all that waited at the last look is held up, or asks for labels that are not here. */
  get onlyHeld(): boolean {
    return this.#onlyHeld;
  }

  /** Begins no further round, and resolves when the one at work is over. */
  async drain(): Promise<void> {
    this.#draining = true;
    if (this.#timer !== null) clearInterval(this.#timer);
    await this.#looking;
  }

  /** The same, with the round at work cut short; a Redis that says nothing is not waited for. */
  async stop(): Promise<void> {
    this.#over.abort(new CellpoolError('CANCELLED', 'the lander stops'));
    await Promise.race([this.drain(), sleep(END_MS, undefined, { ref: false })]);
  }

  async #lookOnce(): Promise<boolean> {
    for (;;) {
      const { groups, nonsense } = groupsOf(await this.#options.line.look());
      for (const one of nonsense) await this.#drop(one);
      await this.#forget(groups);
      let settled = 0;
      for (const group of groups) {
        if (this.#draining) return true;
        settled += await this.#land(group);
      }
      this.#onlyHeld =
        groups.length > 0 && groups.every(group => this.#lacks(group) || this.#holds.of(group.mark) !== null);
      if (settled === 0 || this.#draining) return groups.length > 0;
    }
  }

  async #land(group: TargetGroup): Promise<number> {
    const { leases, log } = this.#options;
    const { mark, target, repository } = group;
    if (this.#lacks(group)) return 0;
    if (this.#holds.isHeld(mark)) {
      await this.#tell(group, []);
      return 0;
    }
    const lease = await leases.take(mark);
    if (lease === null) return 0;
    try {
      const context = {
        ...this.#options,
        batch: this.#doubts.batchOn(mark, this.#options.batch),
        doubtsOf: (id: string) => this.#doubts.of(id),
        onTrying: (taskIds: string[]) => void this.#tell(group, taskIds),
      };
      const { settled, red } = await landTarget(context, group, lease, this.#over.signal);
      this.#doubts.over(mark);
      if (red !== null) this.#hold(group, redTarget(group, red.tail));
      else if (this.#holds.lift(mark)) this.#options.onHeld?.(group, null);
      return settled;
    } catch (error) {
      if (this.#over.signal.aborted) return 0;
      const known = asCellpoolError(error);
      log.warn({ repository, target, code: known.code, problem: known.message }, 'nothing landed');
      this.#doubts.failed(mark, group.waiting[0]?.id ?? '', known);
      this.#hold(group, known);
      return 0;
    } finally {
      await this.#tell(group, []);
      await leases.release(lease).catch(() => undefined);
    }
  }

  #lacks({ waiting }: TargetGroup): boolean {
    return lackingLabels(waiting[0]?.data.labels, this.#options.labels).length > 0;
  }

  #hold(group: TargetGroup, error: CellpoolError): void {
    const reason = this.#holds.hold(group.mark, error);
    if (reason !== null) this.#options.onHeld?.(group, reason);
  }

  /** News for people; where it cannot be told nothing else changes. */
  async #tell(group: TargetGroup, trying: string[]): Promise<void> {
    const { mark, repository, target, land } = group;
    const { targets, host, registration, redactor } = this.#options;
    const held = this.#holds.of(mark);
    if (held === null && trying.length === 0 && !this.#told.has(mark)) return;
    this.#told.add(mark);
    const shown = held === null ? null : { ...held, reason: redactor.text(held.reason) };
    const note = {
      repository,
      target,
      ...(isUrl(repository) ? {} : { land }),
      host,
      worker: registration.worker.id,
      trying,
      held: shown,
      at: Date.now(),
    };
    // What this host lacks says nothing of the target, as long as another one is at it.
    if (shown !== null && HERE_ALONE.has(shown.code) && (await this.#isElsewhere(group))) return;
    await targets.write(mark, note).catch(() => undefined);
  }

  async #isElsewhere(group: TargetGroup): Promise<boolean> {
    const { targets, host } = this.#options;
    const notes = await targets.list().catch(() => []);
    return notes.some(note => note.host !== host && isNoteOf(note, group));
  }

  /** What was told of targets for which nothing waits any more. */
  async #forget(groups: readonly TargetGroup[]): Promise<void> {
    const waiting = new Set(groups.map(({ mark }) => mark));
    for (const mark of this.#told) {
      if (waiting.has(mark)) continue;
      await this.#options.targets.clear(mark);
      this.#told.delete(mark);
      this.#holds.lift(mark);
    }
  }

  /** Whoever can write to Redis can write a job. */
  async #drop({ id, fault }: { id: string; fault: string }): Promise<void> {
    const { line, queue, log } = this.#options;
    const token = `nonsense-${id}`;
    if ((await line.take([id], token)).length === 0) return;
    log.warn({ landing: id, fault }, 'this is no landing job of cellpool');
    const job = await queue.getJob(id);
    await job?.moveToFailed(new Error(`this is no landing job of cellpool: ${fault}`), token, false);
  }
}

function redTarget({ target }: TargetGroup, tail: string): CellpoolError {
  return new CellpoolError('TARGET_RED', `the tests fail on ${target} itself: ${tail.slice(-1_000)}`, {
    hint: `Put ${target} right; what waits lands then.`,
  });
}
