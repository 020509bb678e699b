/**
 * Settling: what did the agent change, and then either a commit on the task's branch in the source, or the workspace
 * put back exactly as it was. Every question goes to the record, never to the agent's own `.git`; call these when
 * the agent's processes have ended, for a live one can change the files meanwhile.
 */
import { appendFile, opendir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { CellpoolError, messageOf } from '../errors.ts';
import { agentsWork, withoutTrackers } from '../git/baseline.ts';
import { type Change, excludePattern, pathText, withTrailers } from '../git/commands.ts';
import { ownGitOk } from '../git/git.ts';
import { bringHome, refuseCheckedOut } from '../git/home.ts';
import {
  changesBetween,
  changesInIndex,
  lineCounts,
  stageAll,
  untrackedCollapsed,
  type WorkRecord,
  writeTree,
} from '../git/record.ts';
import type { Source } from '../git/source.ts';
import { allEnded } from '../os/all-ended.ts';
import { wholeFile } from '../os/whole-file.ts';
import { type Author, giveIndex, makeAgentGit } from './agent-git.ts';
import { FINISHED, makeCommit } from './make-commit.ts';
import { checkOut, emptyWorkspace, isInPlace, recordOf, type Workspace } from './workspace.ts';

export interface Snapshot {
  /** The base with the agent's changes, and nothing else. */
  tree: string;
  changed: boolean;
  /** Paths relative to the repository's root, sorted; both names of a rename, deleted files too. */
  filesModified: string[];
}

export interface CommitOptions {
  source: Source;
  branch: string;
  /** Task id: first part of the name under which a commit is kept that the branch loses. */
  taskId: string;
  /** Where the branch must be now; null: it may not exist. */
  expectedOld: string | null;
  message: string;
  author: Author;
  snapshot: Snapshot;
  /** Last lines of the message: `{ Task: 'fix-1', Attempt: '2' }`. */
  trailers: Record<string, string>;
  /** Done while the commit is made; when it throws, nothing goes to the source. */
  meanwhile?: () => Promise<void>;
  /** Asked last, just before the branch moves; when it throws, nothing moves. */
  fence?: () => Promise<void>;
  /** Ends the waiting for a remote. */
  signal?: AbortSignal | undefined;
}

export interface CommitResult {
  commit: string;
  branch: string;
  filesModified: string[];
  /** The ref that keeps a commit the branch pointed to and the new one does not build on. */
  replaced: string | null;
}

/** In the record: the tree of the workspace after setup. */
const setupFile = (workspace: Workspace) => join(workspace.recordDir, 'setup-tree');
const excludeFile = (workspace: Workspace) => join(workspace.recordDir, 'info', 'exclude');
/**
 * Call it when the setup command has ended. What setup left behind is not the agent's work: a file that setup made or
 * changed is committed only if the agent changes it further. Folders of installed packages and build products stay
 * out with all that comes into them later.
 * @returns the paths that stay out, which end in `/`.
 * @throws {CellpoolError} COMMIT_FAILED.
 */
export async function markSetupDone(workspace: Workspace): Promise<string[]> {
  await demandInPlace(workspace);
  const record = recordOf(workspace);
  const left = await untrackedCollapsed(record);
  const out: string[] = [];
  for (const path of left) if (await isProduct(join(workspace.workspacePath, path))) out.push(path);
  await appendFile(excludeFile(workspace), out.map(path => `${excludePattern(path)}\n`).join(''));
  await stageAll(record);
  await writeFile(setupFile(workspace), await writeTree(record));
  return out;
}

/** Folders that tools fill and nobody commits, where a repository forgot to ignore them. */
const PRODUCTS = new Set(['node_modules', '.venv', 'venv', '__pycache__', '.tox', '.gradle', 'target', '.cache']);
/** A folder with more entries than this is no source that a setup command left for the agent to work on. */
const PRODUCT_ENTRIES = 2_000;

async function isProduct(path: string): Promise<boolean> {
  if (!path.endsWith('/')) return false;
  if (PRODUCTS.has(basename(path))) return true;
  let entries = 0;
  try {
    for await (const _ of await opendir(path, { recursive: true })) {
      entries += 1;
      if (entries > PRODUCT_ENTRIES) return true;
    }
  } catch (error) {
    // Locked, or of a name that is no text and so reached us changed: what was counted up to there decides.
    if (!['EACCES', 'ENOENT'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
  }
  return false;
}

/**
 * What the agent has changed up to now. Of a tracker (`.beads`) the snapshot has what the base has, while the tests
 * find in the workspace what the agent, setup and hooks left there. So they may see other issues than are committed,
 * as they may see files that are ignored; to put these back first would be to change the work before it is judged.
 * @throws {CellpoolError} COMMIT_FAILED when git cannot record it.
 */
export async function snapshot(workspace: Workspace): Promise<Snapshot> {
  await demandInPlace(workspace);
  const record = recordOf(workspace);
  await stageAll(record);
  const { baseTree } = workspace;
  // Git may write down in the index which trees it has made, but all three read the same entries there.
  const [tree, changes, setup] = await allEnded([
    writeTree(record),
    changesInIndex(record, baseTree),
    setupChanges(workspace, record),
  ]);
  const mine = await withoutTrackers(record, baseTree, await agentsWork(record, baseTree, { tree, changes }, setup));
  const filesModified = mine.changes.map(change => pathText(change.path)).sort();
  return { tree: mine.tree, changed: mine.tree !== baseTree, filesModified };
}

async function setupChanges(workspace: Workspace, record: WorkRecord): Promise<Change[]> {
  try {
    return await changesBetween(record, workspace.baseTree, await readFile(setupFile(workspace), 'utf8'));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

/**
 * Commits a snapshot on top of the base and brings it home onto `branch` of the source.
 * @throws {CellpoolError} COMMIT_FAILED (also when nothing changed), BRANCH_CHECKED_OUT; what `fence` and `publish`
 * throw. The source's branches are as before then.
 */
export async function commit(workspace: Workspace, options: CommitOptions): Promise<CommitResult> {
  const { source, branch, author, snapshot: taken, expectedOld, fence, signal } = options;
  if (!taken.changed || taken.tree === workspace.baseTree) {
    throw new CellpoolError('COMMIT_FAILED', 'there is nothing to commit: the agent changed no file');
  }
  const gitDir = workspace.recordDir;
  const message = withTrailers(options.message, options.trailers);
  const [, id] = await allEnded([
    options.meanwhile?.(),
    makeCommit({ gitDir, tree: taken.tree, parent: workspace.baseCommit, message, author }),
    refuseCheckedOut(source, branch),
  ]);
  const homecoming = { from: gitDir, ref: FINISHED, commit: id, branch, expectedOld };
  const replaced = await bringHome(source, { ...homecoming, keepAs: options.taskId, author, fence, signal });
  return { commit: id, branch, filesModified: taken.filesModified, replaced };
}

/**
 * Writes the snapshot's changes to `file` (absolute) as a patch for `git apply`, binary files included. Git writes
 * the file itself, so its size costs us no memory; it is there whole or not at all. @throws {CellpoolError} GIT_FAILED.
 */
export async function saveDiff(workspace: Workspace, taken: Snapshot, file: string): Promise<void> {
  const shape = ['-r', '-p', '--binary', '--full-index', '--no-renames', '--no-color'];
  const safe = ['--no-ext-diff', '--no-textconv', '--src-prefix=a/', '--dst-prefix=b/'];
  const { recordDir: gitDir, baseTree } = workspace;
  await wholeFile(file, path =>
    ownGitOk(['diff-tree', ...shape, ...safe, `--output=${path}`, baseTree, taken.tree], { gitDir }),
  );
}

const SUMMARY_FILES = 50;

/** The snapshot's changes in a line a file, `src/a.js +12 -3`, for who tries again; of many files the first. */
export async function summaryOf(workspace: Workspace, taken: Snapshot): Promise<string> {
  const counts = await lineCounts({ gitDir: workspace.recordDir }, workspace.baseTree, taken.tree);
  const lines = counts.slice(0, SUMMARY_FILES).map(({ path, added, removed }) => {
    const what = added === null ? 'binary' : `+${added} -${removed}`;
    return `${path.replace(/\s+/g, ' ').slice(0, 300)} ${what}`;
  });
  if (counts.length > SUMMARY_FILES) lines.push(`and ${counts.length - SUMMARY_FILES} more files`);
  return lines.join('\n');
}

/**
 * Puts the workspace back exactly as it was at spawn, before setup: everything is deleted and checked out anew, the
 * `.git` included, and then all files are read again and compared with the base.
 * @returns the tree that was found, which is the base's. @throws {CellpoolError} REVERT_FAILED.
 */
export async function revert(workspace: Workspace): Promise<{ tree: string }> {
  try {
    await emptyWorkspace(workspace);
    await Promise.all([setupFile(workspace), excludeFile(workspace)].map(file => rm(file, { force: true })));
    await checkOut(workspace);
    await makeAgentGit(workspace);
    await giveIndex(workspace);
    const tree = await treeOnDisk(workspace);
    if (tree !== workspace.baseTree) throw new Error(`found tree ${tree} instead of ${workspace.baseTree}`);
    return { tree };
  } catch (error) {
    throw new CellpoolError('REVERT_FAILED', `the workspace could not be put back: ${messageOf(error)}`, {
      cause: error,
      facts: { workspace: workspace.workspacePath },
    });
  }
}

/** The tree of every file there is, ignored ones too, each read anew. @throws {CellpoolError} COMMIT_FAILED, GIT_FAILED */
export async function treeOnDisk(workspace: Workspace): Promise<string> {
  const record = { ...recordOf(workspace), index: join(workspace.recordDir, 'verify-index') };
  await rm(record.index, { force: true });
  try {
    // An index made from the tree alone knows no file's time, so nothing can pass for unchanged.
    await ownGitOk(['read-tree', workspace.baseTree], { gitDir: record.gitDir, index: record.index });
    await stageAll(record, 'all');
    const tree = await writeTree(record);
    const changes = await changesBetween(record, workspace.baseTree, tree);
    return (await agentsWork(record, workspace.baseTree, { tree, changes }, [])).tree;
  } finally {
    await rm(record.index, { force: true });
  }
}

async function demandInPlace(workspace: Workspace): Promise<void> {
  if (await isInPlace(workspace)) return;
  throw new CellpoolError('COMMIT_FAILED', 'the workspace is no folder any more: something else stands in its place', {
    facts: { workspace: workspace.workspacePath },
  });
}
