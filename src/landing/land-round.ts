/**
 * One round of landing: the candidates of a target, in their order, onto its tip of now. Nothing is checked out over
 * anybody's working copy; the target moves by compare-and-swap, once, and only to what was judged.
 */
import { join } from 'node:path';
import { CellpoolError } from '../errors.ts';
import { bringHome, refuseCheckedOut } from '../git/home.ts';
import { setRef } from '../git/ref-files.ts';
import { hasCommit, nameOf, type Source, tipOf } from '../git/source.ts';
import { removeTree } from '../os/remove-tree.ts';
import { type LandingGround, landedBy, openGround, stackOn } from './ground.ts';
import { type Candidate, type Judgement, type Stacked, type Trial, tryBatch } from './try-batch.ts';

export interface Round {
  /** Where the candidates are. */
  source: Source;
  /** Where their target is: the same, or the cache of a remote. */
  destination: Source;
  /** Short name of the branch that they land on. */
  target: string;
  candidates: readonly Candidate[];
  /** Absolute; made for the round, and removed after it. */
  folder: string;
  author: { name: string; email: string };
  /** Runs the tests on a commit, which the repository at `gitDir` has; `last` is the task on top of it, if one is. */
  judge(commit: string, gitDir: string, last: string | null): Promise<Judgement>;
  /** Asked last, just before the target moves; when it throws, nothing moves. */
  fence?: (() => Promise<void>) | undefined;
  signal?: AbortSignal | undefined;
}

export interface RoundResult extends Omit<Trial, 'landing'> {
  /** Where the target stood. */
  tip: string;
  /** Where it stands now, and was moved to by this; null: it was not moved. */
  landed: string | null;
  /** Of those that the target had already: by task id the commit by which it has them. */
  before: Map<string, string>;
  /** Task ids of those whose commits are not there any more. */
  gone: string[];
}

/** In the ground: the ref that is fetched from there. */
const LANDING = 'refs/heads/landing';
/** What is kept for a landing is kept under a name that no task can have. */
const KEEP_AS = '_landing';

/**
 * @throws {CellpoolError} UNKNOWN_BASE when there is no such target; BRANCH_CHECKED_OUT when somebody works on it;
 * COMMIT_FAILED when it was moved meanwhile, and what `judge`, `fence` and `publish` throw. The target is where it was
 * then, and nobody's fate is decided.
 */
export async function landRound(round: Round): Promise<RoundResult> {
  const { source, destination, target, folder, author, judge, fence, signal } = round;
  const tip = await tipOf(destination, target);
  if (tip === null)
    throw new CellpoolError('UNKNOWN_BASE', `${nameOf(destination)} has no branch ${JSON.stringify(target)}`);
  await refuseCheckedOut(destination, target);
  const gitDir = join(folder, 'ground.git');
  try {
    const more = destination.gitDir === source.gitDir ? [] : [source];
    const ground = await openGround({ gitDir, tip, lenders: [destination, ...more], author });
    const { before, gone, candidates } = await sorted(ground, tip, round.candidates);
    const stack = stackOn.bind(null, ground);
    const judgeOn = (state: Stacked) => judge(state.commit, gitDir, state.candidates.at(-1)?.taskId ?? null);
    const { landing, ...trial } = await tryBatch({ stack, judge: judgeOn }, tip, candidates);
    if (landing === null) return { ...trial, tip, landed: null, before, gone };
    await setRef(gitDir, LANDING, landing.commit);
    const move = { from: gitDir, ref: LANDING, commit: landing.commit, branch: target, expectedOld: tip };
    await bringHome(destination, { ...move, keepAs: KEEP_AS, isLanding: true, author, fence, signal });
    return { ...trial, tip, landed: landing.commit, before, gone };
  } finally {
    await removeTree(folder);
  }
}

async function sorted(ground: LandingGround, tip: string, all: readonly Candidate[]) {
  const before = new Map<string, string>();
  const gone: string[] = [];
  const candidates: Candidate[] = [];
  for (const one of all) {
    const by = (await hasCommit(ground, one.commit)) ? await landedBy(ground, tip, one) : undefined;
    if (by === undefined) gone.push(one.taskId);
    else if (by === null) candidates.push(one);
    else before.set(one.taskId, by);
  }
  return { before, gone, candidates };
}
