/** Removing a branch whose work is elsewhere by now: only from where it is known to stand, and under nobody's feet. */
import { CellpoolError } from '../errors.ts';
import { BRANCH_ROOT } from '../job/names.ts';
import { ownGit } from './git.ts';
import { pushRef } from './push-ref.ts';
import { remoteFault } from './remote.ts';
import { checkedOutAt, enclosedIn, type Source, tipOf } from './source.ts';

/** A push that sends nothing. */
const PUSH_MS = 60_000;

/**
 * False when it stays: it was moved meanwhile, is gone already, or somebody has it checked out. In a remote it is removed
 * there; its cache hears of that with the next fetch.
 * @throws {CellpoolError} INTERNAL for a branch that no task of ours can have: whatever a job in Redis says, no branch of
 * a person goes. GIT_FAILED, and as `publish` for a remote
 */
export async function removeBranch(
  source: Source,
  branch: string,
  commit: string,
  signal?: AbortSignal,
): Promise<boolean> {
  if (!branch.startsWith(`${BRANCH_ROOT}/`)) {
    throw new CellpoolError('INTERNAL', `branch ${branch} is not below ${BRANCH_ROOT}/, so it is never removed`);
  }
  if ((await tipOf(source, branch)) !== commit) return false;
  if (source.remote !== undefined) return removeFromRemote(source, source.remote, { branch, commit, signal });
  if ((await checkedOutAt(source, branch)) !== null) return false;
  const ref = `refs/heads/${branch}`;
  const args = ['update-ref', '--no-deref', '-z', '--stdin'];
  const call = { ...enclosedIn(source), input: `delete ${ref}\0${commit}\0` };
  return (await ownGit(args, call)).exitCode === 0 || (await tipOf(source, branch)) === null;
}

async function removeFromRemote(
  { gitDir }: Source,
  url: string,
  { branch, commit, signal }: { branch: string; commit: string; signal?: AbortSignal | undefined },
): Promise<boolean> {
  const answer = await pushRef(gitDir, url, { branch, from: commit, to: null, timeoutMs: PUSH_MS, signal });
  // The server has a rule against it, or somebody has moved it: it stays.
  if (/^!\t/m.test(answer.stdout)) return false;
  if (answer.exitCode !== 0) throw remoteFault(url, answer);
  return true;
}
