/** Ends an execution in which nothing goes on any more: a model that is silent, a tool that hangs. */
import { CellpoolError } from '../errors.ts';

export class StallWatch {
  readonly #stallMs: number;
  readonly #timer: NodeJS.Timeout;
  #last: { what: () => string; at: Date } = { what: () => 'the session was being started', at: new Date() };
  #suspended = false;
  #closed = false;

  /** `onStalled` is called, once at most, with STALLED when there was no progress for `stallMs` milliseconds. */
  constructor(stallMs: number, onStalled: (error: CellpoolError) => void) {
    this.#stallMs = stallMs;
    this.#timer = setTimeout(() => {
      if (!this.#suspended && !this.#closed) onStalled(this.#error());
    }, stallMs);
  }

  /** Something goes on. `what` says in words what was going on, should it be the last that was heard. */
  progress(what: () => string): void {
    if (this.#closed) return;
    this.#last = { what, at: new Date() };
    this.#suspended = false;
    this.#timer.refresh();
  }

  /** It is known why nothing goes on, and somebody else decides how long that may last: until the next progress. */
  suspend(): void {
    this.#suspended = true;
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  #error(): CellpoolError {
    const { what, at } = this.#last;
    const last = what();
    const facts = { stallMs: this.#stallMs, lastProgress: last, lastProgressAt: at.toISOString() };
    return new CellpoolError('STALLED', `no progress for ${this.#stallMs} ms; at ${facts.lastProgressAt} ${last}`, {
      hint: 'A command that prints nothing for so long counts as hanging: let it print, or raise stallMs.',
      facts,
    });
  }
}
