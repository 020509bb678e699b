/**
 * The record: a bare repository beside the workspace that only the worker uses. An agent can write to its own `.git`
 * and make git run what it planted there, so all that the worker wants to know about the work is asked from here,
 * with the workspace as nothing but a folder of files.
 */
import { lstat } from 'node:fs/promises';
import { join } from 'node:path';
import { CellpoolError, messageOf } from '../errors.ts';
import { unlockTree } from '../os/remove-tree.ts';
import {
  type Change,
  diffIndex,
  diffTree,
  GITLINK,
  type GitPath,
  type IndexEntry,
  indexInfo,
  joinNul,
  type LineCount,
  parseChanges,
  parseIndex,
  parseLineCounts,
  pathBytes,
  pathText,
  splitNul,
} from './commands.ts';
import { accept, type GitCall, ownGit, ownGitOk } from './git.ts';
import { ignoredOf } from './ignored.ts';
import { linksOfIndex } from './index-file.ts';
import { refusePipes } from './pipes.ts';
import type { Source } from './source.ts';
import { isTrackers, NOT_TRACKERS } from './tracker.ts';

export interface WorkRecord {
  gitDir: string;
  workTree: string;
  /** Remembers size and times of every file, so that only what was touched is read again. */
  index: string;
  format: Source['format'];
}

/** The call that reaches the work tree; warnings about line endings say nothing we act on. */
const callOf = (record: WorkRecord): GitCall => ({ ...record, config: ['core.safecrlf=false'], bytes: true });

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
  // A folder that its owner has locked may hold one too. Nothing may be refused for it once the index is at work.
  let { sawAll, mayNest } = await refusePipes(record.workTree);
  if (!sawAll) {
    await unlockForGit(record.workTree);
    ({ mayNest } = await refusePipes(record.workTree));
  }
  const links = await linksIn(record);
  const kept: IndexEntry[] = [];
  for (const link of links) if (await isRealFolder(record.workTree, link.path)) kept.push(link);
  const submodules = kept.map(link => `${link.path}/`);
  await takeOut(record, links);
  try {
    if (!(await stageFiles(record, reach, submodules, { mayNest }))) {
      // Something could not be read. An agent owns its files and may have locked them; open them and look again.
      await unlockForGit(record.workTree);
      await stageFiles(record, reach, submodules, { last: true });
    }
    // Git lists no repository that took the place of a tracked file; it does once that file is out of the index.
    const strange = await linksIn(record);
    if (strange.length === 0) return;
    await takeOut(record, strange);
    await stageFiles(record, reach, submodules, { last: true });
    const [left] = await linksIn(record);
    if (left === undefined) return;
    // Out with it, or the next call would take it for a submodule of the base.
    await takeOut(record, await linksIn(record));
    throw cannotRecord(left.path);
  } finally {
    await putIntoIndex(record, kept);
  }
}

async function unlockForGit(workTree: string): Promise<void> {
  try {
    await unlockTree(workTree);
  } catch (error) {
    throw new CellpoolError('COMMIT_FAILED', `the workspace cannot be read: ${messageOf(error).slice(0, 300)}`, {
      cause: error,
    });
  }
}

async function linksIn(record: WorkRecord): Promise<IndexEntry[]> {
  const read = await linksOfIndex(record.index, record.format);
  if (read !== null) return read;
  return parseIndex(await ownGitOk(['ls-files', '-s', '-z'], { ...record, bytes: true })).filter(
    entry => entry.mode === GITLINK,
  );
}

function takeOut(record: WorkRecord, entries: readonly IndexEntry[]): Promise<void> {
  const gone = entries.map(entry => ({ ...entry, mode: '000000' }));
  return putIntoIndex(record, gone);
}

