/** What a cell is like before a task comes: two tasks of one kind can be given the same cell. */
import { WARM } from '../redis/cell-record.ts';
import { type CheckedSpawnConfig, checkSpawnConfig, type SpawnConfig } from './spawn-config.ts';

/** The part of a spawn config that workspace, server and tools are made from. */
export type CellKind = Pick<CheckedSpawnConfig, 'branch' | 'model' | 'opencode' | 'allow' | 'python' | 'caches'>;

export function kindOf({ branch, model, opencode, allow, python, caches }: CellKind): CellKind {
  return { branch, opencode, allow, python, caches, ...(model === undefined ? {} : { model }) };
}

/** What a cell that is made ahead is to be like: the part of a `SpawnConfig` that is no task's. */
export type AgentKind = { [K in keyof CellKind]?: SpawnConfig[K] | undefined };

/** The kind with all that was left out. @throws {InvalidInput} naming every fault */
export function kindLike(like: AgentKind): CellKind {
  const given = Object.fromEntries(Object.entries(like).filter(([, value]) => value !== undefined));
  return kindOf(checkSpawnConfig({ ...given, agentId: WARM, taskId: WARM }));
}

/** The same for two kinds only if they are the same. */
export function markOf(kind: CellKind): string {
  const { branch, model = null, opencode, allow, python, caches } = kind;
  return JSON.stringify([branch, model, opencode, allow, python, caches]);
}
