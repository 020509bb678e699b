/** A bead as a task: what it asks for, how urgent it is, and which of its wishes the operator allows. */
import { type Fault, InvalidInput } from '../../errors.ts';
import { parseTask, type TaskInput } from '../../job/task.ts';
import { printable } from '../source/printable.ts';
import type { FoundTask } from '../source/task-source.ts';
import { promptOf } from './bead-prompt.ts';
import { WISH_PREFIX } from './names.ts';
import type { BeadComment, Issue } from './shapes.ts';

/** What a label may ask for, when the operator allows it: `cellpool:budget=20000`. */
export const WISHES = ['model', 'budget', 'test'] as const;
export type Wish = (typeof WISHES)[number];

const TITLE_MOST = 200;
/** 0 is none to BullMQ, and goes first: it must never come from a bead. Unknown ones go last. */
const PRIORITY_LAST = 5;

/** @throws {InvalidInput} with every fault of the bead */
export function taskOf(issue: Issue, comments: readonly BeadComment[], allowed: ReadonlySet<string>): FoundTask {
  const { wishes, remarks, faults } = wishesOf(issue, allowed);
  const title = printable(issue.title).replace(/\s+/g, ' ').trim();
  const task: Omit<TaskInput, 'id'> = {
    prompt: promptOf(issue, comments),
    title: title === '' ? issue.id : shortened(title),
    priority: priorityOf(issue.priority),
    metadata: { source: 'beads', item: issue.id },
    ...wishes,
  };
  // The bridge gives the id; one that is right stands in for it.
  const parsed = parseTask({ ...task, id: 'bead' }, path => placeOf(issue, path));
  const all = [...faults, ...parsed.faults];
  if (all.length > 0) throw new InvalidInput(all);
  return { task, remarks };
}

function shortened(title: string): string {
  return title.length <= TITLE_MOST ? title : `${title.slice(0, TITLE_MOST - 1).replace(/[\uD800-\uDBFF]$/, '')}…`;
}

function priorityOf(priority: number | null): number {
  return priority === null || priority < 0 || priority >= PRIORITY_LAST ? PRIORITY_LAST : priority + 1;
}

type Wishes = Partial<Pick<TaskInput, 'model' | 'tokenBudget' | 'test'>>;

function wishesOf(issue: Issue, allowed: ReadonlySet<string>) {
  const wishes: Wishes = {};
  const remarks: string[] = [];
  const faults: Fault[] = [];
  const seen = new Set<string>();
  for (const label of issue.labels.filter(one => one.startsWith(WISH_PREFIX))) {
    const [name = '', value] = splitOnce(label.slice(WISH_PREFIX.length));
    const where = `${issue.id}, label ${JSON.stringify(printable(label))}`;
    if (!isWish(name)) remarks.push(`${where}: there is no such wish; there are ${WISHES.join(', ')}`);
    else if (!allowed.has(name)) remarks.push(`${where}: not honoured, for --allow-labels does not name ${name}`);
    else if (value === undefined || value.trim() === '')
      faults.push({ where, what: `is written ${WISH_PREFIX}${name}=...` });
    else if (seen.has(name)) faults.push({ where, what: `another label asks for a ${name} as well` });
    else {
      seen.add(name);
      Object.assign(wishes, asked(name, value.trim(), where, faults));
    }
  }
  return { wishes, remarks, faults };
}

function asked(name: Wish, value: string, where: string, faults: Fault[]): Wishes {
  if (name === 'model') return { model: value };
  if (name === 'test') return { test: value };
  if (/^[1-9]\d{0,14}$/.test(value)) return { tokenBudget: Number(value) };
  faults.push({ where, what: 'a budget is a whole number of tokens' });
  return {};
}

function splitOnce(text: string): string[] {
  const at = text.indexOf('=');
  return at === -1 ? [text] : [text.slice(0, at), text.slice(at + 1)];
}

function isWish(name: string): name is Wish {
  return (WISHES as readonly string[]).includes(name);
}

/** What was a wish is found in a label. */
function placeOf(issue: Issue, path: readonly PropertyKey[]): string {
  const wish = { model: 'model', tokenBudget: 'budget', test: 'test' }[String(path[0])];
  return wish === undefined ? issue.id : `${issue.id}, label "${WISH_PREFIX}${wish}"`;
}
