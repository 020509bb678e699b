/**
 * The record: a bare repository beside the workspace that only the worker uses. An agent can write to its own `.git`
 * and make git run what it planted there, so all that the worker wants to know about the work is asked from here,
 * with the workspace as nothing but a folder of files.
 */
import { chmod, lstat, readdir, realpath } from 'node:fs/promises';
import { dirname, join, sep } from 'node:path';
import { CellpoolError } from '../errors.ts';
import {
  type Change,
  diffTree,
  GITLINK,
  type IndexEntry,
  indexInfo,
  joinNul,
  type LineCount,
  parseChanges,
  parseIndex,
  parseLineCounts,
  splitNul,
} from './commands.ts';
import { accept, type GitCall, ownGit, ownGitOk } from './git.ts';
import { isTrackers, NOT_TRACKERS } from './tracker.ts';

export interface WorkRecord {
  gitDir: string;
  workTree: string;
  /** Remembers size and times of every file, so that only what was touched is read again. */
  index: string;
}

/** The call that reaches the work tree; warnings about line endings say nothing we act on. */
const callOf = (record: WorkRecord): GitCall => ({ ...record, config: ['core.safecrlf=false'] });

/** Ignore files count, and a tracker is passed over; `all` is all there is: how a reverted work tree is verified. */
export type Reach = 'not-ignored' | 'all';

/**
 * Puts everything that lies in the work tree into the index.
 *
 * A folder with a `.git` of its own would become a mere pointer to a commit that nobody else has; its files are
 * taken like any others instead. A submodule of the base keeps the commit the base names, and its folder is not
 * entered: to compare it, git would run what its config says.
 * @throws {CellpoolError} COMMIT_FAILED when git cannot record something: no place may look unchanged for that.
 */
export async function stageAll(record: WorkRecord, reach: Reach = 'not-ignored'): Promise<void> {
  const links = await linksIn(record);
  const kept: IndexEntry[] = [];
  for (const link of links) if (await isRealFolder(record.workTree, link.path)) kept.push(link);
  const submodules = kept.map(link => `${link.path}/`);
  await takeOut(record, links);
  try {
    if (!(await stageFiles(record, reach, submodules))) {
      // Something could not be read. An agent owns its files and may have locked them; open them and look again.
      await unlockTree(record.workTree);
      await stageFiles(record, reach, submodules, true);
    }
    // Git lists no repository that took the place of a tracked file; it does once that file is out of the index.
    const strange = await linksIn(record);
    if (strange.length === 0) return;
    await takeOut(record, strange);
    await stageFiles(record, reach, submodules, true);
    const [left] = await linksIn(record);
    if (left === undefined) return;
    // Out with it, or the next call would take it for a submodule of the base.
    await takeOut(record, await linksIn(record));
    throw cannotRecord(left.path);
  } finally {
    await putIntoIndex(record, kept);
  }
}

async function linksIn(record: WorkRecord): Promise<IndexEntry[]> {
  return parseIndex(await ownGitOk(['ls-files', '-s', '-z'], record)).filter(entry => entry.mode === GITLINK);
}

function takeOut(record: WorkRecord, entries: readonly IndexEntry[]): Promise<void> {
  const gone = entries.map(entry => ({ ...entry, mode: '000000' }));
  return putIntoIndex(record, gone);
}

function cannotRecord(folder: string): CellpoolError {
  const what = `folder ${JSON.stringify(folder)} is a repository of its own whose files cannot be recorded`;
  return new CellpoolError('COMMIT_FAILED', what, {
    hint: 'Remove its .git, give it a name in UTF-8, or leave it out with .gitignore.',
    facts: { folder },
  });
}

/** The tree of the index. @throws {CellpoolError} COMMIT_FAILED. */
export async function writeTree(record: WorkRecord): Promise<string> {
  return (await ownGitOk(['write-tree'], record, 'COMMIT_FAILED')).trim();
}

/** Where two trees differ. */
export async function changesBetween(record: WorkRecord, from: string, to: string): Promise<Change[]> {
  if (from === to) return [];
  return parseChanges(await ownGitOk(diffTree(from, to), { gitDir: record.gitDir }));
}

/** How many lines differ between two trees, file by file. */
export async function lineCounts(record: Pick<WorkRecord, 'gitDir'>, from: string, to: string): Promise<LineCount[]> {
  const args = ['diff-tree', '-r', '-z', '--numstat', '--no-renames', '--no-ext-diff', '--no-textconv', from, to];
  return from === to ? [] : parseLineCounts(await ownGitOk(args, { gitDir: record.gitDir }));
}

/** Puts entries into the index, or takes them out of it, whatever lies in the work tree. */
export async function putIntoIndex(record: WorkRecord, entries: readonly IndexEntry[]): Promise<void> {
  if (entries.length > 0) {
    await ownGitOk(['update-index', '-z', '--index-info'], { ...record, input: indexInfo(entries) });
  }
}

