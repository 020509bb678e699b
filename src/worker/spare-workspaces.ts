/**
 * Workspaces made before a cell needs them. To hand one over is two renames, however many files it has; to make one
 * takes seconds on a large repository, while a slot is held. Which of the two a repository gets is measured: spares are
 * kept where that saves time. Each is used once, and nobody has worked in it before.
 *
 *     <state folder>/spares/<owner>-spare.<hex>/    see owned-folders.ts
 */
import { randomBytes } from 'node:crypto';
import { mkdir, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import pLimit from 'p-limit';
import { handOver, makeWorkspace, type Workspace, type WorkspaceOptions } from '../cell/workspace.ts';
import { messageOf } from '../errors.ts';
import type { Logger } from '../observe/logger.ts';
import { freeDisk } from '../os/disk.ts';
import type { ProcessIdentity } from '../os/identity.ts';
import { TooLate, within } from '../os/within.ts';
import { nameOfOwn, SPARES } from './owned-folders.ts';
import type { Removals } from './removals.ts';

/** Of one repository. More would wait than cells are begun while the next one is made. */
const KEPT = 2;
/** Spares are kept for so many repositories: those that were asked for last. */
const REPOSITORIES = 4;
/** So many times of each way are remembered. */
const REMEMBERED = 8;
/** Less is not worth a folder that has to be watched. Milliseconds; starting git once takes about as long. */
const SAVES_MS = 5;
/** Spares are no reason to come near to the reserve: twice as much must be free. */
const RESERVES = 2;
/** For one that is being made when nobody needs it any more. Milliseconds. */
const END_MS = 1_000;
const MIB = 1024 * 1024;

export interface SpareWorkspacesOptions {
  /** The state folder. */
  home: string;
  /** This process. */
  owner: ProcessIdentity;
  removals: Pick<Removals, 'take'>;
  /** MiB of disk that are kept free. */
  reserve: { diskMb: number };
  log: Logger;
  /** Bytes that are free on the disk of a folder; left out: what the file system says. */
  free?: (folder: string) => Promise<number>;
  /** Milliseconds that spares must save a cell; left out: 5. */
  savesMs?: number;
}

interface Spare {
  folder: string;
  workspace: Workspace;
}

class Repository {
  /** Oldest first. */
  readonly spares: Spare[] = [];
  /** Milliseconds, latest last. */
  readonly made: number[] = [];
  readonly taken: number[] = [];
}

export class SpareWorkspaces {
  readonly #options: Required<SpareWorkspacesOptions>;
  /** By the path of its mirror; last the one that was asked for last. */
  readonly #repositories = new Map<string, Repository>();
  /** One at a time: cells want the processors, too. */
  readonly #limit = pLimit(1);
  #ended = false;

  constructor(options: SpareWorkspacesOptions) {
    this.#options = { free: freeDisk, savesMs: SAVES_MS, ...options };
  }

  /** Spares that are there. */
  get ready(): number {
    return [...this.#repositories.values()].reduce((sum, { spares }) => sum + spares.length, 0);
  }

  /** A workspace for a cell: a spare one, else one that is made now. @throws as `makeWorkspace` */
  readonly get = async (wanted: WorkspaceOptions): Promise<Workspace> => {
    // Of a worktree the user's repository knows the place, and of an author the agent's git the name.
    if (wanted.worktree != null || wanted.author !== undefined) return makeWorkspace(wanted);
    const repository = this.#repositoryOf(wanted.mirror.path);
    const workspace =
      (await this.#take(repository, wanted)) ?? (await timed(repository.made, () => makeWorkspace(wanted)));
    this.#begin(repository, wanted);
    return workspace;
  };

  /** Resolves when none is being made. */
  async settled(): Promise<void> {
    await this.#limit(async () => undefined);
  }

  /** Gives them up while the disk is short of room. Call it now and then. Never throws. */
  async look(): Promise<void> {
    if (this.ready > 0 && !(await this.#hasRoom())) await this.#giveUpAll();
  }

  /**
   * Makes no more, and gives up those that are there. One that is being made is waited for, but not for long: it goes
   * when it is there, or with the reaper. Harmless when repeated.
   */
  async end(): Promise<void> {
    this.#ended = true;
    await this.#giveUpAll();
    await within(END_MS, undefined, () => this.settled()).catch(error => {
      if (!(error instanceof TooLate)) throw error;
    });
  }

  #repositoryOf(mirror: string): Repository {
    const repository = this.#repositories.get(mirror) ?? new Repository();
    this.#repositories.delete(mirror);
    this.#repositories.set(mirror, repository);
    return repository;
  }

  /** null when there is none that can be had: whatever is wrong with one, the cell may do without. */
  async #take(repository: Repository, wanted: WorkspaceOptions): Promise<Workspace | null> {
    const { spares } = repository;
    // One at the very commit is there at once; any other is brought to it.
    const at = Math.max(
      0,
      spares.findIndex(({ workspace }) => workspace.baseCommit === wanted.commit),
    );
    const [spare] = spares.splice(at, 1);
    if (spare === undefined) return null;
    try {
      return await timed(repository.taken, () => handOver(spare.workspace, wanted));
    } catch (error) {
      this.#options.log.info({ problem: messageOf(error) }, 'a spare workspace could not be used');
      return null;
    } finally {
      // Empty by now, unless it could not be used.
      await rmdir(spare.folder).catch(() => this.#giveUp(spare));
    }
  }

  /** Makes the next one behind, like the one that was asked for last. */
  #begin(repository: Repository, { mirror, commit }: WorkspaceOptions): void {
    void this.#limit(async () => {
      for (const other of this.#surplus()) await this.#giveUp(other);
      const isFull = repository.spares.length >= KEPT || !this.#isCurrent(repository);
      if (this.#ended || isFull || !this.#isWorth(repository) || !(await this.#hasRoom())) return;
      const { home, owner } = this.#options;
      const id = `spare.${randomBytes(4).toString('hex')}`;
      const folder = join(home, SPARES, nameOfOwn(owner, id));
      try {
        await mkdir(folder, { recursive: true, mode: 0o700 });
        const workspace = await timed(repository.made, () =>
          makeWorkspace({ mirror, commit, cellDir: folder, branch: id }),
        );
        if (this.#ended) await this.#giveUp({ folder });
        else repository.spares.push({ folder, workspace });
      } catch (error) {
        this.#options.log.info({ problem: messageOf(error) }, 'no spare workspace could be made');
        await this.#giveUp({ folder });
      }
    });
  }

  #isCurrent(repository: Repository): boolean {
    return [...this.#repositories.values()].slice(-REPOSITORIES).includes(repository);
  }

  #isWorth({ made, taken }: Repository): boolean {
    return savedBy(made, taken) >= this.#options.savesMs;
  }

  /** Of repositories that were not asked for lately, and where a spare saves nothing after all. */
  #surplus(): Spare[] {
    const all = [...this.#repositories.values()];
    const idle = all.filter(one => !this.#isCurrent(one) || !this.#isWorth(one));
    return idle.flatMap(({ spares }) => spares.splice(0));
  }

  async #hasRoom(): Promise<boolean> {
    const { home, reserve, free } = this.#options;
    // A disk that cannot be asked is none to fill.
    return (await free(home).catch(() => 0)) >= RESERVES * reserve.diskMb * MIB;
  }

  async #giveUpAll(): Promise<void> {
    const all = [...this.#repositories.values()].flatMap(({ spares }) => spares.splice(0));
    for (const spare of all) await this.#giveUp(spare);
  }

  /** What cannot be removed now is a reaper's when this process has ended. */
  async #giveUp({ folder }: Pick<Spare, 'folder'>): Promise<void> {
    const { removals, log } = this.#options;
    await removals
      .take(folder)
      .catch(error => log.warn({ folder, problem: messageOf(error) }, 'a spare workspace stays'));
  }
}

/** Milliseconds by which cells get a spare sooner than one that is made, by the medians of the last times of each. */
export function savedBy(made: readonly number[], taken: readonly number[]): number {
  return median(made) - median(taken);
}

/** Of none: 0. */
function median(values: readonly number[]): number {
  return [...values].sort((one, other) => one - other)[values.length >> 1] ?? 0;
}

/** Remembers how long it took, if it succeeds. */
async function timed<T>(times: number[], work: () => Promise<T>): Promise<T> {
  const began = performance.now();
  const result = await work();
  times.push(performance.now() - began);
  if (times.length > REMEMBERED) times.shift();
  return result;
}
