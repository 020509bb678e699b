/**
 * A process that we own: started in a group of its own, its output bounded, stopped as a whole and verified gone.
 * Node's own `spawn` is used because its `exit` event does not wait for pipes that a left-over daemon keeps open.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { CellpoolError } from '../errors.ts';
import type { BoundedLog } from './bounded-log.ts';
import { findStrays, groupIsAlive, killEntry, signalGroup } from './process-table.ts';

export interface StartOptions {
  cwd: string;
  /** The whole environment of the process; nothing of ours is added. */
  env: Record<string, string>;
  /** Takes both outputs; closed when the process has ended. */
  log: BoundedLog;
  onOutput?: (text: string) => void;
}

export interface Exit {
  exitCode: number | null;
  signal: NodeJS.Signals | null;
}

export interface OwnedProcess {
  readonly pid: number;
  /** Resolves when the process itself has ended; never rejects. */
  readonly exited: Promise<Exit>;
  /** How it ended, or null while it runs. */
  readonly endedWith: Exit | null;
  readonly log: BoundedLog;
  /** Ends the whole group: SIGTERM, after `graceMs` SIGKILL, then waits until none is left. Harmless when repeated. */
  stop(graceMs: number): Promise<void>;
}

/** After SIGKILL the kernel needs a moment to take back memory; longer than this something is wrong. */
const GONE_MS = 5_000;
const POLL_MS = 5;

/** Starts `argv`. @throws whatever the start fails with (`ENOENT`, `EACCES`). */
export async function startProcess(argv: readonly [string, ...string[]], options: StartOptions): Promise<OwnedProcess> {
  const [file, ...args] = argv;
  const child = spawn(file, args, {
    cwd: options.cwd,
    env: options.env,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const pid = await started(child);
  killWithUs(pid);

  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (chunk: Buffer) => {
      options.log.write(chunk);
      options.onOutput?.(chunk.toString('utf8'));
    });
    // A broken pipe of a killed child says nothing that `exit` does not say.
    stream?.on('error', () => undefined);
  }

  let exit: Exit | null = null;
  const exited = new Promise<Exit>(resolve => {
    child.once('exit', (exitCode, signal) => {
      exit = { exitCode, signal };
      resolve(exit);
    });
  });
  let stopping: Promise<void> | null = null;
  return {
    pid,
    exited,
    get endedWith() {
      return exit;
    },
    log: options.log,
    stop(graceMs) {
      stopping ??= stopGroup(pid, exited, graceMs).finally(() => {
        groups.delete(pid);
        child.stdout?.destroy();
        child.stderr?.destroy();
        return options.log.close();
      });
      return stopping;
    },
  };
}

function started(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('spawn', () => {
      child.off('error', reject);
      child.on('error', () => undefined);
      resolve(child.pid as number);
    });
  });
}

async function stopGroup(group: number, exited: Promise<Exit>, graceMs: number): Promise<void> {
  if (graceMs > 0 && signalGroup(group, 'SIGTERM')) {
    const leader = await Promise.race([exited.then(() => true), sleep(graceMs, false, { ref: false })]);
    if (leader && !(await groupIsAlive(group))) return;
  }
  signalGroup(group, 'SIGKILL');
  const deadline = Date.now() + GONE_MS;
  while (await groupIsAlive(group)) {
    if (Date.now() > deadline) {
      throw new CellpoolError('INTERNAL', `process group ${group} is still there ${GONE_MS} ms after SIGKILL`);
    }
    await sleep(POLL_MS);
  }
  await exited;
}

/** Kills what left its process group: see `findStrays`. Returns how many were found. */
export async function killStrays(marker: string, folder: string | null): Promise<number> {
  const deadline = Date.now() + GONE_MS;
  let count = 0;
  // A stray may start another one between the look and the kill: look until none is found.
  for (;;) {
    const strays = await findStrays(marker, folder);
    if (strays.length === 0) return count;
    if (Date.now() > deadline) {
      throw new CellpoolError('INTERNAL', `${strays.length} processes of ${marker} survive SIGKILL`);
    }
    count += strays.length;
    await Promise.all(strays.map(killEntry));
    await sleep(POLL_MS);
  }
}

const groups = new Set<number>();

/** Our end, however it comes (but SIGKILL), ends the groups that we started. */
function killWithUs(group: number): void {
  if (groups.size === 0 && !process.listeners('exit').includes(killGroups)) process.on('exit', killGroups);
  groups.add(group);
}

function killGroups(): void {
  for (const group of groups) signalGroup(group, 'SIGKILL');
}