function cannotRecord(path: GitPath): CellpoolError {
  const folder = pathText(path);
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

/** Where the index differs from a tree: what `changesBetween` says of the tree that `writeTree` makes of it. */
export async function changesInIndex({ gitDir, index }: WorkRecord, from: string): Promise<Change[]> {
  return parseChanges(await ownGitOk(diffIndex(from), { gitDir, index, bytes: true }));
}

/** Where two trees differ. */
export async function changesBetween(record: WorkRecord, from: string, to: string): Promise<Change[]> {
  if (from === to) return [];
  return parseChanges(await ownGitOk(diffTree(from, to), { gitDir: record.gitDir, bytes: true }));
}

/** How many lines differ between two trees, file by file. */
export async function lineCounts(record: Pick<WorkRecord, 'gitDir'>, from: string, to: string): Promise<LineCount[]> {
  const args = ['diff-tree', '-r', '-z', '--numstat', '--no-renames', '--no-ext-diff', '--no-textconv', from, to];
  return from === to ? [] : parseLineCounts(await ownGitOk(args, { gitDir: record.gitDir }));
}

/** Puts entries into the index, or takes them out of it, whatever lies in the work tree. */
export async function putIntoIndex(record: WorkRecord, entries: readonly IndexEntry[]): Promise<void> {
  if (entries.length > 0) {
    await ownGitOk(['update-index', '-z', '--index-info'], { ...record, bytes: true, input: indexInfo(entries) });
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
  await refusePipes(record.workTree);
  return (await untracked(record, 'not-ignored', '--directory', '--no-empty-directory')).paths.map(pathText);
}

interface Staging {
  /** Left out: there may be a repository in the work tree, and git is asked where. */
  mayNest?: boolean;
  /** Nobody can do anything more about what cannot be read. */
  last?: boolean;
}

/** Returns false when something could not be read and `last` is not set. */
async function stageFiles(
  record: WorkRecord,
  reach: Reach,
  submodules: GitPath[],
  { mayNest = true, last = false }: Staging,
): Promise<boolean> {
  // Where no `.git` was found git would list no folder, and what it cannot read it complains of below as well.
  const found = mayNest ? await untracked(record, reach) : { paths: [], complaint: '' };
  const inSubmodule = (path: GitPath) => submodules.some(folder => path.startsWith(folder));
  const nested = found.paths.filter(path => path.endsWith('/') && !inSubmodule(path) && isReached(path, reach));
  await stageNested(record, reach, nested);
  // Git refuses to add where an ignored path is named, be it to leave it out; unnamed it is passed over.
  const folders = [...nested, ...submodules].map(folder => folder.slice(0, -1));
  const passed = reach === 'all' ? new Set() : await ignoredOf(callOf(record), folders);
  const without = folders.filter(folder => !passed.has(folder)).map(folder => `:(top,exclude,literal)${folder}`);
  const [force, trackers] = reach === 'all' ? [['--force'], []] : [[], NOT_TRACKERS];
  const args = ['add', '--all', ...force, '--pathspec-from-file=-', '--pathspec-file-nul'];
  const result = await ownGit(args, { ...callOf(record), input: joinNul([':(top)', ...without, ...trackers]) });
  if (!last && (result.exitCode !== 0 || result.stderr !== '' || found.complaint !== '')) return false;
  accept(result, args, 'COMMIT_FAILED');
  return true;
}

const isReached = (path: GitPath, reach: Reach) => reach === 'all' || !isTrackers(path);

async function stageNested(record: WorkRecord, reach: Reach, folders: GitPath[]): Promise<void> {
  const files: GitPath[] = [];
  for (const folder of folders) files.push(...(await filesOfNested(record, reach, folder)));
  if (files.length === 0) return;
  const ignored = reach === 'all' ? new Set() : await ignoredOf(callOf(record), files);
  const input = joinNul(files.filter(path => !ignored.has(path)));
  await ownGitOk(
    ['update-index', '--add', '--replace', '-z', '--stdin'],
    { ...callOf(record), input },
    'COMMIT_FAILED',
  );
}

/** The files of a folder that is a repository itself, listed as if it were a work tree with nothing tracked. */
async function filesOfNested(record: WorkRecord, reach: Reach, folder: GitPath): Promise<GitPath[]> {
  const text = pathText(folder);
  // Programs are started with arguments that are text.
  const isText = Buffer.from(text).equals(pathBytes(folder));
  if (!isText || !(await isRealFolder(record.workTree, folder.slice(0, -1)))) {
    throw cannotRecord(folder);
  }
  const inside = { ...record, workTree: join(record.workTree, text), index: join(record.gitDir, 'no-index') };
  const files: GitPath[] = [];
  for (const path of (await untracked(inside, reach)).paths) {
    if (!isReached(path, reach)) continue;
    if (path.endsWith('/')) files.push(...(await filesOfNested(record, reach, `${folder}${path}`)));
    else files.push(`${folder}${path}`);
  }
  return files;
}

/** Whether `path` below `root` is a folder that is reached without any symbolic link. */
async function isRealFolder(root: string, path: GitPath): Promise<boolean> {
  const parts = path.split('/');
  try {
    for (let depth = 1; depth <= parts.length; depth += 1) {
      const here = pathBytes(`/${parts.slice(0, depth).join('/')}`);
      if (!(await lstat(Buffer.concat([Buffer.from(root), here]))).isDirectory()) return false;
    }
    return true;
  } catch {
    return false;
  }
}

/** Paths that are another in one commit than in the other. @throws {CellpoolError} GIT_FAILED */
export async function changedPaths(call: GitCall, before: string, after: string): Promise<string[]> {
  return splitNul(await ownGitOk(['diff-tree', '-r', '-z', '--name-only', '--no-renames', before, after], call));
}
