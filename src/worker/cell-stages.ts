/** The stages of this worker's cells. */
import type { Demand } from '../cell/profile.ts';
import type { Settings } from '../config.ts';
import type { Stage } from '../job/outcome.ts';

export class CellStages {
  /** By task id of the cells that there are. At `spawn` their servers have not taken their memory yet. */
  readonly #stages = new Map<string, Stage>();

  enter(taskId: string, stage: Stage): void {
    this.#stages.set(taskId, stage);
  }

  over(taskId: string): void {
    this.#stages.delete(taskId);
  }

  get spawning(): number {
    return [...this.#stages.values()].filter(stage => stage === 'spawn').length;
  }

  /** What the profile of the next cell is chosen by, when so many may be at work and `ready` were made ahead. */
  demand(allowed: number, ready: number, { reserve, warm }: Pick<Settings, 'reserve' | 'warm'>): Demand {
    const served = this.#stages.size - this.spawning + ready;
    return { reserveMb: reserve.memoryMb, toCome: Math.max(1, allowed + warm - served) };
  }
}
