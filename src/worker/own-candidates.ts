/** Which of those that wait are for this lander to try; the others do not stand in their way. */
import { lackingLabels } from '../config.ts';
import type { TargetNote } from '../redis/landing-targets.ts';
import type { TargetGroup } from './landing-groups.ts';

/**
 * `elsewhere`: another host has its branch. `open`: its task's worker has not said yet that the task has ended; when that
 * one has died, another one says it within some seconds.
 */
export type Left = 'elsewhere' | 'open';

/** Milliseconds until one that was left is looked at again. */
const AGAIN_MS: Readonly<Record<Left, number>> = { elsewhere: 60_000, open: 500 };

export class OwnCandidates {
  readonly #labels: readonly string[];
  /** By the ids of landing jobs: until when, epoch ms. */
  readonly #left = new Map<string, number>();
  readonly #lacking = new Map<string, { labels: string[]; since: number }>();

  /** `labels`: what this worker has. */
  constructor(labels: readonly string[]) {
    this.#labels = labels;
  }

  /** It turned out not to be for us, for now. */
  leave(id: string, why: Left, now = Date.now()): void {
    for (const [other, until] of this.#left) if (until <= now) this.#left.delete(other);
    this.#left.set(id, now + AGAIN_MS[why]);
  }

  /** The group with those alone that are. */
  among(group: TargetGroup, now = Date.now()): TargetGroup {
    const lacking = new Set<string>();
    const waiting = group.waiting.filter(({ id, data }) => {
      const labels = lackingLabels(data.labels, this.#labels);
      for (const label of labels) lacking.add(label);
      return labels.length === 0 && (this.#left.get(id) ?? 0) <= now;
    });
    const since = this.#lacking.get(group.mark)?.since ?? now;
    if (lacking.size === 0) this.#lacking.delete(group.mark);
    else this.#lacking.set(group.mark, { labels: [...lacking].sort(), since });
    return { ...group, waiting };
  }

  /** What is to be said of a target for which none of those that wait is ours; null: nothing. */
  whyNone(mark: string): TargetNote['held'] {
    const lacking = this.#lacking.get(mark);
    if (lacking === undefined) return null;
    const reason = `what waits asks for ${lacking.labels.join(', ')}, which this lander does not have`;
    return { code: 'NO_LABELS', reason, forPerson: false, since: lacking.since };
  }
}
