/**
 * Where states of a target are made: a bare repository of the worker's that borrows the objects of the candidates'
 * repository and, where it is another one, of the target's. Nothing is checked out to merge, so no hook, driver or filter
 * of anybody's runs, and both are only read. Of the target's attributes those count by which git itself merges.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CellpoolError } from '../errors.ts';
import { initBorrowing } from '../git/borrowing.ts';
import { splitNul, withTrailers } from '../git/commands.ts';
import { accept, ownGit, ownGitOk, refused } from '../git/git.ts';
import { identityOf } from '../git/identity.ts';
import { isAncestor, type Source } from '../git/source.ts';
import { takeMergeAttributes } from './merge-attributes.ts';
import type { Candidate, Stacked } from './try-batch.ts';

export interface LandingGround {
  gitDir: string;
  /** Whose objects it borrows. */
  lenders: readonly [Lender, ...Lender[]];
  /** Whom the landing commits are by. */
  author: { name: string; email: string };
}

export type Lender = Pick<Source, 'gitDir' | 'format'>;

export type State = { commit: string } | { conflicts: string[] };

/** The first git that merges without a working copy. */
const MINIMUM = [2, 38] as const;
/** In place of the paths in conflict. */
const UNRELATED = 'all of it: the two have no history in common';
/** Ids in the first line of a message; trailers name them all. */
const NAMED = 5;

/**
 * Makes it at `gitDir`, where nothing may stand, for merges onto `tip`; whoever opened it removes it.
 * @throws {CellpoolError} GIT_MISSING when git is too old for it; SPAWN_FAILED; GIT_FAILED
 */
export async function openGround({ tip, ...ground }: LandingGround & { tip: string }): Promise<LandingGround> {
  const { lenders, gitDir } = ground;
  await demandMergeTree();
  const objects = lenders.map(lender => `${lender.gitDir}/objects`);
  const [{ gitDir: path, format }] = lenders;
  await initBorrowing({ mirror: { path, objects: objects[0] ?? '', format }, gitDir, on: null });
  await writeFile(join(gitDir, 'objects', 'info', 'alternates'), objects.map(folder => `${folder}\n`).join(''));
  await takeMergeAttributes(gitDir, tip);
  return ground;
}

/**
 * The target as it would be with one more candidate: a merge of the tip and of all candidates, whose tree is that of
 * the state below merged with the last one. First-parent history has one commit for a batch. @throws {CellpoolError}
 * GIT_FAILED
 */
export async function stackOn(ground: LandingGround, below: Stacked, candidate: Candidate): Promise<State> {
  const { gitDir, author } = ground;
  const args = ['merge-tree', '--write-tree', '-z', '--name-only', '--no-messages', below.commit, candidate.commit];
  const merged = await ownGit(args, { gitDir });
  if (merged.exitCode !== 0 && merged.exitCode !== 1) {
    if (await isUnrelated(ground, below, candidate)) return { conflicts: [UNRELATED] };
    throw refused(merged, args, 'GIT_FAILED');
  }
  const [tree = '', ...paths] = splitNul(merged.stdout);
  if (merged.exitCode === 1) return { conflicts: [...new Set(paths.filter(path => path !== ''))].sort() };
  const candidates = [...below.candidates, candidate];
  const parents = [below.tip, ...candidates.map(({ commit }) => commit)].flatMap(id => ['-p', id]);
  const call = { gitDir, input: messageOf(candidates), env: identityOf(author) };
  return { commit: (await ownGitOk(['commit-tree', tree, ...parents, '-F', '-'], call)).trim() };
}

/** Somebody has begun the target's history anew. */
async function isUnrelated({ gitDir }: LandingGround, below: Stacked, { commit }: Candidate): Promise<boolean> {
  return (await ownGit(['merge-base', below.commit, commit], { gitDir })).exitCode === 1;
}

/**
 * The commit by which the target has it already, null when it has not: a lander may have died between moving the target
 * and saying so. It is the oldest one of the target's own line, which first parents make; that may be the candidate.
 * @throws {CellpoolError} GIT_FAILED
 */
export async function landedBy(
  { gitDir }: Pick<LandingGround, 'gitDir'>,
  tip: string,
  { commit }: Candidate,
): Promise<string | null> {
  if (!(await isAncestor({ gitDir }, commit, tip))) return null;
  // Not with `--first-parent`: git would follow only these, and not find what came in by a branch of several commits.
  const found = await ownGitOk(['rev-list', '--ancestry-path', '--parents', `${commit}..${tip}`], { gitDir });
  const firstParents = new Map(
    found
      .split('\n')
      .map(line => line.split(' '))
      .map(([id, first]) => [id, first]),
  );
  for (let at = tip; ; ) {
    const next = firstParents.get(at);
    if (next === undefined || (next !== commit && !firstParents.has(next))) return at;
    at = next;
  }
}

function messageOf(candidates: readonly Candidate[]): string {
  const ids = candidates.map(({ taskId }) => taskId);
  const more = ids.length > NAMED ? ` and ${ids.length - NAMED} more` : '';
  return withTrailers(`Land ${ids.slice(0, NAMED).join(', ')}${more}`, { Landed: ids.join(', ') });
}

async function demandMergeTree(): Promise<void> {
  const args = ['--version'];
  const said = accept(await ownGit(args, { cwd: '/' }), args, 'GIT_MISSING');
  const [major = 0, minor = 0] = (/(\d+)\.(\d+)/.exec(said) ?? []).slice(1).map(Number);
  if (major > MINIMUM[0] || (major === MINIMUM[0] && minor >= MINIMUM[1])) return;
  throw new CellpoolError('GIT_MISSING', `landing needs git ${MINIMUM.join('.')} or newer; this is ${said.trim()}`, {
    hint: 'Install a newer git on the machines that land.',
  });
}
