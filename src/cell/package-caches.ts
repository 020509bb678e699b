/**
 * What package managers have downloaded, kept for the next cell on the same repository. A cell works on a copy of its
 * own, so whatever its agent does to it stays there. What comes back is what the setup command added: it is taken as
 * soon as that has ended well, before the agent begins.
 *
 *     <home>/caches/<repository>/files/      laid out as in a HOME
 *                               /new-*, old-*    on their way in or out
 */
import { randomBytes } from 'node:crypto';
import { mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { messageOf } from '../errors.ts';
import type { Mirror } from '../git/mirror.ts';
import type { Logger } from '../observe/logger.ts';
import { folderSize } from '../os/folder-size.ts';
import { copyTree, holds, plainFiles, takeFile } from '../os/plain-files.ts';

/** Where they keep it below HOME, which is the cell's own: nothing has to be told to them. */
const PLACES = ['.npm/_cacache', '.cache/pip', '.cache/yarn', '.yarn/berry/cache', '.local/share/pnpm/store'] as const;

const MIB = 1024 * 1024;
const HOUR = 60 * 60_000;
/** Of one repository. A cache that outgrows this is begun anew: which of its files are still used nobody can tell. */
export const CACHE_MAX_BYTES = 2_048 * MIB;
const CACHE_MAX_FILES = 200_000;

export class PackageCaches {
  readonly #folder: string;
  readonly #files: string;
  readonly #maxBytes: number;

  constructor(home: string, mirror: Pick<Mirror, 'path'>, maxBytes = CACHE_MAX_BYTES) {
    this.#folder = join(home, 'caches', basename(mirror.path));
    this.#files = join(this.#folder, 'files');
    this.#maxBytes = maxBytes;
  }

  /**
   * Copies what is kept into a cell's HOME. Never throws: a cell can do without. When it has ended, however it ended,
   * nothing more is written.
   */
  async give(ownHome: string, log: Logger, signal: AbortSignal): Promise<void> {
    const began = performance.now();
    try {
      const generation = await this.#generation();
      if (generation === null) return;
      await copyTree(this.#files, ownHome, signal);
      if ((await this.#generation()) !== generation) throw new Error('another cell has begun them anew meanwhile');
      log.info({ durationMs: Math.round(performance.now() - began) }, 'package caches given');
    } catch (error) {
      if (signal.aborted) return;
      // A cache of which files are missing should do no harm, but nobody has promised that.
      await Promise.allSettled(PLACES.map(place => rm(join(ownHome, place), { recursive: true, force: true })));
      log.warn({ problem: messageOf(error) }, 'the package caches could not be given to the cell');
    }
  }

  /** Takes over what is new in a cell's HOME. Never throws: the next cell downloads it again. */
  async take(ownHome: string, log: Logger, signal?: AbortSignal): Promise<void> {
    try {
      await this.#take(ownHome, log, signal);
    } catch (error) {
      if (!signal?.aborted) log.warn({ problem: messageOf(error) }, 'the package caches of the cell could not be kept');
    }
  }

  async #take(ownHome: string, log: Logger, signal: AbortSignal | undefined): Promise<void> {
    const added = [];
    let [files, bytes] = [0, 0];
    for await (const file of plainFiles(ownHome, PLACES)) {
      signal?.throwIfAborted();
      files += 1;
      if (!(await holds(this.#files, file))) {
        added.push(file);
        bytes += file.size;
      }
      if (bytes > this.#maxBytes || files > CACHE_MAX_FILES) {
        log.warn({ files, bytes, maxBytes: this.#maxBytes }, 'the package caches of the cell are too large to be kept');
        return;
      }
    }
    if (added.length === 0) return;
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    await this.#removeStale();
    await mkdir(this.#files, { recursive: true, mode: 0o700 });
    let room = this.#maxBytes - ((await folderSize(this.#files, signal)) ?? 0);
    if (room < bytes) {
      await this.#beginAnew();
      log.info({ bytes, maxBytes: this.#maxBytes }, 'the package caches were full: begun anew');
      room = this.#maxBytes;
    }
    const unfinished = join(this.#folder, `new-${randomBytes(6).toString('hex')}`);
    for (const file of added) {
      signal?.throwIfAborted();
      room -= (await takeFile(ownHome, this.#files, file, { unfinished, most: room })) ?? 0;
    }
    log.info({ files: added.length, bytes }, 'package caches taken over');
  }

  /** Another one when the cache has been begun anew; null when there is none yet. */
  async #generation(): Promise<number | null> {
    return stat(this.#files).then(
      found => found.ino,
      () => null,
    );
  }

  async #beginAnew(): Promise<void> {
    const old = join(this.#folder, `old-${randomBytes(6).toString('hex')}`);
    await rename(this.#files, old);
    await rm(old, { recursive: true, force: true });
  }

  /** What a worker left that died on the way. */
  async #removeStale(): Promise<void> {
    for (const name of (await readdir(this.#folder)).filter(one => /^(new|old)-/.test(one))) {
      const path = join(this.#folder, name);
      const age = await stat(path).then(
        found => Date.now() - found.mtimeMs,
        () => 0,
      );
      if (age > HOUR) await rm(path, { recursive: true, force: true });
    }
  }
}
