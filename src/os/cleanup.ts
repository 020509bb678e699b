/** The undo stack: register the undo before the do, run them in reverse, whatever any of them throws. */
import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf } from '../errors.ts';

export interface CleanupFault {
  step: string;
  message: string;
}

/** Is told what has gone wrong in the steps before it. */
export type Undo = (faults: readonly CleanupFault[]) => Promise<unknown> | unknown;

/** One step that hangs must not keep the others from running. */
const STEP_LIMIT_MS = 15_000;

export class CleanupStack {
  readonly #steps: { name: string; undo: Undo }[] = [];
  readonly #faults: CleanupFault[] = [];
  #last: Promise<unknown> = Promise.resolve();

  /** `undo` must be harmless when what it undoes was never done, or done only half. */
  add(name: string, undo: Undo): void {
    this.#steps.push({ name, undo });
  }

  /**
   * Runs every undo once, last first, each at most `limitMs` milliseconds. Never throws: what went wrong is told in
   * the result. A second call waits for the first, so that the order holds, and runs what was added meanwhile.
   */
  run(limitMs: number = STEP_LIMIT_MS): Promise<CleanupFault[]> {
    const faults = this.#last.then(() => this.#runAll(limitMs));
    this.#last = faults;
    return faults;
  }

  async #runAll(limitMs: number): Promise<CleanupFault[]> {
    const faults: CleanupFault[] = [];
    for (let step = this.#steps.pop(); step !== undefined; step = this.#steps.pop()) {
      const done = new AbortController();
      const late = sleep(limitMs, undefined, { signal: done.signal }).then(
        () => Promise.reject(new Error(`not done after ${limitMs} ms`)),
        () => undefined,
      );
      try {
        await Promise.race([Promise.resolve(step).then(({ undo }) => undo([...this.#faults])), late]);
      } catch (error) {
        const fault = { step: step.name, message: messageOf(error) };
        this.#faults.push(fault);
        faults.push(fault);
      } finally {
        done.abort();
      }
    }
    return faults;
  }
}
