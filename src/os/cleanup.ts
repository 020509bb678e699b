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

interface Step {
  readonly name: string;
  readonly undo: Undo;
  readonly beside: boolean;
}

export class CleanupStack {
  readonly #steps: Step[] = [];
  readonly #faults: CleanupFault[] = [];
  #last: Promise<unknown> = Promise.resolve();

  /**
   * `undo` must be harmless when what it undoes was never done, or done only half. One that hangs on nothing else may
   * run `beside` the others: it is begun with the first of them, and waited for where it stands.
   */
  add(name: string, undo: Undo, how: 'in turn' | 'beside' = 'in turn'): void {
    this.#steps.push({ name, undo, beside: how === 'beside' });
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
    const before = this.#faults.length;
    const begun = new Map(this.#steps.filter(step => step.beside).map(step => [step, this.#undo(step, limitMs)]));
    for (let step = this.#steps.pop(); step !== undefined; step = this.#steps.pop()) {
      await (begun.get(step) ?? this.#undo(step, limitMs));
    }
    return this.#faults.slice(before);
  }

  async #undo({ name, undo }: Step, limitMs: number): Promise<void> {
    const done = new AbortController();
    const late = sleep(limitMs, undefined, { signal: done.signal }).then(
      () => Promise.reject(new Error(`not done after ${limitMs} ms`)),
      () => undefined,
    );
    try {
      await Promise.race([Promise.resolve().then(() => undo([...this.#faults])), late]);
    } catch (error) {
      this.#faults.push({ step: name, message: messageOf(error) });
    } finally {
      done.abort();
    }
  }
}
