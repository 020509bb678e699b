/**
 * What the agent finds as `.git` in its workspace. The worker never looks at it again.
 *
 * | workspace | what it is                                                                                              |
 * |-----------|---------------------------------------------------------------------------------------------------------|
 * | clone     | a repository of the cell's own that borrows the mirror's objects                                        |
 * | worktree  | a linked worktree of the user's repository, with all its refs, config, hooks and stash: isolates nothing |
 */
import { appendFile, copyFile, mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { WORKSPACES } from '../config.ts';
import { initBorrowing, moveBranch } from '../git/borrowing.ts';
import type { Mirror } from '../git/mirror.ts';
import type { Source } from '../git/source.ts';
import { addWorktree, giveWorktreeIndex, movedWorktree, removeRegistration } from '../git/worktree.ts';
import { cellMarker } from './environment.ts';

export type WorkspaceKind = (typeof WORKSPACES)[number];

export interface Author {
  name: string;
  email: string;
}

/** Of whose repository the workspace is a worktree, and under which name: the cell's id. */
export interface LinkedTo {
  source: Source;
  id: string;
}

/** A workspace, as far as it takes to make a `.git` in it. */
export interface AgentGitPlace {
  workspacePath: string;
  recordDir: string;
  /** Full id of the commit the agent starts from. */
  baseCommit: string;
  /** Short name of the branch the agent finds itself on; in a worktree it is on none. */
  branch: string;
  author: Author;
  mirror: Mirror;
  /** null: a clone. */
  worktree: LinkedTo | null;
}

const gitPath = ({ workspacePath }: AgentGitPlace) => join(workspacePath, '.git');

/** Makes it, with no remote and no hook of ours. Whatever stood in the workspace as `.git` must be gone. */
export async function makeAgentGit(place: AgentGitPlace): Promise<void> {
  if (place.worktree === null) await makeClone(place);
  else await makeWorktree(place, place.worktree);
}

/** Lets the agent's git know the files' sizes and times too, so that its first status need not read them all. */
export async function giveIndex(place: AgentGitPlace): Promise<void> {
  const index = join(place.recordDir, 'index');
  if (place.worktree === null) await copyFile(index, join(gitPath(place), 'index'));
  else await giveWorktreeIndex(place.worktree.source, place.worktree.id, index);
}

/**
 * Puts the agent on another branch, at `baseCommit`; its files are to be there already. Only before an agent has
 * worked there. In a worktree it is on none, and stays so.
 */
export async function switchBranch(place: AgentGitPlace, branch: string): Promise<void> {
  if (place.worktree !== null) return;
  await moveBranch(gitPath(place), place.branch, { branch, commit: place.baseCommit });
}

/** Removes what of it does not lie in the workspace; harmless when there is nothing. */
export async function forgetAgentGit({ worktree }: Pick<AgentGitPlace, 'worktree'>): Promise<void> {
  if (worktree !== null) await removeRegistration(worktree.source.gitDir, worktree.id);
}

async function makeClone(place: AgentGitPlace): Promise<void> {
  const { mirror, branch, baseCommit: commit } = place;
  const gitDir = gitPath(place);
  await initBorrowing({ mirror, gitDir, on: { branch, commit } });
  await appendFile(join(gitDir, 'config'), settings(place.author));
}

async function makeWorktree(place: AgentGitPlace, { source, id }: LinkedTo): Promise<void> {
  await forgetAgentGit(place);
  // Git names a registration by the last part of the path, which the workspace has in common with all others.
  const folder = join(dirname(place.workspacePath), 'worktree');
  const path = join(folder, id);
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  await addWorktree({ source, path, commit: place.baseCommit, marker: cellMarker(id) });
  await rename(join(path, '.git'), gitPath(place));
  await rm(folder, { recursive: true, force: true });
  await movedWorktree(source, id, gitPath(place));
}

/**
 * What a worktree cannot be told in a config of its own stands in that of the cell's HOME. Call it before an agent is
 * at work there. The repository outlives the agent's git, whose view of other worktrees is wrong: nothing is cleared up.
 */
export async function writeHomeConfig(place: AgentGitPlace): Promise<void> {
  const home = join(dirname(place.workspacePath), 'home');
  await mkdir(home, { recursive: true, mode: 0o700 });
  const text = `${settings(place.author)}\tworktreePruneExpire = never\n[maintenance]\n\tauto = false\n`;
  await writeFile(join(home, '.gitconfig'), text, { flag: 'wx' });
}

const settings = ({ name, email }: Author) =>
  `[user]\n\tname = ${quoted(name)}\n\temail = ${quoted(email)}\n[gc]\n\tauto = 0\n`;

const quoted = (value: string) => `"${value.replace(/[\\"]/g, '\\$&').replace(/\s/g, ' ')}"`;
