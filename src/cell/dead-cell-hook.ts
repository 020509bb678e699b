/** The `onFailure` hook of a cell whose worker died, in what is left of its workspace. */
import { lstat, realpath } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import type { Host } from '../config.ts';
import { messageOf } from '../errors.ts';
import type { Hooks } from '../job/hooks.ts';
import { branchOf } from '../job/names.ts';
import type { Logger } from '../observe/logger.ts';
import type { Redactor } from '../observe/redact.ts';
import type { Isolation } from '../os/isolation.ts';
import type { CellRecord } from '../redis/cell-record.ts';
import { groundsOf } from './enclosure.ts';
import type { HookCallback, HookFacts } from './hook-facts.ts';
import { callbackFault, commandFault, limitOf, soFar } from './hooks.ts';
import { pythonOf } from './python-environment.ts';

export interface DeadCell {
  record: CellRecord;
  isolation: Isolation;
  /** Hosts its commands may call, where the isolation restricts it. */
  allowed: readonly Host[];
  log: Logger;
  /** Of the task's plan. */
  hooks: Hooks | undefined;
  hookMs: number | undefined;
  /** Names of the worker's variables that commands get. */
  env: { commands: readonly string[] };
  redactor: Redactor;
  /** Called after the command, also when that failed. */
  callback?: HookCallback | undefined;
}

/**
 * Runs `onFailure` for a cell whose worker died, in its workspace if that is still there. Call it when all of the
 * cell's processes have ended. Never throws: returns what went wrong, or null.
 */
export async function runFailureHookOfDead(dead: DeadCell): Promise<string | null> {
  const { record, isolation, allowed, hooks, hookMs, env, log, redactor, callback } = dead;
  const command = hooks?.onFailure;
  if (command === undefined && callback === undefined) return null;
  try {
    const { home, cellId, taskId, attempt } = record;
    if (taskId === null) return null;
    const folder = (path: string) => folderBelow(home, path);
    const ofCell = (name: string) => folder(join(home, 'cells', cellId, name));
    const [workspace, ownHome, temp, artifacts] = await Promise.all([
      ...['workspace', 'home', 'tmp'].map(ofCell),
      folder(record.artifacts),
    ]);
    const other = artifacts ?? tmpdir();
    const error = { code: 'WORKER_DIED', message: 'the worker died during the attempt' };
    const facts: HookFacts = {
      ...soFar({ outcome: 'failed', error }),
      ...{ hook: 'onFailure', taskId, agentId: taskId, attempt, cellId, branch: branchOf(taskId) },
      ...{ port: record.port?.port ?? null, baseCommit: null, tokens: 0 },
      ...{ workspace: workspace ?? null, artifacts: artifacts ?? null },
    };
    const timeoutMs = limitOf(command, hookMs);
    const faults: string[] = [];
    if (command !== undefined) {
      const folders = { home: ownHome ?? other, temp: temp ?? other };
      const grounds = groundsOf(isolation, groundsOfRecord(record), []);
      const dir = ownHome == null ? null : dirname(ownHome);
      const inside = { cellId, cwd: workspace ?? other, folders, dir, allowed };
      const python = ownHome == null ? null : await pythonOf(ownHome);
      const place = { ...inside, python, artifacts: facts.artifacts, grounds, log, redactor };
      const ids = { taskId, agentId: taskId };
      const fault = await commandFault(command, { place, facts, ids, passed: env.commands, timeoutMs });
      if (fault !== null) faults.push(`hook onFailure ${fault}`);
    }
    if (callback !== undefined) {
      const fault = await callbackFault(callback, facts, timeoutMs, undefined);
      if (fault !== null) faults.push(`the callback of hook onFailure ${fault}`);
    }
    return faults.length === 0 ? null : faults.join('; ');
  } catch (error) {
    return `hook onFailure could not be run: ${messageOf(error)}`;
  }
}

function groundsOfRecord({ home, repository, worktree, mirror }: CellRecord) {
  return { home, source: { path: repository, gitDir: worktree ?? repository }, objects: join(mirror, 'objects') };
}

/** The path, if it is a folder below `root` and no link on the way leads elsewhere; else null. */
async function folderBelow(root: string, path: string): Promise<string | null> {
  const inner = relative(root, path);
  if (inner === '' || inner.startsWith('..')) return null;
  try {
    const [realRoot, real] = await Promise.all([realpath(root), realpath(path)]);
    return real === join(realRoot, inner) && (await lstat(real)).isDirectory() ? real : null;
  } catch {
    // Whatever it is, it is no folder to work in.
    return null;
  }
}
