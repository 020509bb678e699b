/**
 * What a lander says of its targets: what it tries, or why nothing lands there. Said again every few seconds, since what is
 * old was said by one that has died. News for people and for whoever waits; where it cannot be told nothing else changes.
 */
import { isUrl } from '../job/repository.ts';
import type { Redactor } from '../observe/redact.ts';
import { isNoteOf, type LandingTargets, type TargetNote } from '../redis/landing-targets.ts';
import type { TargetGroup } from './landing-groups.ts';

const AGAIN_MS = 5_000;
/** Behind the time at which a lander wanted to look again. */
const LATE_MS = 5_000;

/** Lacks of a host; another one may have what this one has not. */
const HERE_ALONE: ReadonlySet<string> = new Set([
  'NOT_A_REPOSITORY',
  'OPENCODE_MISSING',
  'STATE_FOLDER',
  'GIT_MISSING',
  'NO_LABELS',
  'ELSEWHERE',
]);

export interface LandingNewsOptions {
  targets: LandingTargets;
  host: string;
  worker: string;
  redactor: Redactor;
}

export class LandingNews {
  readonly #options: LandingNewsOptions;
  /** By target and way of testing. */
  readonly #notes = new Map<string, TargetNote>();
  #timer: NodeJS.Timeout | null = null;

  constructor(options: LandingNewsOptions) {
    this.#options = options;
  }

  /** Targets of which something was said, with the way of testing. */
  get trials(): string[] {
    return [...this.#notes.keys()];
  }

  /** What is said of a target from now on; nothing once nothing is tried there and nothing is in the way. */
  async say(group: TargetGroup, trying: string[], held: TargetNote['held']): Promise<void> {
    if (held === null && trying.length === 0) return this.forget(group.trial);
    const { host, worker, redactor } = this.#options;
    const { trial, repository, target, land } = group;
    const way = isUrl(repository) ? {} : { land };
    const shown = held === null ? null : { ...held, reason: redactor.text(held.reason) };
    const note = { repository, target, trial, ...way, host, worker, trying, held: shown, at: Date.now() };
    this.#notes.set(trial, note);
    this.#timer ??= setInterval(() => void this.#sayAgain(), AGAIN_MS).unref();
    await this.#write(trial, note);
  }

  /** Nothing is said of the target any more. */
  async forget(trial: string): Promise<void> {
    if (!this.#notes.delete(trial)) return;
    const { targets, worker } = this.#options;
    await targets.clear(trial, worker).catch(() => undefined);
  }

  /** Whether another lander has found a target red just now: its tests need not fail here, too. */
  async isRedToOthers(group: TargetGroup): Promise<boolean> {
    const notes = await this.#ofOthers(group);
    // One that is late has something else to do.
    const isAtIt = (until = 0) => Date.now() < until + LATE_MS;
    return notes.some(({ held }) => held?.code === 'TARGET_RED' && isAtIt(held.until));
  }

  async end(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
    await Promise.all(this.trials.map(trial => this.forget(trial)));
  }

  async #sayAgain(): Promise<void> {
    for (const [trial, note] of this.#notes) await this.#write(trial, { ...note, at: Date.now() });
    await this.#options.targets.prune().catch(() => undefined);
  }

  async #write(trial: string, note: TargetNote): Promise<void> {
    const { targets } = this.#options;
    // What this host lacks says nothing of the target, as long as another one is at it.
    if (HERE_ALONE.has(note.held?.code ?? '') && (await this.#ofOthers(note)).length > 0) {
      await targets.clear(trial, note.worker).catch(() => undefined);
      return;
    }
    // It may have been taken back while the others were asked.
    if (this.#notes.has(trial)) await targets.write(trial, note).catch(() => undefined);
  }

  async #ofOthers(of: Pick<TargetNote, 'repository' | 'target' | 'land' | 'trial'>): Promise<TargetNote[]> {
    const { targets, worker } = this.#options;
    const notes = await targets.list().catch(() => []);
    return notes.filter(note => note.worker !== worker && isNoteOf(note, { ...of, land: of.land ?? note.land }));
  }
}
