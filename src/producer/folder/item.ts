/** An item: what its file says of itself, and the task that it asks for. */
import { type Fault, InvalidInput } from '../../errors.ts';
import { parseTask, type TaskInput, taskSchema } from '../../job/task.ts';
import type { FoundTask } from '../source/task-source.ts';
import { type Front, type Parts, partsOf, readFront } from './front-matter.ts';
import { withoutSection } from './log-section.ts';
import { itemMeant, OWN_KEYS, STATUS } from './names.ts';

/** What a file may choose only when the operator allows it: whoever can write one must not run or spend at will. */
export const WISHES = ['model', 'agent', 'budget', 'test'] as const;
export type Wish = (typeof WISHES)[number];

const WISH_OF: Partial<Record<keyof TaskInput, Wish>> = {
  model: 'model',
  agent: 'agent',
  test: 'test',
  timeoutMs: 'budget',
  tokenBudget: 'budget',
  costBudgetUsd: 'budget',
  stallMs: 'budget',
  loopRepeats: 'budget',
  attempts: 'budget',
  totalTimeoutMs: 'budget',
  totalTokenBudget: 'budget',
};

/** What the file itself says, its name and text and whom it waits for, and what is for the producer alone. */
const NOT_IN_A_FILE = ['id', 'prompt', 'metadata', 'dependsOn'];
const TASK_KEYS = Object.keys(taskSchema.shape).filter(key => !NOT_IN_A_FILE.includes(key)) as (keyof TaskInput)[];
const DEPENDS_ON = 'dependsOn';
const KNOWN: readonly string[] = [...TASK_KEYS, ...OWN_KEYS, DEPENDS_ON];

const TITLE_MOST = 200;

export interface Item {
  name: string;
  /** The name of its file. */
  file: string;
  parts: Parts;
  front: Front;
  status: string;
  /** Empty: nobody. */
  assignee: string;
  title: string;
  priority: number;
  /** Names of items. */
  dependsOn: readonly string[];
  /** Of keys that are neither the task's nor read by anybody else: what decides whether the item is ready. */
  faults: readonly Fault[];
}

/** The item, or why the file cannot be read as one. */
export function itemIn(name: string, file: string, text: string): Item | readonly Fault[] {
  const parts = partsOf(text);
  if (parts === null) return [{ where: `${file}:1`, what: 'begins a front matter that no second line "---" ends' }];
  const faults: Fault[] = [];
  const front = readFront(parts, file, faults);
  if (front === null) return faults;
  const { values } = front;
  const place = (key: string) => `${file}:${front.lineOf([key])}`;
  const word = (key: string): string => {
    const value = values[key] ?? '';
    if (typeof value === 'string') return value.trim();
    faults.push({ where: place(key), what: `"${key}" must be text` });
    return '';
  };
  for (const key of Object.keys(values)) {
    const meant = KNOWN.find(known => isAlmost(key, known));
    if (meant !== undefined) faults.push({ where: place(key), what: `key "${key}" is written "${meant}"` });
  }
  const status = word('status') || STATUS.open;
  const assignee = word('assignee');
  const dependsOn = namesIn(values[DEPENDS_ON]);
  if (dependsOn === null) faults.push({ where: place(DEPENDS_ON), what: `"${DEPENDS_ON}" must be names of files` });
  return {
    ...{ name, file, parts, front, status, assignee, faults },
    title: titleOf(name, values.title, promptOf(parts)),
    priority: typeof values.priority === 'number' ? values.priority : 0,
    dependsOn: dependsOn ?? [],
  };
}

/** A key that is passed over for a `_` or a capital would be one that nobody misses until it is too late. */
function isAlmost(key: string, known: string): boolean {
  const plain = (text: string) => text.replace(/[_\s-]/g, '').toLowerCase();
  return key !== known && plain(key) === plain(known);
}

function namesIn(value: unknown): string[] | null {
  const list = Array.isArray(value) ? value : value === undefined || value === null ? [] : [value];
  if (!list.every(one => typeof one === 'string' && one.trim() !== '')) return null;
  return [...new Set(list.map(itemMeant))];
}

/** @throws {InvalidInput} with every fault of the item */
export function taskOf(item: Item, allowed: ReadonlySet<string>): FoundTask {
  const { name, file, front, parts } = item;
  const place = (key: string) => `${file}:${front.lineOf([key])}`;
  const given: Record<string, unknown> = {};
  const remarks: string[] = [];
  for (const [key, value] of Object.entries(front.values)) {
    const wish = WISH_OF[key as keyof TaskInput];
    if (!KNOWN.includes(key)) remarks.push(`${place(key)}: key ${JSON.stringify(key)} is not known and does nothing`);
    else if (wish !== undefined && !allowed.has(wish))
      remarks.push(`${place(key)}: "${key}" is not honoured, for --allow-keys does not name ${wish}`);
    else if (value !== null && (TASK_KEYS as string[]).includes(key)) given[key] = value;
  }
  const prompt = promptOf(parts);
  const task = { title: item.title, ...given, prompt, metadata: { source: 'folder', item: name } };
  const bodyAt = `${parts.open}${parts.front}${parts.close}`.split('\n').length;
  const parsed = parseTask({ ...task, id: 'item' }, path =>
    path[0] === 'prompt' ? `${file}:${bodyAt}` : place(String(path[0])),
  );
  const faults = [...item.faults, ...parsed.faults];
  if (faults.length > 0) throw new InvalidInput(faults);
  // What was parsed has defaults in it, which are the operator's to give.
  return { task: task as FoundTask['task'], remarks };
}

function promptOf({ body }: Parts): string {
  return withoutSection(body).trim();
}

/** What the file names, else its first line, as a heading or not. */
function titleOf(name: string, title: unknown, prompt: string): string {
  const first = typeof title === 'string' && title.trim() !== '' ? title : (/^[#\s]*(.*)$/m.exec(prompt)?.[1] ?? '');
  const line = first.replace(/\p{Cc}+|\s+/gu, ' ').trim() || name;
  return line.length <= TITLE_MOST ? line : `${line.slice(0, TITLE_MOST - 1).replace(/[\uD800-\uDBFF]$/, '')}…`;
}
