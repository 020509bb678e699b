/** Whether a finished branch may be tried at all: it is still what its task wants to land, and no secret is in it. */
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { addsSecret } from '../cell/work-secrets.ts';
import { ownGit, ownGitOk } from '../git/git.ts';
import { isAncestor, type Source, tipOf } from '../git/source.ts';
import type { Fate } from '../job/fate.ts';
import { hasEnded } from '../job/stored-job.ts';
import { type FateContext, superseded } from './landing-fates.ts';
import type { WaitingCandidate } from './landing-groups.ts';
import { lookAtTask } from './return-task.ts';

export interface CandidatePlaces {
  source: Source;
  destination: Source;
  /** Of the round, for what is written on the way. */
  folder: string;
}

export interface Examined {
  one: WaitingCandidate;
  /** The work, for an agent that is to do it again; null when it is too long to be read. */
  patch: string | null;
}

/** Bytes. */
const PATCH_MAX = 20_000;

/** What is to be said of one that is not tried; `later`: nothing yet. */
export type Excluded =
  | (Pick<Fate, 'message'> & { kind: 'refused' | 'returned'; why: NonNullable<Fate['why']> })
  | { kind: 'later' };

/** @throws the error of Redis; {CellpoolError} GIT_FAILED */
export async function examine(
  { redis, tasks, redactor }: Pick<FateContext, 'redis' | 'tasks' | 'redactor'>,
  { source, destination, folder }: CandidatePlaces,
  one: WaitingCandidate,
): Promise<Examined | Excluded> {
  const { taskId, commit, branch, target } = one.data;
  // A lander may have died after it had moved the target: whatever was done since, it has landed.
  const at = await tipOf(destination, target);
  if (at !== null && (await hasCommit(destination, commit)) && (await isAncestor(destination, commit, at))) {
    return { one, patch: null };
  }
  const { how, stored } = await lookAtTask(redis, tasks, one.data);
  const back = stored?.data?.returned;
  // Its lander died before it could say so.
  if (how === 'returned' && back !== undefined) return { kind: 'returned', why: back.why, message: back.message };
  if (how === 'superseded') return refused('superseded', superseded(taskId));
  // Its worker says so any moment, and when it has died another one does: until then it could not be sent back.
  if (stored?.data != null && !hasEnded(stored)) return { kind: 'later' };
  const tip = await tipOf(source, branch);
  if (tip !== commit || !(await hasCommit(source, commit))) {
    const where = tip === null ? 'is not there any more' : `was moved to ${tip}`;
    return refused('gone', `branch ${branch} ${where}, and nobody has tested that`);
  }
  const file = join(folder, 'candidate.diff');
  await savePatch(source, commit, file);
  if (await addsSecret(file, redactor)) {
    return refused('secret', `what branch ${branch} adds holds a secret that this worker knows`);
  }
  const { size } = await stat(file);
  return { one, patch: size <= PATCH_MAX ? await readFile(file, 'utf8') : null };
}

const refused = (why: NonNullable<Fate['why']>, message: string): Excluded => ({ kind: 'refused', why, message });

/** To a file, since it may be of any size. Nobody's programs have a say in it. */
async function savePatch({ gitDir }: Source, commit: string, file: string): Promise<void> {
  const shape = [
    '-r',
    '-p',
    '--root',
    '--no-commit-id',
    '--no-renames',
    '--no-color',
    '--no-ext-diff',
    '--no-textconv',
  ];
  const merges = '--diff-merges=first-parent';
  await ownGitOk(['diff-tree', ...shape, merges, `--output=${file}`, commit, '--'], { gitDir });
}

async function hasCommit({ gitDir }: Source, commit: string): Promise<boolean> {
  return (await ownGit(['cat-file', '-e', `${commit}^{commit}`], { gitDir })).exitCode === 0;
}
