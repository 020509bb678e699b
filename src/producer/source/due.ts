/**
 * What is to be written back of a task, from what stands on the queue and what was noted before; a pure function.
 *
 * | the job | news |
 * |---|---|
 * | waits for its first attempt | none |
 * | an attempt has begun | `claim` |
 * | an attempt ended, another follows | `attempt`, once each |
 * | ended committed | `done`, or `awaiting-landing` where items are closed when they have landed |
 * | ended no-changes | `unchanged` |
 * | ended cancelled, or is gone | `cancelled` |
 * | ended otherwise | `failed` |
 *
 * A job that is retried after its end has news again: a claim, its further attempts, another end.
 */
import { type AttemptResult, endedWell } from '../../job/outcome.ts';
import type { LedgerEntry } from '../../redis/source-ledger.ts';
import type { News } from './task-source.ts';

/** When an item is closed: as soon as its work is committed, or when that has landed on its target branch. */
export const CLOSE_ON = ['commit', 'landed'] as const;
export type CloseOn = (typeof CLOSE_ON)[number];

/** A task's job as far as its source is concerned. */
export interface JobSeen {
  /** Whether an attempt was ever begun. */
  begun: boolean;
  ended: boolean;
  /** Of all attempts that have ended, oldest first. */
  results: readonly AttemptResult[];
  /** Why it ended, when no attempt tells. */
  fault: string | null;
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
  const ends = [...notes.keys()].filter(key => key.startsWith('end:'));
  if (job === null) {
    // An ended job is forgotten after a while; that is no news.
    if (ends.length > 0) return { due: [], end: 'released' };
    // Claimed first: what is not ours would not be released, and be found ready again.
    const due: Due[] = [
      { key: 'claim:0', news: { kind: 'claim' } },
      { key: 'end:gone', news: { kind: 'cancelled', message: REMOVED } },
    ];
    return { due: due.filter(({ key }) => !notes.has(key)), end: 'released' };
  }
  const { begun, ended, results } = job;
  const endKey = `end:${results.length}`;
  const last = results.at(-1);
  const end = ended ? endOf(last, job.fault, closeOn) : null;
  const kind = end === null ? null : end.kind === 'done' || end.kind === 'awaiting-landing' ? end.kind : 'released';
  if (end !== null && notes.has(endKey)) return { due: [], end: kind };
  const told = Math.max(0, ...ends.map(key => Number(key.slice('end:'.length)) || 0));
  const due: Due[] = begun ? [{ key: `claim:${ends.length}`, news: { kind: 'claim' } }] : [];
  results.slice(0, ended ? -1 : undefined).forEach((result, at) => {
    if (at >= told) due.push({ key: `attempt:${at + 1}`, news: attemptOf(result) });
  });
  if (end !== null) due.push({ key: endKey, news: end });
  return { due: due.filter(({ key }) => !notes.has(key)), end: kind };
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
