/**
 * What is to be written back of a task, from what stands on the queue and what was noted before; a pure function.
 *
 * | the job | news |
 * |---|---|
 * | waits for its first attempt | none |
 * | an attempt has begun | `claim` |
 * | an attempt ended, another follows | `attempt`, once each |
 * | an attempt ended, what follows is not known yet | `claim` alone: what the attempt came to may be the task's end, or be replaced when its worker died |
 * | ended committed | `done`, or `awaiting-landing` where items are closed when they have landed |
 * | ended no-changes | `unchanged` |
 * | ended cancelled, or is gone | `cancelled` |
 * | ended otherwise | `failed` |
 *
 * A job that is retried after its end has a second life: a claim, its attempts, another end. Attempts are numbered from
 * 1 again then, so a result is known by its place and content, and an end by when it was.
 */
import { createHash } from 'node:crypto';
import { type AttemptResult, endedWell } from '../../job/outcome.ts';
import { hasEnded, type StoredJob } from '../../job/stored-job.ts';
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
  const last = results.at(-1);
  // What ended well is the end, whichever attempt had done it.
  if (last === undefined || finishedOn !== null || endedWell(last.outcome)) return false;
  return results.length <= kept || attemptsMade >= last.attempt;
}

export function seenJob(stored: StoredJob): JobSeen {
  const results = stored.data?.results ?? (stored.result === null ? [] : [stored.result]);
  return {
    active: stored.state === 'active',
    isFollowed: isFollowed({ results, kept: stored.data?.kept }, stored),
    endedAt: hasEnded(stored) ? stored.finishedOn : null,
    results,
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
  const end = endedAt === null ? null : endOf(results.at(-1), job.fault, closeOn);
  const endKey = end === null ? '' : keyOfEnd(endedAt, results, end);
  const how = end === null ? null : end.kind === 'done' || end.kind === 'awaiting-landing' ? end.kind : 'released';
  if (notes.has(endKey)) return { due: [], end: how };
  const attempts = (isFollowed && end === null ? results : results.slice(0, -1))
    .map((result, at): Due => ({ key: `attempt:${digestOf(result, at)}`, news: attemptOf(result) }))
    .filter(({ key }) => !told.has(key.slice('attempt:'.length)));
  const begun = active || end !== null || attempts.length > 0 || (results.length > 0 && !isFollowed);
  // What waits for its landing is claimed already.
  const landing = end?.kind === 'done' && notes.has(`${endKey}:landing`);
  const due = [
    ...(begun && !landing ? [claim] : []),
    ...attempts,
    ...(end === null ? [] : [{ key: endKey, news: end }]),
  ];
  return { due: due.filter(({ key }) => !notes.has(key)), end: how };
}

/** `lives`: how many ends were noted; `told`: digests of the results that were, as attempts or in ends. */
function readNotes(keys: Iterable<string>): { lives: number; told: Set<string> } {
  const ends = new Set<string>();
  const told = new Set<string>();
  for (const key of keys) {
    const [kind, which = '', digest] = key.split(':');
    if (kind === 'end') ends.add(which);
    if (kind === 'attempt') told.add(which);
    else if (digest !== undefined) told.add(digest);
  }
  return { lives: ends.size, told };
}

function keyOfEnd(endedAt: number | null, results: readonly AttemptResult[], end: News): string {
  const last = results.at(-1);
  const key = `end:${endedAt}:${last === undefined ? 'none' : digestOf(last, results.length - 1)}`;
  return end.kind === 'awaiting-landing' ? `${key}:landing` : key;
}

/** Durations and the folder of artifacts make a result one of a kind; of one without a cell its place does. */
function digestOf(result: AttemptResult, at: number): string {
  return createHash('sha256')
    .update(`${at} ${JSON.stringify(result)}`)
    .digest('hex')
    .slice(0, 16);
}

function attemptOf(result: AttemptResult): News {
  const { attempt, outcome } = result;
  return { kind: 'attempt', attempt, outcome, message: messageOf(result) };
}

function endOf(result: AttemptResult | undefined, fault: string | null, closeOn: CloseOn): News {
  if (result === undefined) {
    return { kind: 'failed', attempt: 0, outcome: 'failed', message: fault ?? 'it ended before its first attempt' };
  }
  const { attempt, outcome, commit, branch } = result;
  if (outcome === 'cancelled') return { kind: 'cancelled', message: messageOf(result) };
  if (!endedWell(outcome)) return { kind: 'failed', attempt, outcome, message: messageOf(result) };
  if (outcome === 'no-changes' || commit === null || branch === null) return { kind: 'unchanged', attempt };
  return { kind: closeOn === 'landed' ? 'awaiting-landing' : 'done', attempt, commit, branch };
}

/** Characters of what went wrong, and of it the end, where a test log says it. */
const MESSAGE_MAX = 8_000;

function messageOf({ error, outcome }: AttemptResult): string {
  return error === null ? outcome : error.message.slice(-MESSAGE_MAX);
}
