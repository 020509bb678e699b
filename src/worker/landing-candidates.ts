/** Whether a finished branch may be tried at all: it is still what its task wants to land, and no secret is in it. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { addsSecret } from '../cell/work-secrets.ts';
import { accept, ownGit } from '../git/git.ts';
import { isAncestor, type Source, tipOf } from '../git/source.ts';
import type { Fate } from '../job/fate.ts';
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

/** Characters. */
const PATCH_MAX = 20_000;

/** What is to be said of one that is not tried. */
export type Excluded = Pick<Fate, 'message'> & { kind: 'refused' | 'returned'; why: NonNullable<Fate['why']> };

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
  const tip = await tipOf(source, branch);
  if (tip !== commit || !(await hasCommit(source, commit))) {
    const where = tip === null ? 'is not there any more' : `was moved to ${tip}`;
    return refused('gone', `branch ${branch} ${where}, and nobody has tested that`);
  }
  const patch = await patchOf(source, commit);
  const file = join(folder, 'candidate.diff');
  await writeFile(file, patch, { encoding: 'latin1', mode: 0o600 });
  if (await addsSecret(file, redactor)) {
    return refused('secret', `what branch ${branch} adds holds a secret that this worker knows`);
  }
  const text = Buffer.from(patch, 'latin1').toString('utf8');
  return { one, patch: text.length <= PATCH_MAX ? text : null };
}

const refused = (why: Excluded['why'], message: string): Excluded => ({ kind: 'refused', why, message });

/** Bytes as characters. Nobody's programs have a say in it. */
async function patchOf({ gitDir }: Source, commit: string): Promise<string> {
  const args = [
    'show',
    '--format=',
    '-p',
    '--first-parent',
    '--no-ext-diff',
    '--no-textconv',
    '--no-color',
    commit,
    '--',
  ];
  return accept(await ownGit(args, { gitDir, bytes: true }), args);
}

async function hasCommit({ gitDir }: Source, commit: string): Promise<boolean> {
  return (await ownGit(['cat-file', '-e', `${commit}^{commit}`], { gitDir })).exitCode === 0;
}
