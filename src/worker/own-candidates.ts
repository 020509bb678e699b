/** Which of those that wait are for this lander to try; the others do not stand in their way. */
import { lackingLabels } from '../config.ts';
import type { TargetNote } from '../redis/landing-targets.ts';
import type { TargetGroup } from './landing-groups.ts';

/**
 * `elsewhere`: another host has its branch. `open`: its task's worker has not said yet that the task has ended; when that
 * one has died, another one says it within some seconds.
 */
export type Left = 'elsewhere' | 'open';

const ELSEWHERE_MS = 60_000;
/** Until one that was open is looked at again: ms, twice as long each time. */
const OPEN_MS = { first: 500, most: 30_000 };
/** Open for so long, there is no worker that could end its task. */
const LONG_OPEN_MS = 60_000;

interface LeftOne {
  why: Left;
  since: number;
  times: number;
  until: number;
}

export class OwnCandidates {
  readonly #labels: readonly string[];
  /** By the ids of landing jobs. */
  readonly #left = new Map<string, LeftOne>();

  /** `labels`: what this worker has. */
  constructor(labels: readonly string[]) {
    this.#labels = labels;
  }

  /** It turned out not to be for us, for now. */
  leave(id: string, why: Left, now = Date.now()): void {
    const before = this.#left.get(id);
    const times = before?.why === why ? before.times + 1 : 1;
    const openMs = Math.min(OPEN_MS.most, OPEN_MS.first * 2 ** (times - 1));
    const until = now + (why === 'open' ? openMs : ELSEWHERE_MS);
    this.#left.set(id, { why, times, since: before?.why === why ? before.since : now, until });
  }

  /** Those of the group that are. */
  among({ waiting }: Pick<TargetGroup, 'waiting'>, now = Date.now()): TargetGroup['waiting'] {
    return waiting.filter(
      ({ id, data }) => this.#lacks(data.labels).length === 0 && (this.#left.get(id)?.until ?? 0) <= now,
    );
  }

  /** Forgets what is known of those that do not wait any more. */
  keep(ids: ReadonlySet<string>): void {
    for (const id of this.#left.keys()) if (!ids.has(id)) this.#left.delete(id);
  }

  /** What is to be said of a group of which none is ours now; null: one of them is about to be. */
  whyNone({ waiting }: Pick<TargetGroup, 'waiting'>, now = Date.now()): TargetNote['held'] {
    const lacking = [...new Set(waiting.flatMap(({ data }) => this.#lacks(data.labels)))].sort();
    const open = waiting.flatMap(({ id }) => this.#left.get(id) ?? []).filter(({ why }) => why === 'open');
    if (open.some(({ since }) => now - since < LONG_OPEN_MS)) return null;
    const [first] = open;
    const held = { forPerson: false, since: first?.since ?? now };
    if (first !== undefined) {
      const reason = 'the task of what waits has not been ended by its worker: start one, which ends it';
      return { ...held, code: 'TASK_OPEN', reason };
    }
    if (lacking.length === 0) return { ...held, code: 'ELSEWHERE', reason: 'what waits is on another host' };
    const reason = `what waits asks for ${lacking.join(', ')}, which this lander does not have`;
    return { ...held, code: 'NO_LABELS', reason };
  }

  #lacks(labels: readonly string[] | undefined): string[] {
    return lackingLabels(labels, this.#labels);
  }
}
