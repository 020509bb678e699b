/** The budgets that all workers share, as one attempt meets them: it tells what it uses, and hears when that is all. */
import { CellpoolError, messageOf } from '../errors.ts';
import { type Amounts, type BudgetState, type UsedUp, usedUp } from '../redis/budget.ts';
import type { BegunJob, JobContext } from './held-job.ts';

/** A budget may be raised by somebody who wakes nobody, and a clock may be wrong. */
const LOOK_AGAIN_MS = 10 * 60_000;

/** What a task waits for while a budget is used up, and for how many milliseconds; null while there is none. */
export function spentBudget(
  { onUsedUp }: Pick<JobContext, 'onUsedUp'>,
  state: BudgetState,
): { reason: string; waitMs: number } | null {
  const used = usedUp(state);
  if (used === null) return null;
  onUsedUp(used.reason);
  return { reason: used.reason, waitMs: waitMsOf(used) };
}

export class BudgetReport {
  readonly #job: BegunJob;
  readonly #usedUp = new AbortController();
  #latest: Amounts = { tokens: 0, usd: 0 };
  #told = this.#latest;
  #sending: Promise<void> | null = null;
  #waitMs = 0;

  constructor(job: BegunJob) {
    this.#job = job;
  }

  /** Aborted with BUDGET_USED_UP, at the first report after which a budget is used up. */
  get usedUp(): AbortSignal {
    return this.#usedUp.signal;
  }

  /**
   * What the attempt has used so far in all. Told at once, for a budget is over with one answer of a model, and those
   * are seconds apart; while a report is on its way the next one waits, and holds all that came meanwhile.
   */
  used(tokens: number, usd: number): void {
    if (tokens === this.#latest.tokens && usd === this.#latest.usd) return;
    this.#latest = { tokens, usd };
    this.#sending ??= this.#send();
  }

  /** Tells what is not told yet. Resolves with the milliseconds to wait, should a budget have ended the attempt. */
  async ended(): Promise<number> {
    await this.#sending;
    await this.#send();
    return this.#waitMs;
  }

  async #send(): Promise<void> {
    const { context, data, begun } = this.#job;
    try {
      while (this.#told !== this.#latest) {
        const latest = this.#latest;
        const state = await context.budgets.add({ taskId: data.task.id, number: begun.number }, latest);
        this.#told = latest;
        const used = usedUp(state);
        if (used !== null) this.#end(used);
      }
    } catch (error) {
      // The next report tells it too: each holds all that was used.
      context.log.warn({ problem: messageOf(error) }, 'what was used could not be told');
    } finally {
      this.#sending = null;
    }
  }

  #end(used: UsedUp): void {
    this.#waitMs = waitMsOf(used);
    if (this.#usedUp.signal.aborted) return;
    this.#job.context.onUsedUp(used.reason);
    this.#usedUp.abort(new CellpoolError('BUDGET_USED_UP', used.reason));
  }
}

function waitMsOf({ endsInMs }: UsedUp): number {
  return Math.min(endsInMs ?? LOOK_AGAIN_MS, LOOK_AGAIN_MS);
}
