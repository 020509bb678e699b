/**
 * A cell that was made ahead is given its task: entered under it, brought to the base's tip of now, and put on the
 * task's branch. It is used once, like any other.
 */
import { mkdir, readdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { pinBase } from '../git/mirror.ts';
import { allEnded } from '../os/all-ended.ts';
import { whileWanted } from '../os/within.ts';
import { switchBranch } from './agent-git.ts';
import type { PreparedCell } from './cell.ts';
import { loginOf } from './environment.ts';
import { looksLikePython } from './python-environment.ts';
import { askHealth } from './ready.ts';
import type { RecordedTask } from './registration.ts';
import { RULES } from './server.ts';
import { isSound } from './shelf.ts';
import type { SpawnerSite } from './spawner-site.ts';
import { moveTo, pathsToMove, type Workspace } from './workspace.ts';

export interface GivenTask {
  task: RecordedTask;
  /** Short name of the branch the agent is to find itself on. */
  branch: string;
  /** Folder that outlives the cell. */
  artifacts: string;
}

/** Where many cells are taken at once, servers wait seconds for a processor; to start another one takes longer still. */
const HEALTH_MS = 10_000;

/**
 * The cell as it is then; null when it cannot be had for this task, and is to be removed.
 * @throws {CellpoolError} UNKNOWN_BASE, SPAWN_FAILED, GIT_FAILED; the signal's reason on abort. It is to be removed
 * then as well.
 */
export async function giveTask(
  site: SpawnerSite,
  cell: PreparedCell,
  { task, branch, artifacts }: GivenTask,
  signal: AbortSignal | undefined,
): Promise<PreparedCell | null> {
  if (!isSound(cell) || cell.login !== (await loginOf(cell.model))) return null;
  cell.log.setBindings({ task: task.taskId, attempt: task.attempt });
  // The reaper must know whose it is before anything is done with it.
  const now = { ...task, artifacts, stage: 'spawn' as const, createdAt: Date.now() };
  await whileWanted(signal, Promise.resolve(cell.registry?.update(cell.id, now)));
  const [workspace, healthy] = await allEnded([
    onBranch(site, cell, branch, signal),
    whileWanted(signal, isHealthy(cell)),
  ]);
  if (workspace === null || !healthy || !isSound(cell)) return null;
  await moveLogs(cell.artifacts, artifacts);
  return { ...cell, artifacts, workspace, createdAt: new Date(now.createdAt) };
}

/** At once when the server has ended. */
async function isHealthy({ server: { baseUrl, process }, password }: PreparedCell): Promise<boolean> {
  const ended = process.exited.then(() => null);
  return (await Promise.race([askHealth(baseUrl, password, HEALTH_MS), ended])) !== null;
}

async function onBranch(
  site: SpawnerSite,
  { id, kind, workspace }: PreparedCell,
  branch: string,
  signal: AbortSignal | undefined,
): Promise<Workspace | null> {
  const tip = await pinBase(site.mirror, site.source, kind.branch, id, signal, kind.commit);
  let current = workspace;
  if (tip !== workspace.baseCommit) {
    if (workspace.worktree !== null || (await decidesOtherwise(workspace, tip))) return null;
    current = await moveTo(workspace, tip);
  }
  await switchBranch(current, branch);
  return { ...current, branch };
}

/** Whether the cell would have been made in another way, had this commit been the base. */
async function decidesOtherwise(workspace: Workspace, tip: string): Promise<boolean> {
  const paths = await pathsToMove(workspace, tip);
  if (paths === null) return true;
  const tops = [...new Set(paths.map(path => path.split('/')[0] ?? ''))];
  return looksLikePython(paths) || tops.some(name => RULES.includes(name) || SKILLS.includes(name));
}

/** Where opencode looks for skills, which it does once. */
const SKILLS = ['.agents', '.claude', '.opencode', 'skill', 'skills'];

/** The server's log goes on in the file it has open. */
async function moveLogs(from: string, to: string): Promise<void> {
  await mkdir(to, { recursive: true, mode: 0o700 });
  for (const name of await readdir(from)) await rename(join(from, name), join(to, name));
}
