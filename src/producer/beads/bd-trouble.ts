/** Why `bd` cannot be asked, in words that say what to do; and what is a refusal, which another call will not change. */
import { CellpoolError } from '../../errors.ts';

export interface Said {
  said: string;
  exitCode: number;
}

/** A condition of the change (`--if-assignee`) does not hold any more. */
const GUARD = 13;
/** Writes are refused while the file of this meaning exists. */
const FROZEN = 14;

const TROUBLES: readonly { when: RegExp; hint: string }[] = [
  {
    when: /no (?:active )?beads (?:database|workspace|project)|database not found|not initialized|no \.beads/i,
    hint: 'Run `bd init` in the repository, or set BEADS_DIR to the .beads folder that is meant.',
  },
  {
    when: /schema version mismatch|schema skew|forward schema|binary knows up to|migrate schema|pending migration/i,
    hint: 'The database and this bd are of different versions: install the newer bd, and see `bd doctor`.',
  },
  {
    when: /exclusive lock|another process|lock held|is locked|database is locked|resource temporarily|gate is held/i,
    hint: 'Another bd works on this database. It is tried again; if it stays so, look for a bd that hangs.',
  },
  {
    when: /serialization failure|deadlock|lock wait|restarting transaction|not applied|deadline exceeded|canceled|\bEOF\b/i,
    hint: 'Another change came in between. It is tried again.',
  },
  {
    when: /connection (?:refused|reset)|dial (?:tcp|unix)|bad connection|server (?:is )?not running|i\/o timeout|denied/i,
    hint: 'The Dolt server of this database does not answer: see `bd dolt status` and `bd dolt start`.',
  },
  {
    when: /no space left|read-only file system|permission denied|disk full/i,
    hint: 'See that the disk has room, and that this user may write to the .beads folder.',
  },
  {
    when: /journal|checksum|manifest|corrupt|panic:|SIGSEGV|invalid memory/i,
    hint: 'The database may be damaged: stop what uses it, make a copy of .beads, and run `bd doctor`.',
  },
  { when: /unknown (?:flag|command|shorthand)/i, hint: 'This bd does not know the call: install bd 1.3.0 or newer.' },
];

/** What Beads says when the tracker's own rules are against a change. Titles of beads may stand beside it. */
const REFUSALS =
  /cannot (?:close|reassign|claim|update)|already claimed|not claimable|(?:assignee|status) mismatch|by a different actor/i;

/** The error of a call that could not be answered; null when it was answered, by a refusal. */
export function troubleOf(call: string, { said, exitCode }: Said): CellpoolError | null {
  if (exitCode === GUARD || REFUSALS.test(said)) return null;
  if (exitCode === FROZEN) {
    return unavailable(call, said, 'The tracker is frozen for a migration: remove MIGRATION-FREEZE when that is done.');
  }
  const trouble = TROUBLES.find(({ when }) => when.test(said));
  return trouble === undefined ? null : unavailable(call, said, trouble.hint);
}

/** The error of any call that did not do what it should. */
export function unanswered(call: string, answer: Said): CellpoolError {
  const hint = 'Try the call by hand in the repository; `bd doctor` looks for what is wrong with a database.';
  return troubleOf(call, answer) ?? unavailable(call, answer.said || `exit code ${answer.exitCode}`, hint);
}

export function unavailable(call: string, said: string, hint: string): CellpoolError {
  return new CellpoolError('SOURCE_UNAVAILABLE', `${call}: ${said.trim()}`, { hint });
}

/** Whether a call says that there is no such issue, and not that it could not look. */
export function isGone(said: string): boolean {
  const couldNotLook = said
    .split('\n')
    .some(line => /^Error fetching/.test(line) && !/not found|no issues? found/i.test(line));
  return !couldNotLook && /\bnot found\b|no issues? found/i.test(said);
}
