/** What others see of a cell and its agent, and what its steps return. */

import type { IsolationLevel } from '../os/isolation.ts';
import type { LimitLevels } from '../os/resource-limits.ts';
import type { WorkspaceKind } from './agent-git.ts';
import type { Cell, PreparedCell } from './cell.ts';
import { markOf } from './cell-kind.ts';
import { isSound } from './shelf.ts';

/** What anybody may know of a cell. */
export interface CellInfo {
  cellId: string;
  agentId: string;
  taskId: string;
  port: number;
  workspacePath: string;
  baseUrl: string;
  /** The branch a commit goes to. */
  branch: string;
  baseCommit: string;
  /** Of the server. */
  pid: number;
  opencodeVersion: string;
  isolation: IsolationLevel;
  /** What the agent finds as `.git`: a repository of its own, or a worktree of the user's, which isolates nothing. */
  workspace: WorkspaceKind;
  artifacts: string;
  /** How its limits are held on this machine. */
  limits: LimitLevels;
  createdAt: Date;
  tokensUsed: number;
  costUsd: number;
}

export interface SpawnedAgent {
  /** The agent id it was spawned with. */
  readonly id: string;
  readonly taskId: string;
  readonly cell: Readonly<Pick<CellInfo, 'cellId' | 'port' | 'workspacePath' | 'baseUrl'>>;
  readonly agent: { readonly name: string | null; readonly model: string | null; readonly opencodeVersion: string };
  readonly createdAt: Date;
  readonly tokensUsed: number;
}

export interface PreparedAgent {
  readonly cellId: string;
  /** The same for two only if they are of one kind. */
  readonly mark: string;
  readonly createdAt: Date;
  /** False once its server has ended, or what it had is lost: no task is given it any more. */
  readonly isSound: boolean;
}

export function preparedAgentOf(cell: PreparedCell): PreparedAgent {
  return { cellId: cell.id, mark: markOf(cell.kind), createdAt: cell.createdAt, isSound: isSound(cell) };
}

export interface CommitExtras {
  /** Further trailers of the message. */
  facts?: Record<string, string>;
  /** Asked just before the branch moves; when it throws, nothing moves. */
  fence?: (() => Promise<void>) | undefined;
  /** Ends the waiting for a repository that was named by URL. */
  signal?: AbortSignal | undefined;
}

export interface CommitResult {
  /** False when there was nothing to commit; the other facts are then null and empty. */
  committed: boolean;
  commit: string | null;
  branch: string | null;
  filesModified: string[];
  /** Whether what the agent added holds a secret that the worker knows; it is committed all the same. */
  secretInWork: boolean;
}

export interface RevertResult {
  /** Hash of the working tree, equal to the one at spawn. */
  tree: string;
  /** Path of the patch of what was reverted, and the files it touches; null and none when git cannot record it. */
  diff: string | null;
  filesModified: string[];
  /** The same in a line a file, with the lines added and removed; of many files the first. */
  summary: string;
  /** Whether the patch adds a secret that the worker knows. */
  secretInWork: boolean;
}

export function agentOf(cell: Cell): SpawnedAgent {
  const { config, server } = cell;
  return {
    id: config.agentId,
    taskId: config.taskId,
    cell: {
      cellId: cell.id,
      port: cell.port.lease.port,
      workspacePath: cell.workspace.workspacePath,
      baseUrl: server.baseUrl,
    },
    agent: { name: config.agent ?? null, model: config.model ?? null, opencodeVersion: server.version },
    createdAt: cell.createdAt,
    get tokensUsed() {
      return cell.tokensUsed;
    },
  };
}

export function infoOf(cell: Cell): CellInfo {
  return {
    cellId: cell.id,
    agentId: cell.config.agentId,
    taskId: cell.config.taskId,
    port: cell.port.lease.port,
    workspacePath: cell.workspace.workspacePath,
    baseUrl: cell.server.baseUrl,
    branch: cell.branch,
    baseCommit: cell.workspace.baseCommit,
    pid: cell.server.process.pid,
    opencodeVersion: cell.server.version,
    isolation: cell.isolation,
    workspace: cell.workspace.worktree === null ? 'clone' : 'worktree',
    artifacts: cell.artifacts,
    limits: cell.bounds.levels,
    createdAt: cell.createdAt,
    tokensUsed: cell.tokensUsed,
    costUsd: cell.costUsd,
  };
}
