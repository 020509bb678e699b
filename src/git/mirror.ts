/**
 * The mirror: one bare repository the pool keeps for each source. Workspaces borrow its objects, so it must never
 * lose one: it does no housekeeping of its own, and it hides from the cells everything else of the user's
 * repository. Two kinds of refs live in it: `refs/cells/<cell id>` pins what a living cell borrows, and
 * `refs/bases/<branch>/<commit>` remembers the last tip of each base, so that the next fetch brings only the news.
 */
import { createHash } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { CellpoolError } from '../errors.ts';
import type { Argv } from '../os/leash.ts';
import { whileWanted } from '../os/within.ts';
import { isMade, makeBare, removeOlder } from './bare.ts';
import { ownGit, ownGitOk } from './git.ts';
import { pointsTo, refsIn, removeRef, setRef } from './ref-files.ts';
import { nameOf, type Source, someBranches, tipOf } from './source.ts';

export interface Mirror {
  /** Absolute path of the bare repository. */
  path: string;
  /** The folder that workspaces borrow from; a cell needs to read it and nothing else of the mirror. */
  objects: string;
  format: Source['format'];
}

/** How often a fetch is tried: another worker may hold a lock that git does not wait for. */
const FETCH_TRIES = 6;
/** Older than any fetch of ours may last, so that whoever took the lock is gone. */
const STALE_MS = 15 * 60_000;
const UPLOAD_PACK: Argv = [
  ...(['git', '-c', 'safe.directory=*', '-c', 'safe.bareRepository=all'] as const),
  ...['-c', 'core.hooksPath=/dev/null', 'upload-pack'],
];

/**
 * The mirror of `source` under `<home>/mirrors`, made when it is not there yet. Safe to call from several processes
 * at once.
 * @throws {CellpoolError} STATE_FOLDER when the folder cannot be written; GIT_FAILED.
 */
export async function openMirror(home: string, source: Source): Promise<Mirror> {
  const folder = join(home, 'mirrors');
  const mark = createHash('sha256').update(`${source.format}\0${source.gitDir}`).digest('hex').slice(0, 24);
  const path = join(folder, mark);
  const mirror: Mirror = { path, objects: join(path, 'objects'), format: source.format };
  if (await isMade(path)) return mirror;
  await mkdir(folder, { recursive: true, mode: 0o700 }).catch(cause => {
    throw new CellpoolError('STATE_FOLDER', `${folder} cannot be made`, { cause, facts: { folder } });
  });
  await makeBare(path, source.format);
  return mirror;
}

/** One fetch a mirror at a time in this process; the cells that wait for the same commit share it. */
const fetches = new Map<string, Promise<void>>();
const queues = new Map<string, Promise<unknown>>();

/**
 * Brings the tip of branch `base` into the mirror and pins it for one cell; with `at`, that commit of the source instead. Any number of calls at once may be made,
 * by any number of processes. An abort ends the waiting, not a fetch that others share.
 * @returns the full id of the commit.
 * @throws {CellpoolError} UNKNOWN_BASE when the source has no such branch; GIT_FAILED; the file system's error. The
 * signal's reason on abort.
 */
export async function pinBase(
  mirror: Mirror,
  source: Source,
  base: string,
  cellId: string,
  signal?: AbortSignal,
  at?: string,
): Promise<string> {
  signal?.throwIfAborted();
  const tip = at ?? (await tipOf(source, base));
  if (tip === null) {
    const there = await someBranches(source);
    const hint = there.length === 0 ? 'It has no branch at all; make one.' : `It has: ${there.join(', ')}.`;
    throw new CellpoolError('UNKNOWN_BASE', `${nameOf(source)} has no branch ${JSON.stringify(base)}`, {
      hint,
      facts: { repository: nameOf(source), base },
    });
  }
  const key = `${mirror.path}\0${tip}`;
  const fetched =
    fetches.get(key) ??
    bring(mirror, source, at === undefined ? base : `at ${base}`, tip).finally(() => fetches.delete(key));
  fetches.set(key, fetched);
  await whileWanted(signal, fetched);
  await setRef(mirror.path, cellRef(cellId), tip);
  return tip;
}

/**
 * The same for one commit that another repository of ours has, at `from`, such as a merge that nobody's branch points
 * to yet. @throws {CellpoolError} GIT_FAILED; the signal's reason when it is aborted already
 */
export async function pinFrom(
  mirror: Mirror,
  from: string,
  commit: string,
  cellId: string,
  signal?: AbortSignal,
): Promise<string> {
  signal?.throwIfAborted();
  // Waited for whatever happens: a pin that came behind the back of whoever has given up would stay.
  await inTurn(mirror, () => fetch(mirror, { gitDir: from }, `${commit}:${cellRef(cellId)}`));
  return commit;
}

/** Frees what `pinBase` pinned for a cell; harmless when nothing is. @throws the file system's error. */
export async function unpin(mirror: Pick<Mirror, 'path'>, cellId: string): Promise<void> {
  await removeRef(mirror.path, cellRef(cellId));
}

const cellRef = (cellId: string) => `refs/cells/${cellId}`;

async function bring(mirror: Mirror, source: Source, base: string, tip: string): Promise<void> {
  const folder = `refs/bases/${createHash('sha256').update(base).digest('hex').slice(0, 16)}`;

  // Only a ref proves that a commit is here with its whole history: an interrupted fetch may leave single objects.
  if (await pointsTo(mirror.path, `${folder}/${tip}`, tip)) return;
  const known = (await refsIn(mirror.path, folder)).filter(id => id !== tip);
  await inTurn(mirror, () => fetch(mirror, source, `${tip}:${folder}/${tip}`));
  // Older tips are kept by the newer one, or not needed. A cell that still borrows one has its own ref.
  const old = known.map(id => `delete ${folder}/${id}\0\0`).join('');
  if (old !== '') await ownGit(['update-ref', '--no-deref', '-z', '--stdin'], { gitDir: mirror.path, input: old });
}

/** After all that was asked for before. */
function inTurn(mirror: Mirror, work: () => Promise<void>): Promise<void> {
  const before = queues.get(mirror.path) ?? Promise.resolve();
  const mine = before.then(work);
  const settled = mine.catch(() => undefined);
  queues.set(mirror.path, settled);
  void settled.then(() => queues.get(mirror.path) === settled && queues.delete(mirror.path));
  return mine;
}

/** Fetches by commit id, so that a branch that moves meanwhile changes nothing. */
async function fetch(mirror: Mirror, source: Pick<Source, 'gitDir' | 'enclose'>, refspec: string): Promise<void> {
  const args = ['fetch', '--quiet', '--no-tags', '--no-write-fetch-head', '--no-recurse-submodules', '--refmap='];
  // `openSource` has asked git whether the source may be read; asking again without the user's settings would fail.
  const uploadPack = (source.enclose?.(UPLOAD_PACK) ?? UPLOAD_PACK).map(shellWord).join(' ');
  const command = [...args, '--update-shallow', `--upload-pack=${uploadPack}`, '--end-of-options'];
  for (let tries = 1; ; tries++) {
    try {
      await ownGitOk([...command, source.gitDir, refspec], { gitDir: mirror.path });
      return;
    } catch (error) {
      if (tries === FETCH_TRIES) throw error;
      await removeOlder(mirror.path, /^(shallow|packed-refs)\.lock$/, STALE_MS);
      await sleep(50 * 2 ** tries * (0.5 + Math.random()));
    }
  }
}

/** Git has a shell start the other side of a fetch. */
const shellWord = (word: string) => `'${word.replaceAll("'", "'\\''")}'`;
