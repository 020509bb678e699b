/**
 * The workspace: the agent's own git working tree, and beside it the record, a repository only the worker uses.
 * Both borrow the mirror's objects, so making them costs a checkout and nothing more.
 *
 *     <cell folder>/workspace/         the agent's working tree, with a .git (see agent-git.ts)
 *     <cell folder>/record.git/        what the worker asks about it (see src/git/record.ts)
 */
import { appendFile, chmod, lstat, mkdir, readdir, rename, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { DEFAULTS } from '../config.ts';
import { CellpoolError } from '../errors.ts';
import { initBorrowing } from '../git/borrowing.ts';
import { ownGitOk } from '../git/git.ts';
import type { Mirror } from '../git/mirror.ts';
import { changedPaths, type WorkRecord } from '../git/record.ts';
import { allEnded } from '../os/all-ended.ts';
import { isThere } from '../os/is-there.ts';
import { removeTree } from '../os/remove-tree.ts';
import {
  type AgentGitPlace,
  type Author,
  forgetAgentGit,
  giveIndex,
  type LinkedTo,
  makeAgentGit,
  switchBranch,
  writeHomeConfig,
} from './agent-git.ts';

export interface Workspace extends AgentGitPlace {
  baseTree: string;
}

export interface WorkspaceOptions {
  mirror: Mirror;
  /** Full id, pinned in the mirror. */
  commit: string;
  /** Absolute; `workspace` and `record.git` are made in it. */
  cellDir: string;
  branch: string;
  /** Who an agent's own commits are by. */
  author?: Author;
  /** Makes it a worktree of that repository; left out or null: a clone. */
  worktree?: LinkedTo | null;
  /** Ends the making. */
  signal?: AbortSignal | undefined;
}

/** Two files at a time: more gains nothing on the machines measured, and other cells want the cores too. */
const CHECKOUT_WORKERS = 2;

/**
 * Makes workspace and record, with all files of `commit` checked out. Nothing is left when it fails.
 * @throws {CellpoolError} SPAWN_FAILED; GIT_MISSING.
 */
export async function makeWorkspace(options: WorkspaceOptions): Promise<Workspace> {
  const { mirror, commit, cellDir, branch, author = DEFAULTS.author, worktree = null, signal } = options;
  const workspacePath = join(cellDir, 'workspace');
  const recordDir = join(cellDir, 'record.git');
  const ofAgent: AgentGitPlace = { workspacePath, recordDir, baseCommit: commit, branch, author, mirror, worktree };
  const workspace = { ...ofAgent, baseTree: '' };
  try {
    await mkdir(workspacePath, { recursive: true });
    if (worktree !== null) await writeHomeConfig(workspace);
    // All must have ended before anything is removed, or one would go on writing into what is gone.
    const [, , baseTree] = await allEnded([
      makeRecord(workspace).then(() => checkOut(workspace, signal)),
      makeAgentGit(workspace),
      treeOf(mirror, commit),
    ]);
    await giveIndex(workspace);
    return { ...workspace, baseTree };
  } catch (error) {
    // Who spawns it undoes that once more, and tells when it cannot be done.
    await forgetAgentGit(workspace).catch(() => undefined);
    await Promise.all([workspacePath, recordDir, join(cellDir, 'worktree')].map(path => removeTree(path)));
    throw error instanceof CellpoolError
      ? error
      : new CellpoolError('SPAWN_FAILED', `the workspace cannot be made in ${cellDir}`, { cause: error });
  }
}

/**
 * Brings a workspace in which nobody has worked yet to another commit, pinned like the first: only the files that
 * differ are written. The agent's branch is moved by `switchBranch`. @throws {CellpoolError} SPAWN_FAILED
 */
export async function moveTo(workspace: Workspace, commit: string): Promise<Workspace> {
  const moved = { ...workspace, baseCommit: commit };
  const [baseTree] = await allEnded([treeOf(workspace.mirror, commit), readTree(moved)]);
  await giveIndex(moved);
  return { ...moved, baseTree };
}

/**
 * Puts a workspace in which nobody has worked yet into a cell, at the commit and on the branch wanted. Of the files only
 * those that differ are written. Nothing is left in the cell when it fails.
 * @throws {CellpoolError} SPAWN_FAILED when it would not become what a fresh one is, GIT_FAILED; the file system's error
 */
export async function handOver(spare: Workspace, { commit, cellDir, branch }: WorkspaceOptions): Promise<Workspace> {
  const moved = { ...spare, workspacePath: join(cellDir, 'workspace'), recordDir: join(cellDir, 'record.git') };
  const isSame = commit === spare.baseCommit && !(await isShallow(spare.mirror));
  if (!isSame && (await pathsToMove(spare, commit)) === null) {
    throw new CellpoolError('SPAWN_FAILED', `a workspace at ${spare.baseCommit} cannot be brought to ${commit}`);
  }
  try {
    await rename(spare.workspacePath, moved.workspacePath);
    await rename(spare.recordDir, moved.recordDir);
    const current = isSame ? moved : await moveTo(moved, commit);
    await switchBranch(current, branch);
    return { ...current, branch };
  } catch (error) {
    await Promise.all([moved.workspacePath, moved.recordDir].map(path => removeTree(path)));
    throw error;
  }
}

/** Whether the history that the workspaces of a mirror borrow is cut off, now: that may change with any fetch. */
export function isShallow(mirror: Mirror): Promise<boolean> {
  return isThere(join(mirror.path, 'shallow'));
}

/**
 * What another commit has otherwise than the base of a workspace, as paths; null when `moveTo` would not make of it
 * what that commit is: attributes say in what form files lie there, those that have not changed, too, and where the
 * source's history is cut off, what is borrowed may end elsewhere by now. @throws {CellpoolError} GIT_FAILED
 */
export async function pathsToMove({ mirror, baseCommit }: Workspace, commit: string): Promise<string[] | null> {
  if (await isShallow(mirror)) return null;
  const paths = await changedPaths({ gitDir: mirror.path }, baseCommit, commit);
  return paths.some(path => basename(path) === '.gitattributes') ? null : paths;
}

/** The tree of the commit that was asked for last, for the cells of a mirror mostly begin at one commit. */
const trees = new Map<string, { commit: string; tree: string }>();

async function treeOf(mirror: Mirror, commit: string): Promise<string> {
  const known = trees.get(mirror.path);
  if (known?.commit === commit) return known.tree;
  const args = ['rev-parse', '--verify', `${commit}^{tree}`];
  const tree = (await ownGitOk(args, { gitDir: mirror.path }, 'SPAWN_FAILED')).trim();
  trees.set(mirror.path, { commit, tree });
  return tree;
}

/** The record of a workspace, as the functions of src/git take it. */
export function recordOf(workspace: Workspace): WorkRecord {
  const { recordDir: gitDir, workspacePath: workTree, mirror } = workspace;
  return { gitDir, workTree, index: join(gitDir, 'index'), format: mirror.format };
}

/** Checks out the base with a fresh index; files that are in the way are overwritten. */
export async function checkOut(workspace: Workspace, signal?: AbortSignal): Promise<void> {
  const record = recordOf(workspace);
  // A git that crashed or was killed has left its lock; nobody else works on the record.
  for (const file of [record.index, `${record.index}.lock`]) await rm(file, { force: true });
  await readTree(workspace, signal);
}

async function readTree(workspace: Workspace, signal?: AbortSignal): Promise<void> {
  const args = ['read-tree', '-u', '--reset', workspace.baseCommit];
  const config = [`checkout.workers=${CHECKOUT_WORKERS}`];
  await ownGitOk(args, { ...recordOf(workspace), config, signal }, 'SPAWN_FAILED');
}

async function makeRecord(workspace: Workspace): Promise<void> {
  await initBorrowing({ mirror: workspace.mirror, gitDir: workspace.recordDir, on: null });
  // It does not outlive the cell, so no object in it need survive a power cut.
  await appendFile(join(workspace.recordDir, 'config'), '[core]\n\tfsync = none\n');
}

/** Whether the workspace is a folder still: an agent may have put a link to somewhere else in its place. */
export async function isInPlace(workspace: Workspace): Promise<boolean> {
  return lstat(workspace.workspacePath).then(
    found => found.isDirectory(),
    () => false,
  );
}

/** Empties the workspace folder but keeps it, for it may be somebody's current folder; a link there is replaced. */
export async function emptyWorkspace(workspace: Workspace): Promise<void> {
  const { workspacePath } = workspace;
  if (!(await isInPlace(workspace))) {
    await removeTree(workspacePath);
    await mkdir(workspacePath, { recursive: true });
    return;
  }
  await chmod(workspacePath, 0o777 & ~process.umask());
  // As bytes: a name that is no text would be asked for under another one, not be found, and pass for removed.
  const names = await readdir(workspacePath, { encoding: 'buffer' });
  for (const name of names) await removeTree(Buffer.concat([Buffer.from(`${workspacePath}/`), name]));
}

/**
 * Removes a cell's folder with all it holds, also what an agent has locked. Harmless when it is gone already. Call
 * it when the cell's processes have ended. @throws the file system's error when something cannot be removed.
 */
export async function removeWorkspace(cellDir: string): Promise<void> {
  await removeTree(cellDir);
}
