/** What a finished attempt left on its branch, for those who come after it: the commit itself tells. */
import { ownGitOk } from './git.ts';
import { type Source, tipOf } from './source.ts';

export interface FinishedWork {
  /** Full id. */
  commit: string;
  attempt: number;
  tokensUsed: number;
  filesModified: string[];
}

const FIELDS = ['Task', 'Attempt', 'Tokens', 'Enqueued'] as const;

/** One enqueuing of a task: when it was put on the queue tells it from earlier ones. */
export interface EnqueuedTask {
  taskId: string;
  /** Epoch ms. */
  enqueuedAt: number;
}

/**
 * The commit at the tip of `branch`, if it is the work of this very enqueuing of the task; null when it is not, or
 * there is no such branch. A worker may have died between moving the branch and saying so. Git that fails is no answer:
 * taken for one, the work would be done a second time.
 * @throws {CellpoolError} GIT_FAILED
 */
export async function finishedWork(
  source: Source,
  { branch, ...task }: EnqueuedTask & { branch: string },
): Promise<FinishedWork | null> {
  const tip = await tipOf(source, branch);
  return tip === null ? null : workOf(source, tip, task);
}

/** What this commit tells, if it is the work of this enqueuing of the task, else null. @throws as `finishedWork` */
export async function workOf(
  source: Source,
  id: string,
  { taskId, enqueuedAt }: EnqueuedTask,
): Promise<FinishedWork | null> {
  const { gitDir } = source;
  const { commit, task, attempt, tokens, enqueued } = await trailersOf(source, id);
  if (task !== taskId || enqueued !== new Date(enqueuedAt).toISOString()) return null;
  const names = ['diff-tree', '-r', '-z', '--name-only', '--no-commit-id', '--no-renames', commit];
  const files = (await ownGitOk(names, { gitDir })).split('\0').filter(name => name !== '');
  const number = (text: string | undefined) => (/^\d{1,15}$/.test(text ?? '') ? Number(text) : 0);
  return { commit, attempt: Math.max(1, number(attempt)), tokensUsed: number(tokens), filesModified: files.sort() };
}

/** Whether this commit is the work of the task, of whichever enqueuing. @throws as `finishedWork` */
export async function isOfTask(source: Source, id: string, taskId: string): Promise<boolean> {
  return (await trailersOf(source, id)).task === taskId;
}

async function trailersOf({ gitDir }: Source, id: string) {
  const format = ['%H', ...FIELDS.map(name => `%(trailers:key=${name},valueonly,separator=%x2c)`)].join('%x00');
  const found = await ownGitOk(['log', '--no-walk', `--format=${format}`, id, '--'], { gitDir });
  const [commit = '', task, attempt, tokens, enqueued] = found.replace(/\n$/, '').split('\0');
  return { commit, task, attempt, tokens, enqueued };
}
