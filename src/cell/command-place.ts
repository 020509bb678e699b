/** Where a command of the operator (setup, test, hook) works for a cell, and with what environment. */
import { devNull } from 'node:os';
import { join } from 'node:path';
import type { Logger } from '../observe/logger.ts';
import type { Redactor } from '../observe/redact.ts';
import { type CommandResult, runCommand } from '../os/command.ts';
import type { WatchedFolder } from '../os/disk-watch.ts';
import type { StartOptions } from '../os/process.ts';
import type { Cell } from './cell.ts';
import { type EnclosedCell, type Grounds, openEnclosure } from './enclosure.ts';
import { cellMarker, commandEnvironment } from './environment.ts';
import type { SpawnerSite } from './spawner-site.ts';

export interface CommandPlace extends Omit<EnclosedCell, 'port' | 'readable'> {
  grounds: Grounds;
  /** Where its output is kept; null: nowhere. */
  artifacts: string | null;
  /** What it prints is redacted before anybody reads it. */
  redactor: Redactor;
  /** The bounds of its cell; left out where there is no cell any more. */
  limits?: StartOptions['limits'];
  log: Logger;
}

export interface CommandAtOptions {
  /** Name of a file among the artifacts. */
  log: string;
  timeoutMs: number;
  signal?: AbortSignal | undefined;
  /** Left to the command as variables; null: it has to do with no task. */
  ids: { taskId: string; agentId: string } | null;
  /** Names of variables of the worker that it gets. */
  passed: readonly string[];
  /** More variables, which outrank all others. */
  env?: Record<string, string>;
  /** Further files and folders that it may read. */
  readable?: readonly string[];
}

/** The workspace of a cell. */
export function placeIn({ grounds }: SpawnerSite, cell: Cell): CommandPlace {
  const { id: cellId, dir, workspace, folders, artifacts, config, log, redactor, bounds, python } = cell;
  const cwd = workspace.workspacePath;
  const own = { folders, python, artifacts, redactor, limits: bounds.ofCommand, log };
  return { cellId, dir, cwd, grounds, allowed: config.allow, ...own };
}

/**
 * As `runAt`, for a command that ends when the cell outgrows its disk. @throws {CellpoolError} DISK_LIMIT when it has
 */
export async function runWatched(
  place: CommandPlace,
  { over: full }: WatchedFolder,
  command: string,
  options: CommandAtOptions,
): Promise<CommandResult> {
  const [unwanted, over] = [new AbortController(), new AbortController()];
  for (const signal of [full, options.signal]) {
    if (signal?.aborted) unwanted.abort();
    signal?.addEventListener('abort', () => unwanted.abort(), { once: true, signal: over.signal });
  }
  const ended = await runAt(place, command, { ...options, signal: unwanted.signal }).finally(() => over.abort());
  if (!options.signal?.aborted) full.throwIfAborted();
  return ended;
}

/** Runs `command` to its end; what it leaves running is killed. Its exit code is the answer, not an error. */
export async function runAt(place: CommandPlace, command: string, options: CommandAtOptions): Promise<CommandResult> {
  // A marker of its own: what this command leaves behind is killed, the cell's server is not.
  const commandId = `${place.cellId}/command`;
  const env = commandEnvironment(commandId, place.folders, options.ids, options.passed);
  const { readable = [] } = options;
  const enclosure = await openEnclosure(place.grounds, { ...place, readable }, place.log);
  try {
    return await runCommand(command, {
      wrap: place.grounds.isolation.level === 'process' ? undefined : enclosure.wrap,
      cwd: place.cwd,
      env: { ...env, ...enclosure.env, ...options.env },
      logPath: place.artifacts === null ? devNull : join(place.artifacts, options.log),
      filter: place.redactor.stream(),
      timeoutMs: options.timeoutMs,
      signal: options.signal,
      marker: cellMarker(commandId),
      limits: place.limits,
    });
  } finally {
    await enclosure.close();
  }
}
