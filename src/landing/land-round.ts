/**
 * One round of landing: the candidates of a target, in their order, onto its tip of now. Nothing is checked out over
 * anybody's working copy; the target moves by compare-and-swap, once, and only to what was judged.
 */
import { join } from 'node:path';
import { CellpoolError } from '../errors.ts';
import { bringHome, refuseCheckedOut } from '../git/home.ts';
import { setRef } from '../git/ref-files.ts';
import { nameOf, type Source, tipOf } from '../git/source.ts';
import { removeTree } from '../os/remove-tree.ts';
import { hasLanded, openGround, stackOn } from './ground.ts';
import { type Candidate, type Judgement, type Trial, tryBatch } from './try-batch.ts';

export interface Round {
  source: Source;
  /** Short name of the branch that they land on. */
  target: string;
  candidates: readonly Candidate[];
  /** Absolute; made for the round, and removed after it. */
  folder: string;
  author: { name: string; email: string };
  /** Runs the tests on a commit, which the repository at `gitDir` has. */
  judge(commit: string, gitDir: string): Promise<Judgement>;
  /** Asked last, just before the target moves; when it throws, nothing moves. */
  fence?: (() => Promise<void>) | undefined;
  signal?: AbortSignal | undefined;
}

export interface RoundResult extends Omit<Trial, 'landing'> {
  /** Where the target stood. */
  tip: string;
  /** Where it stands now, and was moved to by this; null: it was not moved. */
  landed: string | null;
  /** Task ids of those that the target had already. */
  before: string[];
}

/** In the ground: the ref that is fetched from there. */
const LANDING = 'refs/heads/landing';

/**
 * @throws {CellpoolError} UNKNOWN_BASE when there is no such target; BRANCH_CHECKED_OUT when somebody works on it;
 * COMMIT_FAILED when it was moved meanwhile, and what `judge`, `fence` and `publish` throw. The target is where it was
 * then, and nobody's fate is decided.
 */
export async function landRound(round: Round): Promise<RoundResult> {
  const { source, target, folder, author, judge, fence, signal } = round;
  const tip = await tipOf(source, target);
  if (tip === null)
    throw new CellpoolError('UNKNOWN_BASE', `${nameOf(source)} has no branch ${JSON.stringify(target)}`);
  await refuseCheckedOut(source, target);
  const before: string[] = [];
  for (const one of round.candidates) if (await hasLanded(source, tip, one)) before.push(one.taskId);
  const candidates = round.candidates.filter(({ taskId }) => !before.includes(taskId));
  const gitDir = join(folder, 'ground.git');
  try {
    const ground = await openGround({ gitDir, source, author });
    const stack = stackOn.bind(null, ground);
    const { landing, ...trial } = await tryBatch({ stack, judge: commit => judge(commit, gitDir) }, tip, candidates);
    if (landing === null) return { ...trial, tip, landed: null, before };
    await setRef(gitDir, LANDING, landing.commit);
    const move = { from: gitDir, ref: LANDING, commit: landing.commit, branch: target, expectedOld: tip };
    await bringHome(source, { ...move, keepAs: 'landing', author, fence, signal });
    return { ...trial, tip, landed: landing.commit, before };
  } finally {
    await removeTree(folder);
  }
}
