/**
 * Fair share: where tasks of several repositories wait, each repository has as many slots as the others, as long as it
 * has tasks to fill them, however many it has and whenever they came. Whoever asks for a slot for a task whose repository
 * has more than another one that waits is told to let that one pass (`Slots.acquire`).
 *
 * For that each repository has a line, in which its tasks stand from their enqueuing to their end. A task that is in no
 * line, because it came from elsewhere, is worked when it has its turn in the queue.
 */
import { createHash } from 'node:crypto';
import type { Redis } from 'ioredis';
import { ENTER_AGAIN, LEAVE_LINE, LET_PASS } from './fair-share-scripts.ts';
import { type LineKeys, lineKeys } from './fleet-keys.ts';
import { DEFAULT_PREFIX } from './keys.ts';
import { Script } from './script.ts';

const letPass = new Script(LET_PASS);
const leaveLine = new Script(LEAVE_LINE);
const enterAgain = new Script(ENTER_AGAIN);

/** By which the repository is known in keys: a path may be long, and hold what breaks them. */
export function repositoryMark(repository: string): string {
  return createHash('sha256').update(repository).digest('hex').slice(0, 16);
}

export class FairShare {
  readonly #redis: Redis;
  readonly #keys: LineKeys;

  /** The client stays the caller's. */
  constructor(redis: Redis, { prefix = DEFAULT_PREFIX }: { prefix?: string } = {}) {
    this.#redis = redis;
    this.#keys = lineKeys(prefix);
  }

  /** Puts the first task of a repository that waits before all others of the queue; returns its id, null without one. */
  async letPass(mark: string): Promise<string | null> {
    const { lines, wait, prioritized, delayed, marker, jobs } = this.#keys;
    const keys = [lines, wait, prioritized, delayed, marker];
    return (await letPass.run(this.#redis, keys, [mark, jobs])) as string | null;
  }

  /** Puts a task at the end of its line again, once its job is queued again. */
  async again(taskId: string, repository: string, priority: number): Promise<void> {
    const { lines, lineOf, turns, jobs } = this.#keys;
    const mark = repositoryMark(repository);
    const keys = [lines, lineOf(mark), turns, `${jobs}${taskId}`];
    await enterAgain.run(this.#redis, keys, [mark, repository, priority, taskId, jobs]);
  }

  /** Takes a task that has ended out of its line. */
  async ended(taskId: string, repository: string): Promise<void> {
    const { lineOf, jobs } = this.#keys;
    await leaveLine.run(this.#redis, [lineOf(repositoryMark(repository)), `${jobs}${taskId}`], [taskId]);
  }
}
