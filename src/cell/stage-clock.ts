/** The times of the stages of one attempt. A clock that is set meanwhile moves their beginnings, not how long they took. */
import type { Stage, StageTime } from '../job/outcome.ts';

export class StageClock {
  readonly #times: StageTime[] = [];
  #current: { stage: Stage; startedAt: number; began: number } | null = null;

  enter(stage: Stage): void {
    this.end();
    this.#current = { stage, startedAt: Date.now(), began: performance.now() };
  }

  /** Ends the stage that runs, if one does; returns all that have ended, in their order. */
  end(): StageTime[] {
    if (this.#current !== null) {
      const { stage, startedAt, began } = this.#current;
      this.#times.push({ stage, startedAt, ms: Math.round(performance.now() - began) });
      this.#current = null;
    }
    return [...this.#times];
  }
}
