/**
 * Why `bd` cannot be asked, in words that say what to do; and what is a refusal, which another call will not change.
 * A refusal is only what is known to be one: for all else the call is made again, for what is taken for a refusal is
 * never told to the bead.
 */
import { CellpoolError } from '../../errors.ts';

export interface Said {
  said: string;
  exitCode: number;
}

/** A condition of the change (`--if-assignee`) does not hold any more. */
const GUARD = 13;
/** Writes are refused while the file of this meaning exists. */
const FROZEN = 14;

const SERVER = 'The Dolt server of this database does not answer: see `bd dolt status` and `bd dolt start`.';

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
    when: /serialization failure|deadlock|lock wait|restarting transaction|not applied|deadline exceeded|canceled|\bEOF\b|result indeterminate/i,
    hint: 'Another change came in between. It is tried again.',
  },
  {
    when: /connection (?:refused|reset)|dial (?:tcp|unix)|(?:bad|invalid) connection|server (?:is )?not running|i\/o timeout/i,
    hint: SERVER,
  },
  {
    // What Dolt says under load, or while its server starts: bd itself takes these for passing ones.
    when: /database is read.?only|lost connection|gone away|broken pipe|unknown database|no root value found/i,
    hint: SERVER,
  },
  {
    when: /no space left|read-only file system|permission denied|disk full/i,
    hint: 'See that the disk has room, and that this user may write to the .beads folder.',
  },
  {
    when: /denied/i,
    hint: SERVER,
  },
  {
    when: /journal|checksum|manifest|corrupt|panic:|SIGSEGV|invalid memory/i,
    hint: 'The database may be damaged: stop what uses it, make a copy of .beads, and run `bd doctor`.',
  },
  { when: /unknown (?:flag|command|shorthand)/i, hint: 'This bd does not know the call: install bd 1.3.0 or newer.' },
];

/** The lines with which Beads says that the tracker's own rules are against a change, as bd 1.0 to 1.3 print them. */
const REFUSALS = [
  /^cannot (?:close|reassign) \S+: /m,
  /^cannot close blocked issue: /m,
  /^cannot modify (?:template|(?:pinned|hooked) issue) /m,
  /^(?:Error (?:updating|claiming) \S+: |updating issue: )?(?:issue )?(?:already claimed(?: by |:)|not claimable: )/m,
];

/** Why a call cannot be answered, where that is known to be no matter of the issue; null otherwise. */
export function troubleOf(call: string, { said, exitCode }: Said): CellpoolError | null {
  if (exitCode === FROZEN) {
    return unavailable(call, said, 'The tracker is frozen for a migration: remove MIGRATION-FREEZE when that is done.');
  }
  const words = withoutNames(said);
  const trouble = TROUBLES.find(({ when }) => when.test(words));
  return trouble === undefined ? null : unavailable(call, said, trouble.hint);
}

/** Whether the change will never be made, for the tracker's rules or because the issue is gone. */
export function isRefusal(call: string, answer: Said): boolean {
  if (answer.exitCode === GUARD) return true;
  if (troubleOf(call, answer) !== null) return false;
  return REFUSALS.some(form => form.test(answer.said)) || isGone(answer.said);
}

/**
 * Names are anybody's: a bead `app-denied`, or a person called `journal`. They stand in quotes or brackets, after a few
 * words, and where an id does.
 */
function withoutNames(said: string): string {
  return said
    .replace(/"(?:[^"\\\n]|\\.)*"|'[^'\s]*'|`[^`\n]*`|\[[^\]\n]*\]/g, ' ')
    .replace(
      /\b(cannot (?:close|reassign)|template|issue|(?:updat|clos|resolv|fetch|claim)ing(?: ID)?) [^\s:]+/gi,
      '$1',
    )
    .replace(/\b(claimed by|held by|bd mail) \S+/gi, '$1');
}

/** The error of any call that did not do what it should. */
export function unanswered(call: string, answer: Said): CellpoolError {
  const hint = 'Try the call by hand in the repository; `bd doctor` looks for what is wrong with a database.';
  return troubleOf(call, answer) ?? unavailable(call, answer.said || `exit code ${answer.exitCode}`, hint);
}

export function unavailable(call: string, said: string, hint: string): CellpoolError {
  return new CellpoolError('SOURCE_UNAVAILABLE', `${call}: ${said.trim()}`, { hint });
}

/** Whether a call says that there is no such issue, and not that it could not look, or that a program is missing. */
export function isGone(said: string): boolean {
  const couldNotLook = said
    .split('\n')
    .some(line => /^Error fetching/.test(line) && !/not found|no issues? found/i.test(line));
  return !couldNotLook && /\bno issues? found\b|\bissue (?:\S+ )?not found\b|\bnot found: issue\b/i.test(said);
}
