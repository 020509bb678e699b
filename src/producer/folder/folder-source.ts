/** A folder of Markdown files as a source of tasks: a file is an item, and what became of it is written into it. */
import { readdir, realpath, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { CellpoolError, type Fault, InvalidInput, messageOf } from '../../errors.ts';
import { demandPool, isActorOf } from '../actor.ts';
import type { FoundTask, ItemState, Note, TaskSource, Written } from '../source/task-source.ts';
import { dependsOf, type Loaded } from './depends.ts';
import { identityOf, MARK_FILE } from './folder-identity.ts';
import { withKeys } from './front-edit.ts';
import { textOf } from './front-matter.ts';
import { type Item, itemIn, taskOf } from './item.ts';
import { readItemFile, removeDrafts, replaceItemFile } from './item-file.ts';
import { type Change, changeOf } from './item-notes.ts';
import { withLine } from './log-section.ts';
import { isItemName, itemOf, STATUS } from './names.ts';

export interface FolderOptions {
  folder: string;
  /**
   * Who writes: an id of letters and digits that no other Redis or prefix has, and always the same for this one. Left
   * out, the source is for looks alone: a write is an error, and what is reopened is not known to be this pool's.
   */
  pool?: string | undefined;
  /** What files may choose: `model`, `agent`, `budget`, `test`. */
  allowedKeys?: readonly string[];
  /** Nothing is written, not even the mark by which the folder is known: for looks alone. */
  readOnly?: boolean;
}

/** How often a file is tried that somebody is editing, with longer and longer pauses, 1.5 seconds in all. */
const TRIES = 5;
const PAUSE_MS = 100;

export class FolderSource implements TaskSource {
  readonly name: string;
  readonly identity: string;
  readonly #folder: string;
  readonly #pool: string | null;
  readonly #allowed: ReadonlySet<string>;
  readonly #isMarked: boolean;

  private constructor(folder: string, identity: string, { allowedKeys = [], readOnly = false, pool }: FolderOptions) {
    this.name = `Markdown files in ${folder}`;
    this.identity = identity;
    this.#folder = folder;
    this.#pool = pool === undefined ? null : demandPool(pool);
    this.#allowed = new Set(allowedKeys);
    this.#isMarked = !readOnly;
  }

  /** @throws {InvalidInput} when there is no such folder; {CellpoolError} SOURCE_UNAVAILABLE */
  static async open(options: FolderOptions): Promise<FolderSource> {
    const folder = await folderAt(options.folder);
    if (options.readOnly !== true) await reaching(folder, () => removeDrafts(folder));
    const identity = await reaching(folder, () => identityOf(folder, { readOnly: options.readOnly ?? false }));
    return new FolderSource(folder, identity, options);
  }

  async ready(signal: AbortSignal): Promise<string[]> {
    const files = await this.#files();
    const loaded = new Map<string, Loaded>();
    for (const item of files.keys()) {
      signal.throwIfAborted();
      const found = await this.#load(item, files);
      if (found !== null) loaded.set(item, found);
    }
    const load = async (item: string) => loaded.get(item) ?? null;
    const ready: { name: string; priority: number }[] = [];
    for (const [name, one] of loaded) {
      // What is faulty is offered, so that whoever reads it is told.
      if ('faults' in one) ready.push({ name, priority: 0 });
      else if (this.#isFree(one.item)) {
        const { faults, waits } = await dependsOf(one.item, load);
        if (faults.length > 0 || !waits) ready.push({ name, priority: one.item.priority });
      }
    }
    return ready.sort((a, b) => a.priority - b.priority || (a.name < b.name ? -1 : 1)).map(({ name }) => name);
  }

  async read(item: string, signal: AbortSignal): Promise<FoundTask | null> {
    signal.throwIfAborted();
    if (!isItemName(item)) throw new InvalidInput([{ where: JSON.stringify(item), what: 'is no name of an item' }]);
    const files = await this.#files();
    const found = await this.#load(item, files);
    if (found === null) return null;
    if ('faults' in found) throw new InvalidInput(found.faults);
    if (!this.#isFree(found.item)) return null;
    const { faults, waits } = await dependsOf(found.item, name => this.#load(name, files));
    if (faults.length > 0) throw new InvalidInput([...found.item.faults, ...faults]);
    return waits ? null : taskOf(found.item, this.#allowed);
  }

  async write(note: Note, signal: AbortSignal): Promise<Written> {
    const pool = this.#pool;
    if (pool === null) throw new TypeError(`${this.name} were opened without a pool: nothing can be written`);
    if (!isItemName(note.item)) return refused(`${JSON.stringify(note.item)} is no name of an item`);
    for (let tries = 1; ; tries += 1) {
      signal.throwIfAborted();
      const written = await reaching(this.#folder, () => this.#writeOnce(pool, note));
      if (written !== 'edited' && (written.how !== 'refused' || tries === TRIES)) return written;
      if (tries === TRIES) throw unavailable(`${note.item} in ${this.#folder} is being edited all the time`);
      // Somebody may be saving it just now.
      await delay(PAUSE_MS * 2 ** (tries - 1), undefined, { signal });
    }
  }

  async #writeOnce(pool: string, note: Note): Promise<Written | 'edited'> {
    const files = await this.#files();
    const [file, other] = files.get(note.item) ?? [];
    if (file === undefined) return refused(`there is no file ${note.item}.md any more`);
    if (other !== undefined) return refused(`${file} and ${other} have the same name`);
    const path = join(this.#folder, file);
    const read = await readItemFile(path);
    if (read === null) return refused(`there is no file ${file} any more`);
    if ('fault' in read) return refused(`${file} ${read.fault}`);
    const item = itemIn(note.item, file, read.text);
    if (isFaults(item)) return refused(item.map(({ where, what }) => `${where} ${what}`).join('; '));
    const change = changeOf(item, pool, note);
    if (change.how !== 'change') return change;
    const text = changed(item, change);
    if (text === null) return refused(`${file} cannot be written to without touching what is not cellpool's`);
    return (await replaceItemFile(path, read, text)) ? { how: 'written' } : 'edited';
  }

  async look(items: readonly string[], signal: AbortSignal): Promise<Map<string, ItemState>> {
    const files = await this.#files();
    const states = new Map<string, ItemState>();
    for (const name of items) {
      signal.throwIfAborted();
      const found = await this.#load(name, files);
      if (found === null) continue;
      const { title, status, assignee } =
        'item' in found ? found.item : { title: name, status: 'faulty', assignee: '' };
      states.set(name, { title, status, assignee: assignee === '' ? null : assignee });
    }
    return states;
  }

  /** The files of each item: one, or several that have the same name. */
  async #files(): Promise<Map<string, string[]>> {
    const entries = await reaching(this.#folder, () => readdir(this.#folder, { withFileTypes: true }));
    if (this.#isMarked && !entries.some(({ name }) => name === MARK_FILE)) {
      // Where a drive is not mounted there is an empty folder, and not one of its items is gone.
      throw unavailable(`${this.#folder} is not the folder it was: there is no ${MARK_FILE} in it`);
    }
    const files = new Map<string, string[]>();
    for (const entry of entries) {
      const item = entry.isDirectory() ? null : itemOf(entry.name);
      if (item !== null) files.set(item, [...(files.get(item) ?? []), entry.name].sort());
    }
    return files;
  }

  /** Ready as far as the file itself goes: open, and nobody's but of a task that has ended, which the ledger knows. */
  #isFree({ status, assignee }: Item): boolean {
    return status === STATUS.open && (assignee === '' || isActorOf(this.#pool, assignee));
  }

  /** Null when there is none. @throws {CellpoolError} SOURCE_UNAVAILABLE */
  async #load(name: string, files: ReadonlyMap<string, readonly string[]>): Promise<Loaded | null> {
    const [file, other] = files.get(name) ?? [];
    if (file === undefined) return null;
    if (other !== undefined) return { faults: [{ where: file, what: `has the same name as ${other}` }] };
    const read = await reaching(this.#folder, () => readItemFile(join(this.#folder, file)));
    if (read === null) return null;
    if ('fault' in read) return { faults: [{ where: file, what: read.fault }] };
    const item = itemIn(name, file, read.text);
    return isFaults(item) ? { faults: item } : { item };
  }
}

function changed(item: Item, { keys, line }: Change): string | null {
  const parts = withKeys(item.parts, keys);
  if (parts === null) return null;
  return textOf(line === null ? parts : { ...parts, body: withLine(parts.body, line.what, line.mark, parts.eol) });
}

const refused = (reason: string): Written => ({ how: 'refused', reason });
const isFaults = (found: Item | readonly Fault[]): found is readonly Fault[] => Array.isArray(found);

async function folderAt(path: string): Promise<string> {
  const what = await stat(path).then(
    found => (found.isDirectory() ? null : 'is no folder'),
    error => (error.code === 'ENOENT' ? 'there is no such folder' : `cannot be opened: ${messageOf(error)}`),
  );
  if (what !== null) throw new InvalidInput([{ where: path, what }]);
  return realpath(path);
}

/** What the file system does not let us do now, it may let us do later. */
async function reaching<T>(folder: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof CellpoolError || !(error instanceof Error && 'code' in error)) throw error;
    throw unavailable(`the folder ${folder} cannot be used: ${messageOf(error)}`, error);
  }
}

function unavailable(what: string, cause?: unknown): CellpoolError {
  return new CellpoolError('SOURCE_UNAVAILABLE', what, {
    hint: 'See that it is there and mounted, that this user may read and write it, and that the disk has room.',
    cause,
  });
}
