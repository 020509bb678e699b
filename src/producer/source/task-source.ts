/**
 * A task source: a place where tasks are written down and told back to, such as a tracker. The bridge asks it what can
 * be worked, puts that on the queue, and has it write back what became of it. A source knows nothing of the queue, and
 * workers know nothing of sources.
 *
 * Anything may be called again after a crash, so every write is to find out first whether it was done before.
 */
import type { TaskInput } from '../../job/task.ts';

export interface TaskSource {
  /** How messages name it: `beads in /srv/app`. */
  readonly name: string;
  /** What kind it is and which one: the same for every bridge to it, whatever host and time. */
  readonly identity: string;
  /** Names of all items that can be worked now, most urgent first. @throws {CellpoolError} SOURCE_UNAVAILABLE */
  ready(signal: AbortSignal): Promise<string[]>;
  /**
   * What one item asks for; null when it is not to be worked any more.
   * @throws {InvalidInput} with every fault of the item; {CellpoolError} SOURCE_UNAVAILABLE
   */
  read(item: string, signal: AbortSignal): Promise<FoundTask | null>;
  /**
   * Writes one note back, unless that was done before.
   * @throws {CellpoolError} SOURCE_UNAVAILABLE when it may go better later. What can never be written is no error: it
   * is `refused`.
   */
  write(note: Note, signal: AbortSignal): Promise<Written>;
  /** What items look like now, for people; those that are gone are left out. @throws {CellpoolError} SOURCE_UNAVAILABLE */
  look(items: readonly string[], signal: AbortSignal): Promise<Map<string, ItemState>>;
}

export interface FoundTask {
  /** Without an id, which the bridge gives. What the source does not say is left to the operator's defaults. */
  task: Omit<TaskInput, 'id'>;
  /** What the operator should know of it, such as a wish that is not honoured. */
  remarks: readonly string[];
}

export interface ItemState {
  title: string;
  /** In the source's own words. */
  status: string;
  assignee: string | null;
}

/** What is written back, in the order in which it happens to a task. */
export type News =
  /** An attempt has begun: nobody else should take the item. */
  | { kind: 'claim' }
  /** An attempt ended, and another one follows. `message` is what went wrong, with the end of the test log. */
  | { kind: 'attempt'; attempt: number; outcome: string; message: string }
  /** The work is done, and where it was to land it has: the item is closed. */
  | { kind: 'done'; attempt: number; commit: string; branch: string }
  /** The work is committed, and the item stays claimed until it has landed. */
  | { kind: 'awaiting-landing'; attempt: number; commit: string; branch: string }
  /** The work stays on its branch: it was refused where it was to land. The item is released, and kept for a person. */
  | { kind: 'not-landed'; attempt: number; commit: string; branch: string; message: string }
  /** The agent changed nothing: whether that is right is for a person to say. The item is released. */
  | { kind: 'unchanged'; attempt: number }
  /** Given up. The item is released, and kept for a person. */
  | { kind: 'failed'; attempt: number; outcome: string; message: string }
  /** Stopped by a person, or taken off the queue. The item is released, and kept for a person. */
  | { kind: 'cancelled'; message: string };

export type Note = News & {
  item: string;
  taskId: string;
  /** Tells this note from all others of the task; a mark to find it by where it was written. */
  key: string;
};

export type Written =
  | { how: 'written' }
  /** It stood there already. */
  | { how: 'known' }
  /** Somebody else has the item: of a claim, that the task is not to be worked; of others, that nothing was changed. */
  | { how: 'lost'; reason: string }
  /** It will never be taken: the item is gone, or its tracker does not allow it. */
  | { how: 'refused'; reason: string };
