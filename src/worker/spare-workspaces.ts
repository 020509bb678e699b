/**
 * Workspaces made before a cell needs them. To hand one over is two renames, however many files it has; to make one
 * takes seconds on a large repository, while a slot is held. Which of the two a repository gets is measured: spares are
 * kept where that saves time. Each is used once, and nobody has worked in it before.
 *
 *     <state folder>/spares/<owner>-spare.<hex>/    see owned-folders.ts
 */
import { randomBytes } from 'node:crypto';
import { mkdir, rmdir, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import pLimit from 'p-limit';
import { handOver, isShallow, makeWorkspace, type Workspace, type WorkspaceOptions } from '../cell/workspace.ts';
import { messageOf } from '../errors.ts';
import type { Logger } from '../observe/logger.ts';
import { freeDisk } from '../os/disk.ts';
import type { ProcessIdentity } from '../os/identity.ts';
import { isThere } from '../os/is-there.ts';
import { TooLate, within } from '../os/within.ts';
import { nameOfOwn, SPARES } from './owned-folders.ts';
import type { Removals } from './removals.ts';
import { WayTimes } from './way-times.ts';

/** Of one repository: for two cells that begin together. Each that is taken has the next one made. */
const KEPT = 2;
/** Spares are kept for so many repositories: those that were asked for last. */
const REPOSITORIES = 4;
/** Less is not worth a folder that has to be watched. Milliseconds; starting git once takes about as long. */
const SAVES_MS = 5;
/** Spares are no reason to come near to the reserve: twice as much must be free. */
const RESERVES = 2;
/** For one that is being made when nobody needs it any more. Milliseconds. */
const END_MS = 1_000;
/** Another worker, in a container of its own, takes what nobody has touched for 10 minutes for left. */
const RENEW_MS = 60_000;
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
  id: string;
  folder: string;
  workspace: Workspace;
}

class Repository {
  /** Oldest first. */
  readonly spares: Spare[] = [];
  readonly times = new WayTimes();
  asked = 0;
  /** What a workspace takes of the disk, as far as that can be seen beside all else that is written. */
  bytes = 0;
}

export class SpareWorkspaces {
  readonly #options: Required<SpareWorkspacesOptions>;
  /** By the path of its mirror; last the one that was asked for last. */
  readonly #repositories = new Map<string, Repository>();
  /** One at a time: cells want the processors, too. */
  readonly #limit = pLimit(1);
  /** The one that is being made. */
  #making: { folder: string; given: AbortController } | null = null;
  #renewed = 0;
  #ended = false;

  constructor(options: SpareWorkspacesOptions) {
    this.#options = { free: freeDisk, savesMs: SAVES_MS, ...options };
  }

  /** Spares that are there. */
  get ready(): number {
    return this.#spares().length;
  }

