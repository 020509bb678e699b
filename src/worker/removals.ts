/**
 * Folders of cells that have ended: moved away at once, which costs the same for any size, and removed behind, while the
 * slot is free already. Who dies meanwhile leaves them to a reaper, which takes them over in the same way.
 */
import { mkdir, rename } from 'node:fs/promises';
import { basename, join } from 'node:path';
import pLimit from 'p-limit';
import { messageOf } from '../errors.ts';
import type { Logger } from '../observe/logger.ts';
import type { ProcessIdentity } from '../os/identity.ts';
import { removeTree } from '../os/remove-tree.ts';
import { whileWanted, within } from '../os/within.ts';
import { abandonedIn, cellOf, DISCARDED, nameOfLeft, nameOfOwn } from './owned-folders.ts';

/** One removal keeps a disk busy; many at once would slow the cells down. */
const AT_ONCE = 2;
/** So many may wait to be removed: with more the disk would fill faster than it is emptied. */
const WAITING_MAX = 50;
/** What others have left is taken over while no more than this part of them wait: the cells that end here come first. */
const FOR_OTHERS = 0.5;
/** Millions of files take minutes; longer than this the disk does not answer. Milliseconds. */
const REMOVAL_MS = 5 * 60_000;
const RENAME_MS = 10_000;
/** How long a worker waits at its end, when nobody is in a hurry and when somebody is; the rest is a reaper's. */
export const REMOVE_MS = { drain: 30_000, stop: 3_000 };
/** For what is under way when the end is not waited for any longer: some entries and a rename each. Milliseconds. */
const LEAVE_MS = 2_000;

export interface RemovalsOptions {
  /** The state folder. */
  home: string;
  /** This process. */
  owner: ProcessIdentity;
  log: Logger;
  /** How a folder is removed, until the signal is aborted; left out: as any tree. */
  remove?: (folder: string, signal: AbortSignal) => Promise<void>;
  /** How many may wait; left out: 50. */
  most?: number;
  /** How long one removal may take, in milliseconds; left out: 5 minutes. */
  limitMs?: number;
}

export class Removals {
  readonly #options: Required<RemovalsOptions>;
  readonly #limit = pLimit(AT_ONCE);
  readonly #waiting = new Set<Promise<void>>();
  /** By cell id. */
  readonly #faults = new Map<string, string>();
  /** Of the removals that have begun. */
  readonly #begun = new Set<AbortController>();
  readonly #left = new Set<string>();
  readonly #over = new AbortController();
  #leaving: Promise<void> | null = null;
  #ending = false;

  constructor(options: RemovalsOptions) {
    this.#options = { remove: removeTree, most: WAITING_MAX, limitMs: REMOVAL_MS, ...options };
  }

  /** Folders that are not removed yet. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** Why folders that could not be removed are left, by the ids of their cells. */
  get faults(): ReadonlyMap<string, string> {
    return this.#faults;
  }

  /** Ids of the cells whose folders the end has left to a reaper. */
  get left(): ReadonlySet<string> {
    return this.#left;
  }

  /**
   * Takes the folder of an ended cell, in which nobody works any more, from its place. Harmless when it is gone. Where
   * it cannot be moved, or too many wait, it is removed before this resolves. `cellId` is what it is called by; left
   * out: its name. @throws the file system's error then
   */
  async take(folder: string, cellId = basename(folder)): Promise<void> {
    const moved = this.#move(folder, cellId);
    const isMoved = await moved?.then(
      () => true,
      // It is not there any more, an agent has locked it, or the disk is so full that it takes no other name.
      () => false,
    );
    if (isMoved !== true) await this.#options.remove(folder, this.#over.signal);
  }

