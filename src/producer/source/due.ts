/**
 * What is to be written back of a task, from what stands on the queue and what was noted before; a pure function.
 *
 * | the job | news |
 * |---|---|
 * | waits for its first attempt | none |
 * | an attempt has begun | `claim` |
 * | an attempt ended, another follows | `attempt`, once each |
 * | an attempt ended, what follows is not known yet | `claim` alone: what the attempt came to may be the task's end, or be replaced when its worker died |
 * | ended committed | `done`; where items are closed when they have landed, as its landing stands: `awaiting-landing`, `done` or `not-landed` |
 * | its work came back from its landing | `claim` and `attempt`: it stays claimed, and is worked anew |
 * | ended no-changes | `unchanged`; after its work came back, where items are closed when they have landed, `not-landed` |
 * | ended cancelled, or is gone | `cancelled` |
 * | ended otherwise | `failed` |
 *
 * A job that is retried after its end, or whose work came back, has a second life: a claim, its attempts, another end.
 * Attempts are numbered from 1 again then, so a result is known by its place and content, and an end by when it was.
 */
import { createHash } from 'node:crypto';
import { lastOfRound, type Returned } from '../../job/job.ts';
import type { LandingJob } from '../../job/landing.ts';
import { branchOf } from '../../job/names.ts';
import { type AttemptResult, endedWell } from '../../job/outcome.ts';
import { hasEnded, type StoredJob } from '../../job/stored-job.ts';
import type { StoredLanding } from '../../job/stored-landing.ts';
import type { LedgerEntry } from '../../redis/source-ledger.ts';
import type { News } from './task-source.ts';

/** When an item is closed: as soon as its work is committed, or when that has landed on its target branch. */
export const CLOSE_ON = ['commit', 'landed'] as const;
export type CloseOn = (typeof CLOSE_ON)[number];

/** A task's job as far as its source is concerned. */
export interface JobSeen {
  /** Whether a worker has it just now. */
  active: boolean;
  /** Whether another attempt follows the last result: see `isFollowed`. */
  isFollowed: boolean;
  /** Epoch ms; null while it has not ended. */
  endedAt: number | null;
  /** Of attempts that have ended, oldest first. */
  results: readonly AttemptResult[];
  /** So many of the results, the oldest, are of rounds before the present one. */
  kept: number;
  /** Why the work of the round before came back; null when it did not. */
  returned: Pick<Returned, 'commit' | 'target' | 'message'> | null;
  /** Of a job that has ended committed; null when its branch is not to land, or its landing is forgotten. */
  landing: Pick<LandingJob, 'target' | 'fate'> | null;
  /** Why it ended, when no attempt tells. */
  fault: string | null;
}

/**
 * Whether another attempt is sure to follow the last result of a job that has not ended. Its worker writes the result
 * first and says only then what becomes of the job, by which BullMQ counts an attempt more; a retry begins to count anew.
 */
export function isFollowed(
  { results, kept = 0 }: { results: readonly AttemptResult[]; kept?: number | undefined },
  { attemptsMade, finishedOn }: { attemptsMade: number; finishedOn: number | null },
): boolean {
  if (results.length === 0 || finishedOn !== null) return false;
  const last = lastOfRound({ results, kept });
  // What ended well is the end of its round, whichever attempt had done it.
  return last === undefined || (!endedWell(last.outcome) && attemptsMade >= last.attempt);
}

export function seenJob(stored: StoredJob, landing: StoredLanding | null): JobSeen {
  const results = stored.data?.results ?? (stored.result === null ? [] : [stored.result]);
  return {
    active: stored.state === 'active',
    isFollowed: isFollowed({ results, kept: stored.data?.kept }, stored),
    endedAt: hasEnded(stored) ? stored.finishedOn : null,
    results,
    kept: stored.data?.kept ?? 0,
    returned: stored.data?.returned ?? null,
    landing: landing?.data ?? null,
    fault: stored.fault,
  };
}

export interface Due {
  /** The same for the same news, whoever finds them. */
  key: string;
  news: News;
}

export interface Dues {
  /** In their order; those that were noted before are left out. */
  due: Due[];
  /** How the task ended, when all of it is noted; null while more may come by itself. */
  end: 'done' | 'awaiting-landing' | 'released' | null;
}

const REMOVED = 'the task was taken off the queue';

