/**
 * The place of a cell: its folder, its bounds, and a workspace at a commit. All that is made here is registered with the
 * caller's clean-up before it is made; programs of the cell are started by others.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { unpin } from '../git/mirror.ts';
import type { CleanupStack } from '../os/cleanup.ts';
import type { DiskWatch, WatchedFolder } from '../os/disk-watch.ts';
import { Bounds } from '../os/resource-limits.ts';
import type { CellRegistry } from '../redis/registry.ts';
import { forgetAgentGit, type LinkedTo } from './agent-git.ts';
import { type CellFolders, makeCellFolders } from './environment.ts';
import type { SpawnerSite } from './spawner-site.ts';
import { removeWorkspace, type Workspace } from './workspace.ts';

export interface PlaceOptions {
  site: SpawnerSite;
  disks: DiskWatch;
  /** Of the cell. */
  id: string;
  /** Folder for its logs, which is there; null: one of the cell's own. */
  artifacts: string | null;
  /** Short name of the branch that programs find themselves on. */
  branch: string;
  /** Where its workspace is a worktree; null: it is a clone. */
  worktree: LinkedTo | null;
  cleanup: CleanupStack;
  /** Tells the registry what there will be. */
  enter(changes: Parameters<CellRegistry['update']>[1]): Promise<unknown>;
  /** Told of each step before it is done. */
  at(step: string): void;
  /** Pins the commit of the workspace in the mirror, under the cell's id, and returns it. */
  pin(): Promise<string>;
}

export interface CellPlace {
  dir: string;
  folders: CellFolders;
  artifacts: string;
  bounds: Bounds;
  disk: WatchedFolder;
  workspace: Workspace;
}

/** @throws what its steps throw; what was made by then is the caller's to undo, by `cleanup` */
export async function makePlace({ site, id, cleanup, enter, at, ...given }: PlaceOptions): Promise<CellPlace> {
  const dir = join(site.home, 'cells', id);
  const artifacts = given.artifacts ?? join(dir, 'artifacts');
  at('cell folder');
  // What goes wrong before that is put right by the reaper, which looks for the cell's processes in this place.
  cleanup.add('cell folder', faults => (faults.length === 0 ? site.discard(dir) : removeWorkspace(dir)));
  await mkdir(dir, { recursive: true, mode: 0o700 });
  if (given.artifacts === null) await mkdir(artifacts, { mode: 0o700 });
  const folders = await makeCellFolders(dir);

  at('limits');
  const bounds = await Bounds.plan(site.home, id, site.limits);
  if (bounds.groups.length > 0) await enter({ groups: [...bounds.groups] });
  cleanup.add('limits', () => bounds.remove());
  await bounds.make();
  const disk = given.disks.watch(dir, site.limits.diskMb);
  cleanup.add('disk watch', async () => disk.stop());

  at('workspace');
  const { worktree, branch } = given;
  cleanup.add('base pin', () => unpin(site.mirror, id), 'beside');
  const commit = await given.pin();
  cleanup.add('worktree', () => forgetAgentGit({ worktree }));
  if (worktree !== null) await enter({ worktree: site.source.gitDir });
  const workspace = await site.workspaces({ mirror: site.mirror, commit, cellDir: dir, branch, worktree });
  return { dir, folders, artifacts, bounds, disk, workspace };
}
