/** Whether a finished branch may be tried at all: it is still what its task wants to land, and no secret is in it. */
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { addsSecret } from '../cell/work-secrets.ts';
import { ownGitOk } from '../git/git.ts';
import { hasCommit, isAncestor, type Source, tipOf } from '../git/source.ts';
import type { Fate } from '../job/fate.ts';
import { hasEnded, readJobs, standingCommit } from '../job/stored-job.ts';
import { landingOfResult } from '../job/stored-landing.ts';
import { type FateContext, superseded } from './landing-fates.ts';
import type { WaitingCandidate } from './landing-groups.ts';
import type { Left } from './own-candidates.ts';
import { lookAtTask } from './return-task.ts';

export interface CandidatePlaces {
  source: Source;
  destination: Source;
  /** Of the round, for what is written on the way. */
  folder: string;
  /** This machine's name. */
  host: string;
}

export interface Examined {
  one: WaitingCandidate;
  /** The work, for an agent that is to do it again; null when it is too long to be read. */
  patch: string | null;
}

type Why = NonNullable<Fate['why']>;

/** One that is not tried: for good, or here and now. */
export type Excluded = (Pick<Fate, 'message'> & { kind: 'refused' | 'returned'; why: Why }) | { left: Left };

/** Bytes. */
const PATCH_MAX = 20_000;

type ExamineContext = Pick<FateContext, 'redis' | 'queue' | 'tasks' | 'redactor'>;

/** @throws the error of Redis; {CellpoolError} GIT_FAILED */
export async function examine(
  context: ExamineContext,
  places: CandidatePlaces,
  one: WaitingCandidate,
): Promise<Examined | Excluded> {
  const { source, destination, folder, host } = places;
  const { taskId, commit, branch, target } = one.data;
  // A lander may have died after it had moved the target: whatever was done since, it has landed.
  const at = await tipOf(destination, target);
  if (at !== null && (await hasCommit(destination, commit)) && (await isAncestor(destination, commit, at))) {
    return { one, patch: null };
  }
  const { how, stored } = await lookAtTask(context.redis, context.tasks, one.data);
  const back = stored?.data?.returned;
  // Its lander died before it could say so.
  if (how === 'returned' && back !== undefined) return { kind: 'returned', why: back.why, message: back.message };
  if (how === 'superseded') return refused('superseded', superseded(taskId));
  // Its worker says so any moment, and when it has died another one does: until then it could not be sent back.
  if (stored?.data != null && !hasEnded(stored)) return { left: 'open' };
  const tip = await tipOf(source, branch);
  if (tip !== commit || !(await hasCommit(source, commit))) {
    // Another host's repository of the same path is another one.
    if (one.data.host !== undefined && one.data.host !== host) return { left: 'elsewhere' };
    const where = tip === null ? 'is not there any more' : `was moved to ${tip}`;
    return refused('gone', `branch ${branch} ${where}, and nobody has tested that`);
  }
  const cancelled = await cancelledWithin(context, source, one);
  if (cancelled !== null) return refused('cancelled', `it builds on the work of ${cancelled}, which is not to land`);
  // All that would come with it, also what later commits have taken away again: histories are read.
  const history = join(folder, 'history.diff');
  await saveLog(source, commit, at !== null && (await hasCommit(source, at)) ? at : null, history);
  if (await addsSecret(history, context.redactor)) {
    return refused('secret', `what branch ${branch} adds holds a secret that this worker knows`);
  }
  return { one, patch: await patchOf(source, commit, join(folder, 'candidate.diff')) };
}

const refused = (why: Why, message: string): Excluded => ({ kind: 'refused', why, message });

/** The task it depends on whose landing a person has cancelled, when its work is in this one; null: there is none. */
async function cancelledWithin(
  { redis, queue, tasks }: ExamineContext,
  source: Source,
  { data }: WaitingCandidate,
): Promise<string | null> {
  for (const stored of await readJobs(tasks, data.dependsOn ?? [])) {
    if (stored?.result == null) continue;
    const { taskId } = stored.result;
    const commit = standingCommit(stored.result, stored.data?.returned);
    const landing = await landingOfResult(redis, queue, { taskId, commit });
    if (commit === null || landing?.data?.fate?.why !== 'cancelled' || !(await hasCommit(source, commit))) continue;
    if (await isAncestor(source, commit, data.commit)) return taskId;
  }
  return null;
}

/** Nobody's programs have a say in it. To a file, since it may be of any size. */
const SHAPE = ['-p', '--no-renames', '--no-color', '--no-ext-diff', '--no-textconv', '--diff-merges=first-parent'];

/** What each commit adds that `tip` does not have; `tip` null: that of the last one alone. */
async function saveLog({ gitDir }: Source, commit: string, tip: string | null, file: string): Promise<void> {
  const range = tip === null ? ['--max-count=1', commit] : [commit, `^${tip}`];
  await ownGitOk(['log', '--format=', ...SHAPE, `--output=${file}`, ...range, '--'], { gitDir });
}

async function patchOf({ gitDir }: Source, commit: string, file: string): Promise<string | null> {
  await ownGitOk(['diff-tree', '-r', '--root', '--no-commit-id', ...SHAPE, `--output=${file}`, commit, '--'], {
    gitDir,
  });
  const { size } = await stat(file);
  return size <= PATCH_MAX ? await readFile(file, 'utf8') : null;
}
