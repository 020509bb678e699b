/**
 * What a note changes in an item's file; a pure function. Every note looks first at how the item stands: it may have
 * been written before, and the item may have become somebody else's. All that a note changes is written at once.
 *
 * | note                          | `status`                              | `assignee` | others                   |
 * |-------------------------------|---------------------------------------|------------|--------------------------|
 * | claim                         | working                               | ours       | none of an earlier claim |
 * | attempt                       | stays                                 | stays      | attempt, outcome         |
 * | done, awaiting-landing        | done, committed                       | ours       | and commit, branch       |
 * | failed, unchanged, cancelled  | the same; a person's own word stays   | nobody     | and reason               |
 * | not-landed                    | the same                              | nobody     | and reason, commit, branch |
 *
 * All but a claim add a line to the section at the end of the file, by which they are known again.
 */
import { actorOf, isActorOf } from '../actor.ts';
import { printable } from '../source/printable.ts';
import type { Note, Written } from '../source/task-source.ts';
import type { Value } from './front-edit.ts';
import type { Item } from './item.ts';
import { hasMark, markOf } from './log-section.ts';
import { type OwnKey, STATUS } from './names.ts';

export interface Change {
  how: 'change';
  /** Null takes a key away. */
  keys: Partial<Record<OwnKey, Value | null>>;
  /** What is said in the section, and the mark of it. */
  line: { what: string; mark: string } | null;
}

const KNOWN: Written = { how: 'known' };
const RELEASED: readonly string[] = [STATUS.failed, STATUS.unchanged, STATUS.cancelled, STATUS['not-landed']];

export function changeOf(item: Item, pool: string, note: Note): Written | Change {
  const actor = actorOf(pool, note.taskId);
  const mark = markOf(pool, note);
  if (note.kind !== 'claim' && hasMark(item.parts.body, mark)) return KNOWN;
  switch (note.kind) {
    case 'claim':
      return claim(item, pool, actor);
    case 'attempt': {
      if (!isOurs(item, actor) || item.status !== STATUS.working) return lost(item);
      const { attempt, outcome, message } = note;
      return change({ attempt, outcome }, `attempt ${attempt} ended ${outcome}${quoted(message)}`, mark);
    }
    case 'done':
    case 'awaiting-landing':
      return committed(item, actor, note, mark);
    default:
      return release(item, actor, note, mark);
  }
}

function claim(item: Item, pool: string, actor: string): Written | Change {
  const ours = isOurs(item, actor);
  if (ours && item.status === STATUS.working) return KNOWN;
  // What was given up is worked again when its task is retried.
  const free: readonly string[] = [STATUS.open, ...RELEASED, ...(ours ? [STATUS.committed] : [])];
  // Whoever opens a file again may leave the name of the task that was done in it.
  const isLeft = item.status === STATUS.open && isActorOf(pool, item.assignee);
  if ((!ours && !isLeft && item.assignee !== '') || !free.includes(item.status)) return lost(item);
  const none = { attempt: null, outcome: null, reason: null, commit: null, branch: null };
  return { how: 'change', keys: { status: STATUS.working, assignee: actor, ...none }, line: null };
}

/** An item that nobody has any more is taken back: the work is there, and would be done twice otherwise. */
function committed(
  item: Item,
  actor: string,
  note: Note & { kind: 'done' | 'awaiting-landing' },
  mark: string,
): Written | Change {
  const { attempt, commit, branch } = note;
  const isFree = item.assignee === '' && item.status === STATUS.open;
  const isOurWork = isOurs(item, actor) && [STATUS.working, STATUS.committed].some(one => one === item.status);
  if (!isFree && !isOurWork) return lost(item);
  const status = note.kind === 'done' ? STATUS.done : STATUS.committed;
  const waits = note.kind === 'done' ? '' : ', which has not landed yet';
  const keys = { status, assignee: actor, attempt, outcome: 'committed', reason: null, commit, branch };
  return change(keys, `attempt ${attempt} is commit ${code(commit)} on branch ${code(branch)}${waits}`, mark);
}

function release(
  item: Item,
  actor: string,
  note: Note & { kind: 'failed' | 'unchanged' | 'cancelled' | 'not-landed' },
  mark: string,
): Written | Change {
  const between: readonly string[] = [STATUS.open, STATUS.working, STATUS.committed];
  const isFree = item.assignee === '' && between.includes(item.status);
  if (item.status === STATUS.done || (!isOurs(item, actor) && !isFree)) return lost(item);
  const status = between.includes(item.status) || RELEASED.includes(item.status) ? { status: STATUS[note.kind] } : {};
  const none = { assignee: null, commit: null, branch: null };
  if (note.kind === 'unchanged') {
    const { attempt } = note;
    const reason = 'the agent changed nothing';
    return change(
      { ...status, ...none, attempt, outcome: 'no-changes', reason },
      `attempt ${attempt}: ${reason}`,
      mark,
    );
  }
  const reason = shortened(note.message) || note.kind;
  if (note.kind === 'cancelled') {
    return change({ ...status, ...none, outcome: 'cancelled', reason }, `cancelled${quoted(note.message)}`, mark);
  }
  if (note.kind === 'not-landed') {
    const { attempt, commit, branch } = note;
    const keys = { ...status, assignee: null, attempt, outcome: 'committed', reason, commit, branch };
    const what = `commit ${code(commit)} stays on branch ${code(branch)}${quoted(note.message)}`;
    return change(keys, what, mark);
  }
  const { attempt, outcome } = note;
  const what = `attempt ${attempt} ended ${outcome}, given up${quoted(note.message)}`;
  return change({ ...status, ...none, attempt, outcome, reason }, what, mark);
}

function change(keys: Change['keys'], what: string, mark: string): Change {
  return { how: 'change', keys, line: { what, mark } };
}

function isOurs(item: Item, actor: string): boolean {
  return item.assignee === actor;
}

function lost({ file, status, assignee }: Item): Written {
  const whose = assignee === '' ? 'nobody has it' : `it is assigned to ${assignee}`;
  return { how: 'lost', reason: `${file} is ${status}, and ${whose}` };
}

/** Characters of what went wrong: the beginning, and the end, where tests say what failed. */
const SHORT = { begin: 300, end: 700 };

/** On one line, and nothing a terminal or an editor would act on. */
function shortened(message: string): string {
  const line = printable(message)
    .replace(/[\p{Cf}\s]+/gu, ' ')
    .trim();
  if (line.length <= SHORT.begin + SHORT.end) return line;
  return printable(`${line.slice(0, SHORT.begin)} … ${line.slice(-SHORT.end)}`);
}

function quoted(message: string): string {
  const short = shortened(message);
  return short === '' ? '' : `: ${code(short)}`;
}

/** As code in Markdown, so that nothing in a log is a link, an image or a comment. */
const code = (text: string) => `\`${text.replaceAll('`', "'").replaceAll('-->', '--›')}\``;
