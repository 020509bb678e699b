/**
 * Task id -> job id, branch and folder. One id is used in all three places, so it must survive each of them:
 * BullMQ forbids `:` and ids of digits only and keeps its own data beside the jobs, git forbids `..`, a final `.` and
 * `.lock`, a path forbids `/`.
 */

/** Longest task id, in characters: with a cell suffix it still fits every file system's 255-byte name limit. */
export const TASK_ID_MAX = 100;

const SHAPE = /^[A-Za-z0-9][A-Za-z0-9._-]*$/;

/**
 * BullMQ keeps a job under `<prefix>:tasks:<job id>` and its own lists and counters under the same `<prefix>:tasks:`,
 * so a job of such a name would be taken for, or written into, one of them.
 */
const QUEUE_KEYS: ReadonlySet<string> = new Set([
  ...['active', 'wait', 'waiting-children', 'paused', 'id', 'delayed', 'prioritized', 'stalled-check', 'completed'],
  ...['failed', 'stalled', 'repeat', 'limiter', 'meta', 'events', 'pc', 'marker', 'de', 'metrics', 'priority'],
]);

/** Why `id` cannot be a task id, as the end of a sentence ("may not be empty"), or null when it can. */
export function taskIdFault(id: string): string | null {
  if (id === '') return 'may not be empty';
  if (id.length > TASK_ID_MAX) return `may have at most ${TASK_ID_MAX} characters, this one has ${id.length}`;
  const quoted = JSON.stringify(id);
  if (!SHAPE.test(id)) {
    return `is made of letters, digits, ".", "_" and "-" and begins with a letter or digit: ${quoted}`;
  }
  if (/^\d+$/.test(id)) return `may not be digits only, the queue refuses that: write "task-${id}"`;
  if (QUEUE_KEYS.has(id)) return `may not be ${quoted}, a name the queue keeps for itself: write "task-${id}"`;
  if (id.includes('..')) return `may not contain "..", which git refuses in a branch name: ${quoted}`;
  if (id.endsWith('.')) return `may not end with ".", which git refuses in a branch name: ${quoted}`;
  if (/\.lock$/i.test(id)) return `may not end with ".lock", which git refuses in a branch name: ${quoted}`;
  return null;
}

/** All branches that cellpool makes stand under this name. */
export const BRANCH_ROOT = 'cellpool';

/** The branch an attempt of this task commits on. */
export function branchOf(taskId: string): string {
  return `${BRANCH_ROOT}/${taskId}`;
}

/** Whether it is the branch of some task: on such a one nothing lands. */
export function isTaskBranch(branch: string): boolean {
  return branch.startsWith(`${BRANCH_ROOT}/`);
}

/** The job id of a task: the id itself, so that adding a task twice is one job. */
export function jobIdOf(taskId: string): string {
  return taskId;
}

/** The queue all tasks stand on. */
export const TASK_QUEUE = 'tasks';

/** The queue of finished branches that are to land. */
export const LANDING_QUEUE = 'landing';
