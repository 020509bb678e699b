/**
 * Removes artifacts of attempts that are long over, by age and by the room that all of them take, oldest first. Never
 * those of a task that has a cell, or of an attempt that has just ended: its files may still be written. Nothing is
 * touched but folders right where attempts have theirs, `<home>/artifacts/<task>/<attempt>`; links are never followed.
 */
import { lstat, readdir, realpath, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf } from '../errors.ts';
import { folderSizes } from '../os/folder-size.ts';
import { removeTree } from '../os/remove-tree.ts';

/** An attempt writes its result last, but a hook or a person may be at its files. */
const RECENT_MS = 15 * 60_000;
const DAY_MS = 86_400_000;
const MIB = 1024 * 1024;
/** The names that attempts and their tasks give to folders. */
const NAME = /^\w[\w.-]*$/;

export interface PruneOptions {
  /** The state folder. */
  home: string;
  /** null: never. */
  artifactDays: number | null;
  artifactsMb: number | null;
  /** Tasks whose artifacts are left alone. */
  running: ReadonlySet<string>;
  /** No other folder is begun with once it is aborted. */
  signal?: AbortSignal | undefined;
}

export interface Pruned {
  /** Folders of attempts. */
  removed: number;
  /** What is left takes so many bytes; null when that cannot be told, and then nothing was removed for its size. */
  leftBytes: number | null;
  /** What could not be removed, and why. */
  faults: string[];
}

interface Attempt {
  taskId: string;
  path: string;
  /** Epoch ms. */
  changedAt: number;
  bytes: number;
}

/** @throws the file system's error when the folders cannot be listed */
export async function pruneArtifacts(options: PruneOptions): Promise<Pruned> {
  const { artifactDays, artifactsMb, running, signal } = options;
  const root = await artifactFolder(options.home);
  if (root === null) return { removed: 0, leftBytes: 0, faults: [] };
  const sizes = await folderSizes(root, 2, signal);
  const total = sizes.get(root) ?? null;
  const now = Date.now();
  const removable = (await attemptsIn(root, sizes))
    .filter(({ taskId, changedAt }) => !running.has(taskId) && now - changedAt > RECENT_MS)
    .sort((a, b) => a.changedAt - b.changedAt);
  const oldest = artifactDays === null ? Number.NEGATIVE_INFINITY : now - artifactDays * DAY_MS;
  const most = artifactsMb === null ? Number.POSITIVE_INFINITY : artifactsMb * MIB;
  const pruned: Pruned = { removed: 0, leftBytes: total, faults: [] };
  for (const { path, taskId, changedAt, bytes } of removable) {
    if (signal?.aborted || (changedAt >= oldest && (pruned.leftBytes ?? 0) <= most)) break;
    try {
      await removeAttempt(root, taskId, path);
      pruned.removed += 1;
      if (pruned.leftBytes !== null) pruned.leftBytes = Math.max(0, pruned.leftBytes - bytes);
    } catch (error) {
      pruned.faults.push(`${path}: ${messageOf(error)}`);
    }
  }
  return pruned;
}

/** Null when there is none, or a link in its place. */
async function artifactFolder(home: string): Promise<string | null> {
  const root = join(await realpath(home), 'artifacts');
  const found = await lstat(root).catch(unlessMissing);
  return found?.isDirectory() ? root : null;
}

async function attemptsIn(root: string, sizes: ReadonlyMap<string, number>): Promise<Attempt[]> {
  const found: Attempt[] = [];
  for (const taskId of await foldersIn(root)) {
    for (const name of await foldersIn(join(root, taskId))) {
      const path = join(root, taskId, name);
      // The folder changes with every file that is made in it, and with the last one.
      const changedAt = (await lstat(path).catch(unlessMissing))?.mtimeMs;
      if (changedAt !== undefined) found.push({ taskId, path, changedAt, bytes: sizes.get(path) ?? 0 });
    }
  }
  return found;
}

async function foldersIn(folder: string): Promise<string[]> {
  const entries = (await readdir(folder, { withFileTypes: true }).catch(unlessMissing)) ?? [];
  return entries.filter(entry => entry.isDirectory() && NAME.test(entry.name)).map(({ name }) => name);
}

async function removeAttempt(root: string, taskId: string, path: string): Promise<void> {
  const folder = join(root, taskId);
  // Looked at again just before: whoever put a link there meanwhile gets nothing removed behind it.
  if ((await realpath(path)) !== path) throw new Error('is no folder of an attempt any more');
  await removeTree(path);
  // The last one of its task; another attempt may be making its folder just now.
  await rmdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (!['ENOTEMPTY', 'EEXIST', 'ENOENT'].includes(error.code ?? '')) throw error;
  });
}

function unlessMissing(error: NodeJS.ErrnoException): null {
  if (error.code === 'ENOENT') return null;
  throw error;
}
