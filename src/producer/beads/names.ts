/** The names that cellpool uses in a tracker: one place for all of them. */
import { createHash } from 'node:crypto';

/** Labels by which people see what became of a bead. Those of `LEFT_OUT` keep it from being worked again. */
export const LABELS = {
  failed: 'cellpool-failed',
  cancelled: 'cellpool-cancelled',
  unchanged: 'cellpool-no-changes',
  notClosed: 'cellpool-not-closed',
  awaitingLanding: 'cellpool-awaiting-landing',
  notLanded: 'cellpool-not-landed',
} as const;

export const OUR_LABELS: readonly string[] = Object.values(LABELS);

/** A person has to look first, and takes the label away when it is to be tried again. */
export const LEFT_OUT: readonly string[] = [
  ...[LABELS.failed, LABELS.cancelled, LABELS.unchanged],
  ...[LABELS.notClosed, LABELS.notLanded],
];

/** Labels with which a bead may ask for something: `cellpool:model=...`. */
export const WISH_PREFIX = 'cellpool:';

const BEAD_ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$/;

/** Whether it may be an argument of `bd`. Names come from bd and from Redis: neither is trusted to be one. */
export function isBeadId(id: string): boolean {
  return BEAD_ID.test(id);
}

/** All that we write begins with it. */
const OURS = /^\s*\[cellpool[\s\]]/;

export function isOurs(comment: string): boolean {
  return OURS.test(comment);
}

/** Begins what we write of a note, and tells whether it was written before: of this task, not of an earlier one or of another pool. */
export function markOf(pool: string, note: MarkedNote): string {
  const attempt = note.attempt === undefined ? '' : ` attempt=${note.attempt}`;
  const key = /^[\w.:-]{1,120}$/.test(note.key) ? note.key : createHash('sha256').update(note.key).digest('hex');
  return `[cellpool pool=${pool} job=${note.taskId}${attempt} note=${key}]`;
}

export function hasMark(comment: string, pool: string, note: MarkedNote): boolean {
  return comment.trimStart().startsWith(markOf(pool, note));
}

interface MarkedNote {
  taskId: string;
  key: string;
  attempt?: number;
}