/** `job` null: it is not on the queue any more. */
export function duesOf({ notes }: Pick<LedgerEntry, 'notes'>, job: JobSeen | null, closeOn: CloseOn): Dues {
  const { lives, told } = readNotes(notes.keys());
  const claim: Due = { key: `claim:${lives}`, news: { kind: 'claim' } };
  if (job === null) {
    // An ended job is forgotten after a while; that is no news.
    if (lives > 0 && !notes.has(claim.key)) return { due: [], end: 'released' };
    // Claimed first: what is not ours would not be released, and be found ready again.
    const gone: Due = { key: `end:gone-${lives}`, news: { kind: 'cancelled', message: REMOVED } };
    return { due: [claim, gone].filter(({ key }) => !notes.has(key)), end: 'released' };
  }
  const { active, isFollowed, endedAt, results } = job;
  // It was closed when its work was committed, and stays so.
  if (isClosed(notes.keys(), job)) return { due: [], end: 'done' };
  const last = lastOfRound(job);
  const end = endedAt === null ? null : endOf(last, job, closeOn);
  const ending = `end:${endedAt}:${last === undefined ? 'none' : digestOf(last, results.length - 1)}`;
  const endKey = end === null ? '' : `${ending}${END_MARKS[end.kind] ?? ''}`;
  const how = end === null ? null : end.kind === 'done' || end.kind === 'awaiting-landing' ? end.kind : 'released';
  if (notes.has(endKey)) return { due: [], end: how };
  const [isDone, isRefused] = [notes.has(ending), notes.has(`${ending}${END_MARKS['not-landed']}`)];
  // Its landing is forgotten after a while; that is no news.
  if (end?.kind === 'awaiting-landing' && (isDone || isRefused)) return { due: [], end: isDone ? 'done' : 'released' };
  const isLastTold = end === null ? isFollowed : last === undefined;
  const attempts = (isLastTold ? results : results.slice(0, -1))
    .map((result, at) => attemptDue(result, at, job))
    .filter(({ key }) => !told.has(key.slice('attempt:'.length)));
  const begun = active || end !== null || attempts.length > 0 || (results.length > 0 && !isFollowed);
  // What waits for its landing is claimed already.
  const isWaiting = end !== null && notes.has(`${ending}${END_MARKS['awaiting-landing']}`) && !isRefused;
  const due = [
    ...(begun && !isWaiting ? [claim] : []),
    ...attempts,
    ...(end === null ? [] : [{ key: endKey, news: end }]),
  ];
  return { due: due.filter(({ key }) => !notes.has(key)), end: how };
}

/** By which the notes of one end are told from one another: a branch waits first, and has its fate then. */
const END_MARKS: Partial<Record<News['kind'], string>> = { 'awaiting-landing': ':landing', 'not-landed': ':refused' };

/** Whether the item was closed for work that came back since. */
function isClosed(keys: Iterable<string>, { results, kept, returned }: JobSeen): boolean {
  if (returned === null) return false;
  const came = new Set(
    results.flatMap((result, at) => (at < kept && result.outcome === 'committed' ? digestOf(result, at) : [])),
  );
  return [...keys].some(key => {
    const [kind, , digest = '', mark] = key.split(':');
    return kind === 'end' && mark === undefined && came.has(digest);
  });
}

/** `lives`: how many ends were noted; `told`: digests of the results that were, as attempts or in ends. */
function readNotes(keys: Iterable<string>): { lives: number; told: Set<string> } {
  const ends = new Set<string>();
  const told = new Set<string>();
  for (const key of keys) {
    const [kind, which = '', digest] = key.split(':');
    if (kind === 'end') ends.add(which);
    if (kind === 'attempt') told.add(key.slice('attempt:'.length)).add(which);
    else if (digest !== undefined) told.add(digest);
  }
  return { lives: ends.size, told };
}

/** Durations and the folder of artifacts make a result one of a kind; of one without a cell its place does. */
function digestOf(result: AttemptResult, at: number): string {
  return createHash('sha256')
    .update(`${at} ${JSON.stringify(result)}`)
    .digest('hex')
    .slice(0, 16);
}

/** Why work came back is told also when the item was told before that it waits for its landing. */
function attemptDue(result: AttemptResult, at: number, { kept, returned }: JobSeen): Due {
  const { attempt, outcome } = result;
  const key = `attempt:${digestOf(result, at)}`;
  if (outcome !== 'committed') return { key, news: { kind: 'attempt', attempt, outcome, message: messageOf(result) } };
  if (at !== kept - 1 || returned === null) {
    return { key, news: { kind: 'attempt', attempt, outcome, message: 'it could not land' } };
  }
  const message = `it could not land on ${returned.target}: ${returned.message.slice(-MESSAGE_MAX)}`;
  return { key: `${key}:returned`, news: { kind: 'attempt', attempt, outcome, message } };
}

function endOf(result: AttemptResult | undefined, job: JobSeen, closeOn: CloseOn): News {
  const { fault, landing, returned } = job;
  if (result === undefined) {
    return { kind: 'failed', attempt: 0, outcome: 'failed', message: fault ?? 'it ended before its first attempt' };
  }
  const { taskId, attempt, outcome, commit, branch } = result;
  if (outcome === 'cancelled') return { kind: 'cancelled', message: messageOf(result) };
  if (!endedWell(outcome)) return { kind: 'failed', attempt, outcome, message: messageOf(result) };
  if (outcome === 'no-changes' && returned !== null && closeOn === 'landed') {
    const message = `its work did not land on ${returned.target}, and worked anew it changed nothing: ${returned.message}`;
    const told = message.slice(0, MESSAGE_MAX);
    return { kind: 'not-landed', attempt, commit: returned.commit, branch: branchOf(taskId), message: told };
  }
  if (outcome === 'no-changes' || commit === null || branch === null) return { kind: 'unchanged', attempt };
  const committed = { attempt, commit, branch };
  if (closeOn === 'commit') return { kind: 'done', ...committed };
  const fate = landing?.fate;
  if (fate?.kind === 'landed') {
    return { kind: 'done', attempt, commit: fate.commit ?? commit, branch: landing?.target ?? branch };
  }
  if (fate?.kind === 'refused') {
    const message = `it did not land on ${landing?.target}: ${fate.message.slice(-MESSAGE_MAX)}`;
    return { kind: 'not-landed', ...committed, message };
  }
  // What came back is on the queue anew in a moment.
  return { kind: 'awaiting-landing', ...committed };
}

/** Characters of what went wrong, and of it the end, where a test log says it. */
const MESSAGE_MAX = 8_000;

function messageOf({ error, outcome }: AttemptResult): string {
  return error === null ? outcome : error.message.slice(-MESSAGE_MAX);
}