  /** Folders of dead processes, as paths below the state folder. */
  abandoned(): Promise<string[]> {
    return abandonedIn(this.#options.home, this.#options.owner);
  }

  /**
   * Makes an abandoned one ours: `again` when it is one that we could not remove before, `later` when there is no room
   * for it now. @throws the file system's error
   */
  async adopt(path: string): Promise<'adopted' | 'again' | 'gone' | 'later'> {
    const cellId = cellOf(basename(path));
    const hasRoom = !this.#ending && this.#waiting.size < this.#options.most * FOR_OTHERS;
    if (cellId === null || !hasRoom) return 'later';
    const how = this.#faults.has(cellId) ? 'again' : 'adopted';
    try {
      await this.#move(join(this.#options.home, path), cellId);
      return how;
    } catch (error) {
      // Another reaper was faster.
      if (codeOf(error) === 'ENOENT') return 'gone';
      throw error;
    }
  }

  /** Resolves when all that was taken is removed, or cannot be. */
  async settled(): Promise<void> {
    while (this.#waiting.size > 0) await Promise.all(this.#waiting);
  }

  /**
   * Adopts no more, and takes what comes without any bound, so that nobody who ends is kept by it. For when no more
   * cells are begun, which could fill the disk.
   */
  close(): void {
    this.#ending = true;
  }

  /**
   * Closes, and resolves when all is removed, or soon after `ms` milliseconds: nothing more is removed then, and what
   * is left has a name that any reaper takes over, so that the process may end. Nobody waits for it again.
   */
  async end(ms: number): Promise<void> {
    this.close();
    const { signal } = this.#over;
    const timer = setTimeout(() => this.#leave(), ms);
    await whileWanted(signal, this.settled())
      .catch(error => {
        if (!signal.aborted) throw error;
      })
      .finally(() => clearTimeout(timer));
    await this.#leaving;
  }

  #leave(): void {
    if (this.#over.signal.aborted) return;
    const why = new Error('it is left to a reaper');
    this.#over.abort(why);
    for (const removal of this.#begun) removal.abort(why);
    // A folder that waits for its turn is only renamed, and not behind one whose disk does not answer.
    this.#limit.concurrency = Number.POSITIVE_INFINITY;
    this.#leaving = within(LEAVE_MS, undefined, () => this.settled())
      .catch(() => this.#options.log.warn({ folders: this.waiting }, 'removals do not end'))
      .then(() => {
        const folders = this.#left.size;
        if (folders > 0) this.#options.log.info({ folders }, 'folders of ended cells are left to a reaper');
      });
  }

  /** Moves it and removes it behind; rejects when it cannot be moved. Null when too many wait, unless this is closed. */
  #move(from: string, cellId: string): Promise<void> | null {
    // Its place is taken before anything is waited for, so that many at once keep the bound.
    const { home, owner, most } = this.#options;
    if (this.#waiting.size >= most && !this.#ending) return null;
    const place = this.#place(nameOfOwn(owner, cellId));
    const moved = mkdir(join(home, DISCARDED), { recursive: true, mode: 0o700 }).then(() => rename(from, place));
    const removal: Promise<void> = moved
      .then(
        () => this.#limit(() => this.#remove(place, cellId)),
        () => undefined,
      )
      .finally(() => this.#waiting.delete(removal));
    this.#waiting.add(removal);
    return moved;
  }

  async #remove(place: string, cellId: string): Promise<void> {
    try {
      await this.#removeInTime(place);
      this.#faults.delete(cellId);
    } catch (error) {
      const isLeft = this.#over.signal.aborted && error === this.#over.signal.reason;
      if (!isLeft) this.#tell(cellId, messageOf(error));
      // A reaper, this process's own too, tries again what has this name.
      await within(RENAME_MS, undefined, () => rename(place, this.#place(nameOfLeft(cellId)))).then(
        () => isLeft && this.#left.add(cellId),
        problem => {
          if (codeOf(problem) === 'ENOENT') this.#faults.delete(cellId);
          else this.#tell(cellId, messageOf(problem));
        },
      );
    }
  }

  /** When this is over because the folder is left to a reaper, nothing of the removal goes on. */
  async #removeInTime(folder: string): Promise<void> {
    const { remove, limitMs } = this.#options;
    this.#over.signal.throwIfAborted();
    const given = new AbortController();
    this.#begun.add(given);
    try {
      await within(limitMs, undefined, late => {
        late.addEventListener('abort', () => given.abort(late.reason), { once: true });
        return remove(folder, given.signal);
      });
    } finally {
      this.#begun.delete(given);
    }
  }

  /** What lasts is told once, not at every new try. */
  #tell(cell: string, problem: string): void {
    if (this.#faults.get(cell) === problem) return;
    this.#faults.set(cell, problem);
    this.#options.log.error({ cell, problem }, 'the folder of an ended cell could not be removed');
  }

  #place(name: string): string {
    return join(this.#options.home, DISCARDED, name);
  }
}

const codeOf = (error: unknown) => (error as NodeJS.ErrnoException).code;
