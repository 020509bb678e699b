import { tmpdir } from 'node:os';
import { DEFAULTS } from '../config.ts';
import { CellpoolError, messageOf } from '../errors.ts';
import type { Hook, HookName } from '../job/hooks.ts';
import { branchOf } from '../job/names.ts';
import { hookLogOf } from '../observe/artifacts.ts';
import type { Logger } from '../observe/logger.ts';
import { TooLate, within } from '../os/within.ts';
import type { Cell } from './cell.ts';
import { type CommandPlace, placeIn, runAt } from './command-place.ts';
import { type AttemptSoFar, type HookCallback, type HookFacts, hookEnvironment } from './hook-facts.ts';
import { markSetupDone, snapshot } from './settle.ts';
import { checkSpawnConfig, type SpawnConfig } from './spawn-config.ts';
import type { SpawnerSite } from './spawner-site.ts';
import { isInPlace } from './workspace.ts';

export interface HookOptions extends Partial<AttemptSoFar> {
  /** Called after the command, also when that failed. */
  callback?: HookCallback | undefined;
  /** Cuts the hook short. */
  signal?: AbortSignal | undefined;
}

/** What these leave in the workspace was there before the agent, so it is no work of the agent's. */
const PREPARING: ReadonlySet<HookName> = new Set(['afterSpawn', 'beforeExecute']);

/** Runs one hook of a cell; harmless when the cell has none of that name. @throws {CellpoolError} HOOK_FAILED, CANCELLED */
export async function runHook(site: SpawnerSite, cell: Cell, name: HookName, options: HookOptions): Promise<void> {
  const { config, workspace } = cell;
  const command = config.hooks[name];
  if (command === undefined && options.callback === undefined) return;
  // The patch of what is reverted holds the agent's work, not what this hook does with it.
  if (name === 'onFailure' && !cell.disk.over.aborted) cell.snapshot ??= await snapshot(workspace).catch(() => null);
  // Where an agent has put a link in its place, a command would be let loose on somebody else's files.
  const inPlace = await isInPlace(workspace);
  const facts: HookFacts = {
    ...soFar(options),
    hook: name,
    taskId: config.taskId,
    agentId: config.agentId,
    attempt: config.attempt,
    cellId: cell.id,
    branch: cell.branch,
    port: cell.port.lease.port,
    baseCommit: workspace.baseCommit,
    workspace: inPlace ? workspace.workspacePath : null,
    artifacts: cell.artifacts,
    tokens: cell.tokensUsed,
  };
  const place = { ...placeIn(site, cell), cwd: facts.workspace ?? cell.artifacts };
  await runOne({ command, place, facts, site, log: cell.log, defaultMs: config.hookMs, ...options });
  if (PREPARING.has(name)) await markSetupDone(workspace);
}

/** Runs `onFailure` of a cell that could not be spawned, whose `error` says what there was. @throws as `runHook` */
export async function runSpawnFailureHook(
  site: SpawnerSite,
  config: SpawnConfig,
  error: CellpoolError | null,
  options: HookOptions,
): Promise<void> {
  const { taskId, agentId, attempt = 1 } = config;
  const fact = (name: string) => {
    const value = error?.facts[name];
    return typeof value === 'string' && value !== '' ? value : null;
  };
  const [cellId, artifacts] = [fact('cellId'), fact('artifacts')];
  const facts: HookFacts = {
    ...soFar(options),
    ...{ hook: 'onFailure', taskId, agentId, attempt, cellId, branch: branchOf(taskId), artifacts },
    ...{ port: null, baseCommit: null, workspace: null, tokens: 0 },
  };
  // Without a cell id the config itself was refused, and nothing of it is run.
  const checked = cellId === null ? null : checkSpawnConfig(config);
  const cwd = artifacts ?? tmpdir();
  const folders = { home: cwd, temp: cwd };
  const log = site.log.child({ task: taskId, attempt, cell: cellId });
  const { grounds, redactor } = site;
  const place = { cellId: cellId ?? '', dir: null, cwd, folders, artifacts, grounds, allowed: [], log, redactor };
  await runOne({ command: checked?.hooks.onFailure, place, facts, site, log, defaultMs: checked?.hookMs, ...options });
}

interface OneHook extends HookOptions {
  command: Hook | undefined;
  place: CommandPlace;
  facts: HookFacts;
  site: SpawnerSite;
  log: Logger;
  defaultMs: number | undefined;
}

async function runOne({ command, callback, place, facts, site, log, defaultMs, signal }: OneHook): Promise<void> {
  const { hook } = facts;
  const timeoutMs = limitOf(command, defaultMs);
  const faults: string[] = [];
  const began = performance.now();
  if (command !== undefined) {
    const { taskId, agentId } = facts;
    const options = { place, facts, ids: { taskId, agentId }, passed: site.env.commands, timeoutMs, signal };
    const fault = await commandFault(command, options);
    if (fault !== null) faults.push(`hook ${hook} ${fault}`);
  }
  if (callback !== undefined && !signal?.aborted) {
    const fault = await callbackFault(callback, facts, timeoutMs, signal);
    if (fault !== null) faults.push(`the callback of hook ${hook} ${fault}`);
  }
  if (signal?.aborted) throw new CellpoolError('CANCELLED', `cancelled during hook ${hook}`);
  if (faults.length === 0) {
    log.info({ hook, durationMs: Math.round(performance.now() - began) }, 'hook done');
    return;
  }
  log.warn({ hook, problem: faults.join('; ') }, 'hook failed');
  throw new CellpoolError('HOOK_FAILED', faults.join('; '), { facts: { hook } });
}

export interface CommandHook {
  place: CommandPlace;
  facts: Partial<HookFacts> & Pick<HookFacts, 'hook'>;
  ids: { taskId: string; agentId: string };
  passed: readonly string[];
  timeoutMs: number;
  signal?: AbortSignal | undefined;
}

export async function commandFault(hook: Hook, { place, facts, ...options }: CommandHook): Promise<string | null> {
  const env = hookEnvironment(facts);
  const command = typeof hook === 'string' ? hook : hook.run;
  try {
    const readable = place.artifacts === null ? [] : [place.artifacts];
    const ended = await runAt(place, command, { ...options, readable, log: hookLogOf(facts.hook), env });
    if (ended.exitCode === 0) return null;
    const how = ended.exitCode === null ? `was ended by ${ended.signal}` : `ended with code ${ended.exitCode}`;
    const said = ended.tail.trim().slice(-1_000);
    return `${ended.timedOut ? notDone(options.timeoutMs) : how}${said === '' ? '' : `: ${said}`}`;
  } catch (error) {
    return `could not be run: ${messageOf(error)}`;
  }
}

export async function callbackFault(
  callback: HookCallback,
  facts: HookFacts,
  timeoutMs: number,
  signal: AbortSignal | undefined,
): Promise<string | null> {
  try {
    await within(timeoutMs, signal, async over => callback(facts, over));
    return null;
  } catch (error) {
    return error instanceof TooLate ? notDone(timeoutMs) : `failed: ${messageOf(error)}`;
  }
}

const notDone = (timeoutMs: number) => `was not done after ${timeoutMs} ms`;

export function limitOf(hook: Hook | undefined, defaultMs: number | undefined): number {
  return (typeof hook === 'object' ? hook.timeoutMs : undefined) ?? defaultMs ?? DEFAULTS.hookMs;
}

export function soFar({ tests, outcome, error, commit }: HookOptions): AttemptSoFar {
  return { tests: tests ?? null, outcome: outcome ?? null, error: error ?? null, commit: commit ?? null };
}
