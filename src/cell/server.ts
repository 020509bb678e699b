/** The cell's opencode server: started in its own group with a listed environment, handed out only when proven ours. */
import { existsSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import { createOpencodeClient } from '@opencode-ai/sdk/v2/client';
import { mergeConfig } from '../config.ts';
import { ARTIFACTS } from '../observe/artifacts.ts';
import type { Logger } from '../observe/logger.ts';
import type { Redactor } from '../observe/redact.ts';
import { BoundedLog } from '../os/bounded-log.ts';
import type { IsolationLevel } from '../os/isolation.ts';
import { type OwnedProcess, type StartOptions, startProcess } from '../os/process.ts';
import { readProcess } from '../os/process-table.ts';
import type { CellServer } from './cell.ts';
import { type EnclosedCell, type Grounds, openEnclosure } from './enclosure.ts';
import { LOOPBACK } from './held-port.ts';
import { authorization, waitUntilReady } from './ready.ts';

export interface BootOptions {
  binary: string;
  port: number;
  workspacePath: string;
  env: Record<string, string>;
  password: string;
  artifacts: string;
  /** Stands before the server's log. */
  redactor: Redactor;
  bootMs: number;
  limits?: StartOptions['limits'];
  grounds: Grounds;
  /** The cell as its enclosure needs it. */
  cell: Omit<EnclosedCell, 'cwd' | 'port'>;
  log: Logger;
  signal?: AbortSignal | undefined;
  /** Told of the process as soon as it exists, and waited for. */
  onStart?(process: { pid: number; startTime: string }): Promise<unknown> | undefined;
}

/**
 * Starts the server and waits until it is ready; one that fails is stopped before the error is thrown.
 * @throws {CellpoolError} SERVER_EXITED, SPAWN_FAILED, CANCELLED
 */
export async function bootServer(options: BootOptions): Promise<CellServer> {
  const { port, workspacePath: cwd } = options;
  const enclosure = await openEnclosure(options.grounds, { ...options.cell, cwd, port }, options.log);
  let process: OwnedProcess | null = null;
  const stop = async (graceMs: number) => {
    await process?.stop(graceMs);
    await enclosure.close();
  };
  try {
    process = await startProcess(enclosure.wrap([options.binary, 'serve', ...listenOn(port), '--pure']), {
      cwd,
      env: { ...options.env, ...enclosure.env },
      limits: options.limits,
      log: new BoundedLog(join(options.artifacts, ARTIFACTS.serverLog), undefined, options.redactor.stream()),
    });
    const baseUrl = `http://${LOOPBACK}:${port}`;
    const entry = await readProcess(process.pid);
    await options.onStart?.({ pid: process.pid, startTime: entry?.startTime ?? '' });
    const version = await waitUntilReady(process, { ...options, baseUrl });
    const headers = { Authorization: authorization(options.password) };
    return { process, stop, baseUrl, version, client: createOpencodeClient({ baseUrl, headers }) };
  } catch (error) {
    await stop(0);
    throw error;
  }
}

const listenOn = (port: number) => ['--port', String(port), '--hostname', LOOPBACK];

/** Rules for agents that repositories keep, as opencode knows them; the first that is there counts. */
export const RULES = ['AGENTS.md', 'CLAUDE.md'];

/**
 * The config of a cell's server: what unattended work needs, under what the operator says. A project config in the
 * workspace is switched off, because opencode rewrites it there and the agent's commit would hold that; so the rules
 * that opencode would read beside it are named here.
 */
export function opencodeConfig(
  { workspacePath, model, isolation }: { workspacePath: string; model?: string | undefined; isolation: IsolationLevel },
  ...sections: Record<string, unknown>[]
): Record<string, unknown> {
  const ours = {
    // Nobody is there to answer; what an agent may do is bounded by its cell, not by questions. Where nothing bounds
    // it, its tools at least refuse files outside the workspace.
    permission: { '*': 'allow', ...(isolation === 'process' ? { external_directory: 'deny' } : {}) },
    share: 'disabled',
    autoupdate: false,
    // For its own undo opencode would put the whole workspace into a repository before and after each of its steps.
    snapshot: false,
    ...(model === undefined ? {} : { model }),
  };
  const config = sections.reduce(mergeConfig, ours);
  const rules = RULES.map(name => join(workspacePath, name)).find(path => existsSync(path));
  const named = Array.isArray(config.instructions) ? config.instructions.map(String) : [];
  const absolute = named.map(path => (isRelativePath(path) ? join(workspacePath, path) : path));
  return { ...config, instructions: [...(rules === undefined ? [] : [rules]), ...absolute] };
}

function isRelativePath(path: string): boolean {
  return !isAbsolute(path) && !path.startsWith('~') && !/^https?:/.test(path);
}
