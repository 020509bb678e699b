/** Names: which files of a folder are items, and what they say of themselves. */
import { taskIdFault } from '../../job/names.ts';

const ENDING = /\.(md|markdown)$/i;

/** The item that a file of this name is; null when it is none: a README, or one that begins with `.` or `_`. */
export function itemOf(file: string): string | null {
  if (!ENDING.test(file) || /^[._]/.test(file)) return null;
  const name = file.replace(ENDING, '');
  return /^readme$/i.test(name) ? null : name;
}

/** The item that somebody means, by its name or by that of its file. */
export const itemMeant = (name: string) => name.trim().replace(ENDING, '');

/** Whether it may be looked for: names come from Redis and out of files, and nothing but a name is one. */
export function isItemName(item: string): boolean {
  return taskIdFault(item) === null;
}

/** What stands under `status`; any other word is a person's own, and the item is left alone. */
export const STATUS = {
  open: 'open',
  working: 'working',
  committed: 'committed',
  done: 'done',
  failed: 'failed',
  unchanged: 'unchanged',
  cancelled: 'cancelled',
  'not-landed': 'not-landed',
} as const;

/** Keys that we write. */
export const OWN_KEYS = ['status', 'assignee', 'attempt', 'outcome', 'reason', 'commit', 'branch'] as const;
export type OwnKey = (typeof OWN_KEYS)[number];
