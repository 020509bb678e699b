/**
 * A source that keeps its items in memory. It stands in for a tracker because what is shown with it must hold for any
 * source, and because it can be away, or end a bridge in the middle of a call, at any moment that a test wants. The
 * real sources have tests of their own against the real bd and real files.
 */
import { CellpoolError } from '../../../src/errors.ts';
import type { TaskInput } from '../../../src/job/task.ts';
import type { FoundTask, ItemState, Note, TaskSource, Written } from '../../../src/producer/source/task-source.ts';

interface Item {
  status: 'open' | 'working' | 'closed' | 'kept';
  assignee: string | null;
  task: Omit<TaskInput, 'id'>;
}

export class Notebook implements TaskSource {
  readonly name = 'a notebook';
  readonly identity: string;
  readonly items = new Map<string, Item>();
  /** Every note that was taken, in order, as `item kind`. */
  readonly taken: string[] = [];
  readonly #keys = new Set<string>();
  away = false;
  /** Items of which no note can be taken. */
  readonly stuck = new Set<string>();
  /** Ends the bridge after a note was written and before it could say so. */
  dieAfterWrite = false;

  constructor(identity: string) {
    this.identity = identity;
  }

  add(item: string, task: Partial<TaskInput> = {}): void {
    this.items.set(item, { status: 'open', assignee: null, task: { prompt: `do ${item}`, ...task } });
  }

  reopen(item: string): void {
    Object.assign(this.items.get(item) as Item, { status: 'open', assignee: null });
  }

  async ready(): Promise<string[]> {
    this.#demandHere();
    return [...this.items].filter(([, { status, assignee }]) => status === 'open' && assignee === null).map(([n]) => n);
  }

  async read(item: string): Promise<FoundTask | null> {
    this.#demandHere();
    const found = this.items.get(item);
    return found === undefined ? null : { task: found.task, remarks: [] };
  }

  async write(note: Note): Promise<Written> {
    this.#demandHere();
    if (this.stuck.has(note.item)) throw new CellpoolError('SOURCE_UNAVAILABLE', `${note.item} is locked`);
    const item = this.items.get(note.item);
    if (item === undefined) return { how: 'refused', reason: 'it is gone' };
    const key = `${note.taskId} ${note.key}`;
    if (this.#keys.has(key)) return { how: 'known' };
    if (item.assignee !== null && item.assignee !== note.taskId)
      return { how: 'lost', reason: `${item.assignee} has it` };
    this.#keys.add(key);
    this.taken.push(`${note.item} ${note.kind}`);
    this.#apply(item, note);
    if (this.dieAfterWrite) throw new Error('the bridge is dead');
    return { how: 'written' };
  }

  async look(items: readonly string[]): Promise<Map<string, ItemState>> {
    this.#demandHere();
    return new Map(
      items.flatMap(name => {
        const item = this.items.get(name);
        return item === undefined ? [] : [[name, { title: name, status: item.status, assignee: item.assignee }]];
      }),
    );
  }

  #apply(item: Item, note: Note): void {
    switch (note.kind) {
      case 'claim':
        Object.assign(item, { status: 'working', assignee: note.taskId });
        break;
      case 'done':
        item.status = 'closed';
        break;
      case 'unchanged':
      case 'failed':
      case 'not-landed':
      case 'cancelled':
        Object.assign(item, { status: 'kept', assignee: null });
        break;
      default:
    }
  }

  #demandHere(): void {
    if (this.away) throw new CellpoolError('SOURCE_UNAVAILABLE', 'the notebook is away');
  }
}
