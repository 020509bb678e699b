/** The names of the keys by which many workers share a queue: slots, tasks set aside, and the repositories' lines. */
import { TASK_QUEUE } from '../job/names.ts';
import { checked } from './keys.ts';

export interface SlotKeys {
  /** Sorted set: slot -> epoch ms at which its lease expires. */
  readonly leased: string;
  /** Hash: slot -> who has it, as JSON. */
  readonly owners: string;
  /** Hash: the caps, and which process of Redis was last asked. */
  readonly fleet: string;
}

/** The keys of the slots of all hosts. */
export function slotKeys(prefix: string): SlotKeys {
  const base = `${checked(prefix, 'prefix')}:slots`;
  return { leased: base, owners: `${base}:owners`, fleet: `${base}:fleet` };
}

export interface AsideKeys {
  /** Set: sets of labels, written `a,b`, of tasks that wait for a worker which has them. */
  readonly sets: string;
  /** Sorted set: the tasks that ask for exactly these labels, `<when it was enqueued>:<task id>` -> priority; expires. */
  tasksOf(set: string): string;
}

/** The keys of tasks that were set aside for want of labels. */
export function asideKeys(prefix: string): AsideKeys {
  const base = `${checked(prefix, 'prefix')}:aside`;
  return { sets: base, tasksOf: set => `${base}:${set}` };
}

export interface LineKeys {
  /** Hash: mark of a repository -> its path. Beside it, under `:last`, the same marks -> when each had its last turn. */
  readonly lines: string;
  /** Sorted set: the tasks of one repository that have not ended; expires. */
  lineOf(mark: string): string;
  /** String: how many tasks were ever entered. */
  readonly turns: string;
  /** What BullMQ's own keys of jobs begin with, and its own keys of those that wait. */
  readonly jobs: string;
  readonly wait: string;
  readonly prioritized: string;
  readonly delayed: string;
  readonly marker: string;
}

/** The keys of the repositories' lines. */
export function lineKeys(prefix: string): LineKeys {
  const base = `${checked(prefix, 'prefix')}:lines`;
  const jobs = `${prefix}:${TASK_QUEUE}:`;
  return {
    lines: base,
    lineOf: mark => `${base}:${mark}`,
    turns: `${base}:turns`,
    jobs,
    wait: `${jobs}wait`,
    prioritized: `${jobs}prioritized`,
    delayed: `${jobs}delayed`,
    marker: `${jobs}marker`,
  };
}
