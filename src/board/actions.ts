/** What may be done from the board. The commands of the same names do it; this room must not know them. */

export interface ActionAnswer {
  /** `done`: it came about, or will. `refused`: not as the task stands. `unknown`: there is no such task. */
  how: 'done' | 'refused' | 'unknown';
  /** A sentence for people. */
  message: string;
}

/** Each may throw `REDIS_UNAVAILABLE`. */
export interface BoardActions {
  /** Takes a task off the queue, or stops it. */
  cancel(taskId: string): Promise<ActionAnswer>;
  /** Works a task anew that failed, or one at once that waits for its next attempt. */
  retry(taskId: string): Promise<ActionAnswer>;
  /** No worker begins another attempt. */
  pause(): Promise<ActionAnswer>;
  /** They do again, and providers in cool-down are asked anew. */
  resume(): Promise<ActionAnswer>;
}