/** Files that are neither tracked nor ignored; a folder with a `.git` of its own ends in `/`. */
async function untracked(record: WorkRecord, reach: Reach, ...more: string[]) {
  const ignore = reach === 'all' ? [] : ['--exclude-standard'];
  const args = ['ls-files', '-o', '-z', ...ignore, ...more];
  const result = await ownGit(args, callOf(record));
  return { paths: splitNul(accept(result, args, 'COMMIT_FAILED')), complaint: result.stderr };
}

/** Untracked and not ignored, each folder that holds nothing else as one path ending in `/`. */
export async function untrackedCollapsed(record: WorkRecord): Promise<string[]> {
  return (await untracked(record, 'not-ignored', '--directory', '--no-empty-directory')).paths;
}

/** Returns false when something could not be read and `last` is not set. */
async function stageFiles(record: WorkRecord, reach: Reach, submodules: string[], last = false): Promise<boolean> {
  const found = await untracked(record, reach);
  const inSubmodule = (path: string) => submodules.some(folder => path.startsWith(folder));
  const nested = found.paths.filter(path => path.endsWith('/') && !inSubmodule(path) && isReached(path, reach));
  await stageNested(record, reach, nested);
  const without = [...nested, ...submodules].map(folder => `:(top,exclude,literal)${folder.slice(0, -1)}`);
  const [force, trackers] = reach === 'all' ? [['--force'], []] : [[], NOT_TRACKERS];
  const args = ['add', '--all', ...force, '--pathspec-from-file=-', '--pathspec-file-nul'];
  const result = await ownGit(args, { ...callOf(record), input: joinNul([':(top)', ...without, ...trackers]) });
  if (!last && (result.exitCode !== 0 || result.stderr !== '' || found.complaint !== '')) return false;
  accept(result, args, 'COMMIT_FAILED');
  return true;
}

const isReached = (path: string, reach: Reach) => reach === 'all' || !isTrackers(path);

async function stageNested(record: WorkRecord, reach: Reach, folders: string[]): Promise<void> {
  const files: string[] = [];
  for (const folder of folders) files.push(...(await filesOfNested(record, reach, folder)));
  if (files.length === 0) return;
  const ignored = new Set<string>();
  if (reach !== 'all') {
    const args = ['check-ignore', '-z', '--stdin', '--no-index'];
    const answer = await ownGit(args, { ...callOf(record), input: joinNul(files) });
    // Exit code 1: none of them is ignored.
    if (answer.exitCode !== 1) for (const path of splitNul(accept(answer, args, 'COMMIT_FAILED'))) ignored.add(path);
  }
  const input = joinNul(files.filter(path => !ignored.has(path)));
  await ownGitOk(
    ['update-index', '--add', '--replace', '-z', '--stdin'],
    { ...callOf(record), input },
    'COMMIT_FAILED',
  );
}

/** The files of a folder that is a repository itself, listed as if it were a work tree with nothing tracked. */
async function filesOfNested(record: WorkRecord, reach: Reach, folder: string): Promise<string[]> {
  if (!(await isRealFolder(record.workTree, folder.slice(0, -1)))) {
    throw cannotRecord(folder);
  }
  const inside = { ...record, workTree: join(record.workTree, folder), index: join(record.gitDir, 'no-index') };
  const files: string[] = [];
  for (const path of (await untracked(inside, reach)).paths) {
    if (!isReached(path, reach)) continue;
    if (path.endsWith('/')) files.push(...(await filesOfNested(record, reach, `${folder}${path}`)));
    else files.push(`${folder}${path}`);
  }
  return files;
}

/** Whether `path` below `root` is a folder that is reached without any symbolic link. */
async function isRealFolder(root: string, path: string): Promise<boolean> {
  try {
    const full = join(root, path);
    const parent = await realpath(dirname(full));
    const top = await realpath(root);
    if (parent !== dirname(join(top, path)) || !`${full}${sep}`.startsWith(`${root}${sep}`)) return false;
    return (await lstat(full)).isDirectory();
  } catch {
    return false;
  }
}

/**
 * Gives the owner back the right to read and change everything below `folder`; symbolic links are not followed, and
 * what vanishes meanwhile is passed over.
 */
export async function unlockTree(folder: string): Promise<void> {
  try {
    const mode = (await lstat(folder)).mode;
    if ((mode & 0o700) !== 0o700) await chmod(folder, mode | 0o700);
    for (const entry of await readdir(folder, { withFileTypes: true })) {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) await unlockTree(path);
      else if (entry.isFile()) await unlockFile(path);
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}

async function unlockFile(path: string): Promise<void> {
  const mode = (await lstat(path)).mode;
  if ((mode & 0o600) !== 0o600) await chmod(path, mode | 0o600);
}
