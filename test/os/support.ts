/** Folders, fixtures and looks at processes for the tests of this room and of src/observe. */
import { spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished, vi } from 'vitest';
import { BoundedLog } from '../../src/os/bounded-log.ts';
import { type OwnedProcess, type StartOptions, startProcess } from '../../src/os/process.ts';

const project = fileURLToPath(new URL('../..', import.meta.url));

/** Only there are processes found that left their group. */
export const hasProc = process.platform === 'linux';

/** For a test whose programs say pids, which are others within a leash, or that asks what is done where there is none. */
export const WITHOUT_LEASH = { leash: 'none' } as const;

/** What the programs of these tests see of the world. */
export const PLAIN = { PATH: process.env.PATH ?? '' };

/** Long enough for any machine; a wait ends as soon as what it waits for is there. */
export const BOUND = { timeout: 20_000 };

/** A fresh folder that is gone when the test has ended. */
export function tempFolder(): string {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'os-')));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true, maxRetries: 3 }));
  return folder;
}

export function fixture(name: string): string {
  return join(project, 'test/fixtures', name);
}

/** argv of a fixture. */
export function program(name: string, ...args: string[]): [string, ...string[]] {
  return [process.execPath, fixture(name), ...args];
}

/** Starts `argv` in a fresh folder; whatever the test does, the group is gone after it. */
export async function own(
  argv: readonly [string, ...string[]],
  options: Partial<Pick<StartOptions, 'cwd' | 'env' | 'leash' | 'limits'>> & { headBytes?: number } = {},
): Promise<OwnedProcess & { folder: string; logPath: string; says(pattern: RegExp): Promise<string> }> {
  const folder = tempFolder();
  const logPath = join(folder, 'output.log');
  const log = new BoundedLog(logPath, options.headBytes);
  const { cwd = folder, env = PLAIN, leash = 'full', limits } = options;
  const owned = await startProcess(argv, { cwd, env, log, leash, limits });
  onTestFinished(() => owned.stop(0));
  const says = async (pattern: RegExp) => {
    await vi.waitFor(() => expect(log.tail()).toMatch(pattern), BOUND);
    return pattern.exec(log.tail())?.[1] ?? '';
  };
  return Object.assign(owned, { folder, logPath, says });
}

/** Starts a daemon of no group of ours that works in `cwd` with just `env`; it is gone after the test. */
export function leaveDaemon(cwd: string, env: Record<string, string>): number {
  const daemon = spawn('/bin/sleep', ['1000'], { cwd, env, detached: true, stdio: 'ignore' });
  const gone = new Promise(resolve => daemon.once('exit', resolve));
  onTestFinished(async () => {
    daemon.kill('SIGKILL');
    await gone;
  });
  return daemon.pid ?? 0;
}

/** Whether the process runs; a zombie does not. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    const stat = hasProc ? readFileSync(`/proc/${pid}/stat`, 'utf8') : '';
    return !/^[ZX]/.test(stat.slice(stat.lastIndexOf(')') + 2));
  } catch {
    return false;
  }
}

/** A number of seconds by which the processes of one test are known; those that still name it at its end are killed. */
export function uniqueName(): string {
  const name = `86400.${randomInt(1e9)}`;
  onTestFinished(() => {
    for (const pid of processesNaming(name)) process.kill(pid, 'SIGKILL');
  });
  return name;
}

/** The living processes with `name` in their command line, but for the worker of a fixture. */
export function processesNaming(name: string): number[] {
  const pids = readdirSync('/proc').filter(entry => /^\d+$/.test(entry));
  return pids.map(Number).filter(pid => isAlive(pid) && commandOf(pid).includes(name) && !isWorker(pid));
}

/** Those of them that are a `sleep`. */
export const sleepers = (name: string) => processesNaming(name).filter(pid => commandOf(pid).startsWith('sleep\0'));

export function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return ''; // It ended meanwhile.
  }
}

const isWorker = (pid: number) => /holds-a-(tree|command)\.mjs/.test(commandOf(pid));
