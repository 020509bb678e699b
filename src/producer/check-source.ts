/** What only the repository can tell of tasks: whether their base branches are there, and their own can be made. */
import { type Fault, InvalidInput } from '../errors.ts';
import { BRANCH_ROOT, branchOf, isTaskBranch } from '../job/names.ts';
import type { Task } from '../job/task.ts';
import type { PlacedTask } from './tasks-file.ts';

/** The questions to a repository; `src/git` has the answers. */
export interface SourceFacts {
  /** How messages name the repository: its path as it was given. */
  name: string;
  /** The commit a branch points to, or null when there is no such branch. */
  tipOf(base: string): Promise<string | null>;
  branchExists(name: string): Promise<boolean>;
  /** The branch that is checked out; null for none (detached, or bare). */
  currentBranch?: string | null;
}

/**
 * @throws {InvalidInput} with every task whose base branch is missing (but for that of a task it depends on) or is its own, and with a branch that
 * stands in the way of all of cellpool's. Its code is `UNKNOWN_BASE` when nothing but missing branches is wrong.
 */
export async function checkTasksAgainst(tasks: readonly PlacedTask[], source: SourceFacts): Promise<void> {
  const blocked = (await source.branchExists(BRANCH_ROOT)) ? [blockedFault(source.name)] : [];
  const bases = [...new Set(tasks.map(({ task }) => task.base))];
  const missing = new Set<string>();
  for (const base of bases) if ((await source.tipOf(base)) === null) missing.add(base);

  const own = tasks
    .filter(({ task }) => task.base === branchOf(task.id))
    .map(({ task, where }): Fault => ({ where, what: `base "${task.base}" is the branch this task commits on` }));
  const unknown = tasks
    .filter(({ task }) => missing.has(task.base) && task.base !== branchOf(task.id) && !beginsAtDependency(task))
    .map((placed): Fault => ({ where: placed.where, what: sayMissing(placed, source) }));

  const faults = [...blocked, ...own, ...unknown];
  if (faults.length === 0) return;
  throw new InvalidInput(faults, faults.length === unknown.length ? 'UNKNOWN_BASE' : 'INVALID_INPUT');
}

/** The branch need not be there before the task that makes it has ended. */
function beginsAtDependency({ base, dependsOn = [] }: Task): boolean {
  return dependsOn.some(id => branchOf(id) === base);
}

function blockedFault(where: string): Fault {
  const what =
    `has a branch "${BRANCH_ROOT}", beside which git can make no branch "${branchOf('<task id>')}": ` +
    `rename it (git branch -m ${BRANCH_ROOT} <new name>)`;
  return { where, what };
}

function sayMissing({ task, baseGiven }: PlacedTask, source: SourceFacts): string {
  const current = source.currentBranch ?? null;
  const hint = current === null ? '' : `; the current branch is "${current}"`;
  if (baseGiven === true && isTaskBranch(task.base)) {
    return `base branch "${task.base}" is not in ${source.name}: a task that is to make it belongs in "dependsOn"`;
  }
  if (baseGiven === true) return `base branch "${task.base}" is not in ${source.name}${hint}`;
  const example = current ?? '<branch>';
  return (
    `the task names no base branch, and ${source.name} has no "${task.base}"${hint}: ` +
    `give --base ${example}, or "base": "${example}" in the task`
  );
}
