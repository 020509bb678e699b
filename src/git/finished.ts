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

/**
 * The commit at the tip of `branch`, if it is the work of this very enqueuing of the task; null when it is not, or
 * there is no such branch. A worker may have died between moving the branch and saying so. Git that fails is no answer:
 * taken for one, the work would be done a second time.
 * @throws {CellpoolError} GIT_FAILED
 */
export async function finishedWork(
  source: Source,
  { branch, taskId, enqueuedAt }: { branch: string; taskId: string; enqueuedAt: number },
): Promise<FinishedWork | null> {
  const { gitDir } = source;
  const format = ['%H', ...FIELDS.map(name => `%(trailers:key=${name},valueonly,separator=%x2c)`)].join('%x00');
  const tip = await tipOf(source, branch);
  if (tip === null) return null;
  const found = await ownGitOk(['log', '--no-walk', `--format=${format}`, tip, '--'], { gitDir });
  const [commit = '', task, attempt, tokens, enqueued] = found.replace(/\n$/, '').split('\0');
  if (task !== taskId || enqueued !== new Date(enqueuedAt).toISOString()) return null;
  const names = ['diff-tree', '-r', '-z', '--name-only', '--no-commit-id', '--no-renames', commit];
  const files = (await ownGitOk(names, { gitDir })).split('\0').filter(name => name !== '');
  const number = (text: string | undefined) => (/^\d{1,15}$/.test(text ?? '') ? Number(text) : 0);
  return { commit, attempt: Math.max(1, number(attempt)), tokensUsed: number(tokens), filesModified: files.sort() };
}
