/**
 * Publishing: a finished commit goes from the cache onto the task's branch in the remote. The push is a
 * compare-and-swap: the remote is told where the branch must be (`--force-with-lease`), and moves it from there or not
 * at all. An answer that does not come says nothing, so then the remote is asked where the branch is.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { CellpoolError, type ErrorCode } from '../errors.ts';
import type { RunResult } from '../os/run.ts';
import { isOfTask } from './finished.ts';
import { ownGitOk } from './git.ts';
import { pushRef } from './push-ref.ts';
import { remoteBranches, remoteFault } from './remote.ts';
import { saidOf } from './remote-trouble.ts';
import { isAncestor, nameOf, type Source, tipOf } from './source.ts';
import { forgetUnpublished, keepUnpublished } from './unpublished.ts';

export interface BranchMove {
  commit: string;
  branch: string;
  /** Where the branch must be now; null: it may not exist. */
  expectedOld: string | null;
  /** The task's id: first part of the name under which a commit that the branch loses is kept. */
  keepAs: string;
  /**
   * It is merged anew from what waits when it does not get there: so nothing of it is kept for later, also when its lander
   * is killed meanwhile.
   */
  isLanding?: boolean;
  /** Asked last, just before the branch moves; when it throws, nothing moves. */
  fence?: (() => Promise<void>) | undefined;
  /** Ends the waiting for a remote. */
  signal?: AbortSignal | undefined;
}

/** A small commit over a slow line. */
const PUSH_MS = 5 * 60_000;
/** Of a push that got no answer. Whoever takes the job next goes on where this ended. */
const TRIES = 3;
const PAUSE_MS = 500;

/** What to do next about a push that was refused: by a rule of the server, or because the branch is elsewhere. */
const HINTS = {
  task: {
    rule: 'Change that rule of the server, or who pushes; then cellpool retry publishes what is kept.',
    taken:
      'Somebody else made or moved it; nothing was overwritten. Rename or remove it, then cellpool retry the task.',
  },
  landing: {
    rule: 'Change that rule of the server, or who pushes: what waits is tried again.',
    taken: 'Somebody else moved it meanwhile; nothing was overwritten, and what waits is tried again from there.',
  },
};

const hintsFor = ({ isLanding = false }: Pick<BranchMove, 'isLanding'>) => HINTS[isLanding ? 'landing' : 'task'];

/** Where a commit stays that a branch no longer leads to. */
export const replacedRef = (taskId: string, old: string): string =>
  `refs/cellpool/replaced/${taskId}/${old.slice(0, 12)}`;

/**
 * Moves `branch` of the remote at `url` to a commit that its cache `source` has. What the branch pointed to, and the
 * new commit does not build on, stays in the cache; the new one stays there, too, until the remote has it, unless it is a
 * landing.
 * @returns the ref that keeps the old one; null when nothing was replaced.
 * @throws {CellpoolError} BRANCH_TAKEN when the branch is elsewhere; PUSH_REFUSED, REMOTE_UNREACHABLE, REMOTE_REFUSED,
 * NO_SUCH_REMOTE, NOT_A_REPOSITORY; COMMIT_FAILED. The signal's reason on abort, what `fence` throws.
 */
export async function publish(source: Source, url: string, move: BranchMove): Promise<string | null> {
  const { keepAs, commit, expectedOld, isLanding = false } = move;
  const kept = isLanding ? null : await keepUnpublished(source, keepAs, commit);
  let replaced: string | null = null;
  if (expectedOld !== null && !(await isAncestor(source, expectedOld, commit))) {
    replaced = replacedRef(keepAs, expectedOld);
    await ownGitOk(['update-ref', '--no-deref', replaced, expectedOld], { gitDir: source.gitDir }, 'COMMIT_FAILED');
  }
  for (let tries = 1; ; tries++) {
    // What it refuses stays kept: it is this task's work, and whoever has the job by rights may publish it.
    await move.fence?.();
    try {
      await push(source, url, move);
      break;
    } catch (error) {
      const again = error instanceof CellpoolError && error.code === 'REMOTE_UNREACHABLE' && tries < TRIES;
      if (!again) throw kept === null ? error : naming(error, source, kept);
      await pause(PAUSE_MS * 4 ** (tries - 1), move.signal);
    }
  }
  if (kept !== null) await forgetUnpublished(source, keepAs, commit);
  return replaced;
}

async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => undefined);
  signal?.throwIfAborted();
}

async function push({ gitDir }: Source, url: string, move: BranchMove): Promise<void> {
  const { commit, branch, expectedOld, signal } = move;
  const answer = await pushRef(gitDir, url, { branch, from: expectedOld, to: commit, timeoutMs: PUSH_MS, signal });
  if (answer.exitCode === 0) return;
  if (!isRejection(answer)) throw remoteFault(url, answer);
  const found = (await remoteBranches(url, { only: [branch], signal })).get(branch) ?? null;
  // An earlier push whose answer was lost.
  if (found === commit) return;
  const why = whyRejected(answer);
  if (found === expectedOld && IS_PASSING.test(why)) {
    throw new CellpoolError('REMOTE_UNREACHABLE', `${url} could not take branch ${branch} now: ${why}`, {
      facts: { url },
    });
  }
  const hints = hintsFor(move);
  if (found !== expectedOld)
    throw taken(url, branch, `expected to be ${expectedOld ?? 'absent'}, but is ${found ?? 'absent'}`, hints);
  throw new CellpoolError('PUSH_REFUSED', `${url} refused branch ${branch}: ${why}`, {
    hint: hints.rule,
    facts: { url, branch },
  });
}

/** What a server says of itself and not of the push: it is full, broken or busy for a while. */
const IS_PASSING = /internal server error|unpacker error|failed to update ref|cannot lock ref|failed to lock/i;

/** In the porcelain form a line a ref, `!` for one that was not moved. */
const isRejection = ({ stdout }: RunResult) => /^!\t/m.test(stdout);

function whyRejected({ stdout, stderr }: RunResult): string {
  const line = /^!\t[^\t\n]*\t([^\n]*)$/m.exec(stdout)?.[1] ?? 'rejected';
  const remarks = stderr.split('\n').filter(one => one.startsWith('remote: '));
  return saidOf([line, ...remarks.map(one => one.slice('remote: '.length))].join('\n'));
}

function taken(url: string, branch: string, how: string, { taken: hint } = HINTS.task): CellpoolError {
  return new CellpoolError('BRANCH_TAKEN', `branch ${branch} of ${url} was ${how}`, {
    hint,
    facts: { url, branch },
  });
}

/** The same error, which says where the work is. */
function naming(error: unknown, source: Source, ref: string): unknown {
  if (!(error instanceof CellpoolError)) return error;
  const { code, hint, facts } = error;
  return new CellpoolError(
    code satisfies ErrorCode,
    `${error.message} (the commit is kept in ${source.path} as ${ref})`,
    {
      ...(hint === undefined ? {} : { hint }),
      facts: { ...facts, kept: ref },
      cause: error,
    },
  );
}

/**
 * Where the task's branch is in the source, as far as that is known; null when there is none. In a remote everybody
 * pushes, so a branch of that name may be somebody else's, and is then left alone.
 * @throws {CellpoolError} BRANCH_TAKEN when it is not the work of this task; GIT_FAILED
 */
export async function ownBranch(source: Source, branch: string, taskId: string): Promise<string | null> {
  const tip = await tipOf(source, branch);
  if (tip === null || source.remote === undefined || (await isOfTask(source, tip, taskId))) return tip;
  throw taken(nameOf(source), branch, `not made by cellpool for task ${taskId}: its last commit says nothing of it`);
}