  /** A workspace for a cell: a spare one, else one that is made now. @throws as `makeWorkspace` */
  readonly get = async (wanted: WorkspaceOptions): Promise<Workspace> => {
    // Of a worktree the user's repository knows the place, and of an author the agent's git the name.
    if (wanted.worktree != null || wanted.author !== undefined) return makeWorkspace(wanted);
    const repository = this.#repositoryOf(wanted.mirror.path);
    repository.asked += 1;
    const [spare] = repository.spares.splice(indexFor(repository.spares, wanted.commit), 1);
    const taken = spare === undefined ? null : await this.#take(repository, spare, wanted);
    const workspace = taken ?? (await this.#make(repository, wanted));
    // What was slow once may be quick by now: it is tried anew.
    if (spare === undefined && !this.#isWorth(repository)) repository.times.forgetOne();
    this.#begin(repository, wanted);
    return workspace;
  };

  /** Resolves when none is being made. */
  async settled(): Promise<void> {
    await this.#limit(async () => undefined);
  }

  /** Gives them up while the disk is short of room, and says that they are in use. Call it now and then. Never throws. */
  async look(): Promise<void> {
    if (this.ready === 0 && this.#making === null) return;
    if (!(await this.#hasRoom(0))) {
      this.#making?.given.abort(new Error('the disk is short of room'));
      // A disk in need takes its time, and others wait for this.
      void this.#giveUp(this.#taken());
    } else if (Date.now() >= this.#renewed + RENEW_MS) {
      this.#renewed = Date.now();
      const folders = [...this.#spares(), ...(this.#making === null ? [] : [this.#making])];
      await Promise.all(folders.map(({ folder }) => utimes(folder, new Date(), new Date()).catch(() => undefined)));
    }
  }

  /**
   * Makes no more, and gives up those that are there, with the one that is being made. Soon over: what is not gone by
   * then goes behind, or with a reaper. Harmless when repeated.
   */
  async end(): Promise<void> {
    this.#ended = true;
    this.#making?.given.abort(new Error('the worker ends'));
    const gone = Promise.all([this.#giveUp(this.#taken()), this.settled()]);
    await within(END_MS, undefined, () => gone).catch(error => {
      if (!(error instanceof TooLate)) throw error;
    });
  }

  #repositoryOf(mirror: string): Repository {
    const repository = this.#repositories.get(mirror) ?? new Repository();
    this.#repositories.delete(mirror);
    this.#repositories.set(mirror, repository);
    return repository;
  }

  /** null when it cannot be had: whatever is wrong with it, the cell may do without. */
  async #take(repository: Repository, spare: Spare, wanted: WorkspaceOptions): Promise<Workspace | null> {
    try {
      return await repository.times.take(() => handOver(spare.workspace, wanted));
    } catch (error) {
      // Nothing may be made between the files of another one.
      if (await isThere(join(wanted.cellDir, 'workspace'))) throw error;
      this.#options.log.info({ problem: messageOf(error) }, 'a spare workspace could not be used');
      return null;
    } finally {
      // Empty by now, unless it could not be used.
      await rmdir(spare.folder).catch(() => this.#giveUp([spare]));
    }
  }

  async #make(repository: Repository, wanted: WorkspaceOptions): Promise<Workspace> {
    const before = await this.#free();
    const workspace = await repository.times.make(() => makeWorkspace(wanted));
    repository.bytes = Math.max(0, before - (await this.#free()));
    return workspace;
  }

  /** Makes the next one behind, like the one that was asked for last. */
  #begin(repository: Repository, { mirror, commit }: WorkspaceOptions): void {
    void this.#limit(async () => {
      await this.#giveUp(this.#surplus());
      const { asked, spares } = repository;
      // A single task has no use for one.
      const isWanted = !this.#ended && asked > 1 && spares.length < KEPT && this.#isCurrent(repository);
      if (!isWanted || !this.#isWorth(repository) || (await isShallow(mirror))) return;
      if (!(await this.#hasRoom(repository.bytes))) return;
      const { home, owner, log } = this.#options;
      const id = `spare.${randomBytes(4).toString('hex')}`;
      const folder = join(home, SPARES, nameOfOwn(owner, id));
      const given = new AbortController();
      this.#making = { folder, given };
      try {
        await mkdir(folder, { recursive: true, mode: 0o700 });
        const { signal } = given;
        const workspace = await this.#make(repository, { mirror, commit, cellDir: folder, branch: id, signal });
        if (this.#ended) await this.#giveUp([{ id, folder }]);
        else spares.push({ id, folder, workspace });
      } catch (error) {
        if (!given.signal.aborted) log.info({ problem: messageOf(error) }, 'no spare workspace could be made');
        await this.#giveUp([{ id, folder }]);
      } finally {
        this.#making = null;
      }
    });
  }

  #isCurrent(repository: Repository): boolean {
    return [...this.#repositories.values()].slice(-REPOSITORIES).includes(repository);
  }

  #isWorth({ times }: Repository): boolean {
    return times.saved >= this.#options.savesMs;
  }

  /** Of repositories that were not asked for lately, and where a spare saves nothing after all. */
  #surplus(): Spare[] {
    return this.#taken([...this.#repositories.values()].filter(one => !this.#isCurrent(one) || !this.#isWorth(one)));
  }

  #spares(): Spare[] {
    return [...this.#repositories.values()].flatMap(({ spares }) => spares);
  }

  /** Those of some repositories, which have none then. */
  #taken(from: Iterable<Repository> = this.#repositories.values()): Spare[] {
    return [...from].flatMap(({ spares }) => spares.splice(0));
  }

  /** Whether so many bytes more leave enough. */
  async #hasRoom(bytes: number): Promise<boolean> {
    return (await this.#free()) - bytes >= RESERVES * this.#options.reserve.diskMb * MIB;
  }

  /** A disk that cannot be asked is none to fill. */
  #free(): Promise<number> {
    return this.#options.free(this.#options.home).catch(() => 0);
  }

  /** What cannot be removed now is a reaper's when this process has ended. Never throws. */
  async #giveUp(spares: readonly Pick<Spare, 'id' | 'folder'>[]): Promise<void> {
    const { removals, log } = this.#options;
    for (const { id, folder } of spares) {
      await removals.take(folder, id).catch(error => {
        log.warn({ folder, problem: messageOf(error) }, 'a spare workspace stays');
      });
    }
  }
}

/** One at the very commit is there at once; any other is brought to it, the oldest first. */
function indexFor(spares: readonly Spare[], commit: string): number {
  return Math.max(
    0,
    spares.findIndex(({ workspace }) => workspace.baseCommit === commit),
  );
}
