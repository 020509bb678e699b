/** What is written into a tracker: comments and close reasons, bounded, with the mark they are found by. */
import { createHash } from 'node:crypto';
import { printable } from '../source/printable.ts';
import type { Note } from '../source/task-source.ts';
import { LABELS, markOf } from './names.ts';

/** Characters of a message that a comment holds; of a longer one the end, where tests say what failed. */
const MESSAGE_MOST = 6_000;

/** Beads takes a reason that holds one of these for a failure, and lets begin what was to wait for one. */
const FAILURE_WORDS = /failed|rejected|won'?t ?fix|cancell?ed|abandoned|blocked|error|timeout|aborted/i;

/** Notes by which a bead is released. */
export type Released = 'failed' | 'unchanged' | 'cancelled' | 'not-landed';

export function attemptComment(pool: string, note: Note & { kind: 'attempt' }): string {
  return comment(pool, note, `Attempt ${note.attempt} ended ${note.outcome}; another one follows.`, note.message);
}

export function endComment(pool: string, note: Note & { kind: Released }): string {
  if (note.kind === 'failed') {
    const told = `Given up after attempt ${note.attempt}, which ended ${note.outcome}.`;
    return comment(pool, note, `${told} ${again(LABELS.failed)}`, note.message);
  }
  if (note.kind === 'not-landed') {
    const told = `The work is done, and stays on its branch: ${where(note)}.`;
    return comment(pool, note, `${told} ${again(LABELS.notLanded)}`, note.message);
  }
  if (note.kind === 'unchanged') {
    const told = `The agent ended attempt ${note.attempt} without changing anything: nothing to do, or not done?`;
    return comment(pool, note, `${told} ${again(LABELS.unchanged)}`, '');
  }
  return comment(pool, note, `Cancelled. ${again(LABELS.cancelled)}`, note.message);
}

export function notClosedComment(pool: string, note: Note & { kind: 'done' }, refusal: string): string {
  return comment(pool, note, `The work is done: ${where(note)}. Beads does not let the bead be closed:`, refusal);
}

/** Holds the commit, by which it is known again, and none of the words that Beads reads as a failure. */
export function closeReason(note: Note & { kind: 'done' }): string {
  const full = `Done by cellpool: ${where(note)}.`;
  if (!FAILURE_WORDS.test(full)) return full;
  // Ids are made from names of people's choice: `fix-timeout` is one.
  return `Done by cellpool: commit ${note.commit}.`;
}

const again = (label: string) => `Take the label ${label} away to have it tried again.`;

const where = ({ commit, branch }: { commit: string; branch: string }) => `commit ${commit} on branch ${branch}`;

function comment(pool: string, note: Note, told: string, message: string): string {
  const bounded = endOf(printable(message).trim());
  return [`${markOf(pool, note)} ${told}`, ...(bounded === '' ? [] : [indented(bounded)])].join('\n\n');
}

function endOf(text: string): string {
  if (text.length <= MESSAGE_MOST) return text;
  const cut = text.length - MESSAGE_MOST;
  return `[${cut} characters left out]\n${text.slice(cut).replace(/^[\uDC00-\uDFFF]/, '')}`;
}

/** As code in Markdown, which is what comments are shown as: nothing in a log is a heading or a link. */
const indented = (text: string) => text.replace(/^/gm, '    ');

export function digestOf(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
