/** Bringing a finished commit home: its objects into the source, then its branch, in one step or not at all. */
import { CellpoolError, messageOf } from '../errors.ts';
import { allEnded } from '../os/all-ended.ts';
import { type RefMove, refTransaction } from './commands.ts';
import { fetchObjects } from './fetch-objects.ts';
import { ownGitOk } from './git.ts';
import { type BranchMove, publish, replacedRef } from './publish.ts';
import { checkedOutAt, enclosedIn, isAncestor, type Source, tipOf } from './source.ts';

export interface Homecoming extends BranchMove {
  /** A repository that has `commit` as the tip of `ref`. */
  from: string;
  ref: string;
  /** Who moved the branch, for its reflog. */
  author: { name: string; email: string };
}

/**
 * Fetches `commit` into the source and moves `branch` there by compare-and-swap. None of the user's hooks runs, and
 * no working copy is touched. A commit that the branch pointed to, and that the new one does not build on, stays
 * reachable under `refs/cellpool/replaced`. Where the source is the cache of a remote, the branch moves there, with
 * that commit kept in the cache. Call `refuseCheckedOut` first, so that nothing is fetched for a branch on which
 * somebody works; that is asked again just before the branch moves.
 * @returns that ref, or null when nothing was replaced.
 * @throws {CellpoolError} BRANCH_CHECKED_OUT when somebody works on the branch; COMMIT_FAILED; as `publish`. No branch
 * was moved then.
 */
export async function bringHome(source: Source, work: Homecoming): Promise<string | null> {
  await fetchObjects(source, work.from, work.ref, 'COMMIT_FAILED');
  return source.remote === undefined ? moveBranch(source, work) : publish(source, source.remote, work);
}

async function moveBranch(source: Source, work: Homecoming): Promise<string | null> {
  // Where the branch stands is all there is to ask of a new one, so that both answers are as late as they can be.
  const isNew = work.expectedOld === null;
  const [old, folder] = await allEnded([tipOf(source, work.branch), isNew ? checkedOutAt(source, work.branch) : null]);
  if (old !== work.expectedOld) throw moved(work, old);
  const moves: RefMove[] = [{ ref: `refs/heads/${work.branch}`, to: work.commit, from: old }];
  let replaced: string | null = null;
  if (old !== null && !(await isAncestor(source, old, work.commit))) {
    replaced = replacedRef(work.keepAs, old);
    moves.push({ ref: replaced, to: old });
  }
  refuseFolder(work.branch, isNew ? folder : await checkedOutAt(source, work.branch));
  await work.fence?.();
  const identity = { GIT_COMMITTER_NAME: work.author.name, GIT_COMMITTER_EMAIL: work.author.email };
  try {
    await ownGitOk(
      ['update-ref', '--no-deref', '-m', 'cellpool: commit', '-z', '--stdin'],
      { ...enclosedIn(source), input: refTransaction(moves), env: identity },
      'COMMIT_FAILED',
    );
  } catch (error) {
    throw await explained(source, work, error);
  }
  const now = await tipOf(source, work.branch);
  if (now !== work.commit) throw moved(work, now);
  return replaced;
}

/** @throws {CellpoolError} BRANCH_CHECKED_OUT when somebody works on the branch */
export async function refuseCheckedOut(source: Source, branch: string): Promise<void> {
  refuseFolder(branch, await checkedOutAt(source, branch));
}

function refuseFolder(branch: string, folder: string | null): void {
  if (folder === null) return;
  throw new CellpoolError('BRANCH_CHECKED_OUT', `branch ${branch} is checked out in ${folder}`, {
    hint:
      'Switch that working copy to another branch, and end a rebase or bisect of this one there; moving a branch under ' +
      'it would make its files look edited.',
    facts: { branch, folder },
  });
}

function moved(work: Homecoming, found: string | null): CellpoolError {
  const [was, is] = [work.expectedOld ?? 'absent', found ?? 'absent'];
  return new CellpoolError('COMMIT_FAILED', `branch ${work.branch} was expected to be ${was}, but is ${is}`, {
    hint: 'Somebody else moved it meanwhile; nothing was overwritten.',
    facts: { branch: work.branch, expected: work.expectedOld, found },
  });
}

/** A branch and a folder of branches cannot have the same name; say so when that is the reason. */
async function explained(source: Source, work: Homecoming, cause: unknown): Promise<unknown> {
  const parts = work.branch.split('/');
  for (let length = 1; length < parts.length; length++) {
    const above = parts.slice(0, length).join('/');
    if ((await tipOf(source, above)) === null) continue;
    return new CellpoolError('COMMIT_FAILED', `branch ${above} leaves no room for ${work.branch}`, {
      cause,
      hint: `Rename branch ${above}: git cannot hold both.`,
      facts: { branch: work.branch, inTheWay: above },
    });
  }
  const found = await tipOf(source, work.branch);
  return found === work.expectedOld ? cause : Object.assign(moved(work, found), { cause: messageOf(cause) });
}
