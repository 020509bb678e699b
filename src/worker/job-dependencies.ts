/**
 * The tasks that one depends on, as its worker meets them. Nobody polls: a task that has to wait is put back for a
 * while and entered with those that are open, and the worker that ends one of them queues it again. The while is only
 * for a worker that dies in between.
 */
import { CellpoolError, messageOf } from '../errors.ts';
import type { Outcome } from '../job/outcome.ts';
import type { TaskQueue } from '../job/queue.ts';
import { readJob } from '../job/stored-job.ts';
import type { Task } from '../job/task.ts';
import type { Logger } from '../observe/logger.ts';
import type { Dependencies, Standing } from '../redis/dependencies.ts';

/** The code of a task that waits for others. */
export const PENDING = 'DEPENDENCY_PENDING';
/** Until a task looks again by itself at first, and at the most. */
export const LOOK_AGAIN_MS = 30_000;
const LOOK_AGAIN_MAX_MS = 600_000;
/** Dependencies that one message names. */
const NAMES_MAX = 5;

export interface JobDependenciesOptions {
  dependencies: Dependencies;
  queue: TaskQueue;
  log: Logger;
  /** Milliseconds until a task looks again by itself at first. */
  lookAgainMs?: number | undefined;
}

/** What a task's dependencies say to its beginning; null: it may begin. */
export type Answer = { wait: { reason: string; code: string }; afterMs: number } | { failed: CellpoolError } | null;

export class JobDependencies {
  readonly #options: JobDependenciesOptions;
  /** What is under way besides the jobs. */
  readonly #busy = new Set<Promise<unknown>>();

  constructor(options: JobDependenciesOptions) {
    this.#options = options;
  }

  /** `waits` is what the job waited for until now. A task that is to wait is entered with what it waits for. */
  async ask(
    { id, dependsOn = [] }: Task,
    waits: { code?: string | undefined; since: number } | undefined,
  ): Promise<Answer> {
    if (dependsOn.length === 0) return null;
    const standings = await this.#options.dependencies.look(dependsOn, { wait: id });
    const bad = standings.filter(isBad);
    if (bad.length > 0) return { failed: await this.#failure(bad) };
    const open = standings.find(({ state }) => state === 'open');
    if (open === undefined) return null;
    const { lookAgainMs = LOOK_AGAIN_MS } = this.#options;
    // Who has waited for long can wait a little longer: thousands that wait must not keep the workers busy.
    const waitedMs = waits?.code === PENDING ? Date.now() - waits.since : 0;
    const afterMs = Math.max(lookAgainMs, Math.min(waitedMs, LOOK_AGAIN_MAX_MS));
    // One of them and no state: a reason that stays the same is told once.
    return { wait: { reason: `${JSON.stringify(open.taskId)} has not ended yet`, code: PENDING }, afterMs };
  }

  /** A task was put back to wait. What ended since `ask` could not queue it, for it was still in our hands. */
  lookAgain({ id, dependsOn = [] }: Task): void {
    const { dependencies, queue } = this.#options;
    this.#do(id, async () => {
      const standings = await dependencies.look(dependsOn);
      const waits = standings.some(({ state }) => state === 'open') && !standings.some(isBad);
      if (!waits) await dependencies.queueFirst(queue, id);
    });
  }

  /** A task has ended, and BullMQ knows it: what waits for that is queued. */
  release(taskId: string): void {
    const { dependencies, queue, log } = this.#options;
    this.#do(taskId, async () => {
      const released = await dependencies.release(queue, taskId);
      if (released > 0) log.info({ task: taskId, released }, 'tasks that waited for its end are queued');
    });
  }

  /** Resolves when nothing is under way any more. */
  async settled(): Promise<void> {
    while (this.#busy.size > 0) await Promise.all(this.#busy);
  }

  #do(task: string, work: () => Promise<void>): void {
    const done = work()
      .catch(error => {
        const facts = { task, problem: messageOf(error) };
        this.#options.log.warn(facts, 'tasks that wait for others were not queued; they look again by themselves');
      })
      .finally(() => this.#busy.delete(done));
    this.#busy.add(done);
  }

  async #failure(bad: readonly Standing[]): Promise<CellpoolError> {
    const ends = await Promise.all(bad.slice(0, NAMES_MAX).map(one => this.#endInWords(one)));
    const more = bad.length > NAMES_MAX ? [`${bad.length - NAMES_MAX} more`] : [];
    const facts = { dependencies: bad.map(({ taskId }) => taskId) };
    return new CellpoolError('DEPENDENCY_FAILED', `it depends on ${[...ends, ...more].join('; on ')}`, { facts });
  }

  async #endInWords({ taskId, state, outcome }: Standing): Promise<string> {
    const name = JSON.stringify(taskId);
    if (state === 'gone') return `${name}, which is not on the queue any more`;
    // Beside the job it stands only if somebody depended on the task before it ended.
    const known = outcome ?? (await readJob(this.#options.queue, taskId))?.result?.outcome ?? null;
    return `${name}, which ${endOf(known)}`;
  }
}

function isBad({ state }: Standing): boolean {
  return state === 'failed' || state === 'gone';
}

function endOf(outcome: Outcome | null): string {
  if (outcome === 'cancelled') return 'was cancelled';
  return outcome === null || outcome === 'failed' ? 'failed' : `ended ${outcome}`;
}
