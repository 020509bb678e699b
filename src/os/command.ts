/** A shell command of the operator (setup, test): run in its own group, bounded in time and output, nothing left. */
import { setTimeout as sleep } from 'node:timers/promises';
import { BoundedLog, type ByteFilter } from './bounded-log.ts';
import type { Argv } from './leash.ts';
import { killStrays, type OwnedProcess, type StartOptions, startProcess } from './process.ts';

export interface CommandOptions {
  cwd: string;
  /** The argv that is started for the shell's: with its end everything ends that the shell has started. */
  wrap?: ((argv: Argv) => Argv) | undefined;
  env: Record<string, string>;
  logPath: string;
  /** Stands before the log and the tail. */
  filter?: ByteFilter | undefined;
  timeoutMs: number;
  signal?: AbortSignal | undefined;
  /** An entry of `env` that names what the command started and left behind. */
  marker: string;
  /** As `startProcess` takes it. */
  limits?: StartOptions['limits'];
}

export interface CommandResult {
  /** null when the time limit, a cancellation or a signal ended it. */
  exitCode: number | null;
  signal: NodeJS.Signals | null;
  timedOut: boolean;
  durationMs: number;
  /** The end of what it printed. */
  tail: string;
  /** Why the log is incomplete; null when it is not. */
  logProblem: Error | null;
}

/**
 * Between SIGTERM and SIGKILL, so that a test runner can remove its own temporary files. Whoever cancels waits for it,
 * and is to see the end within 2 s, of which teardown needs its share.
 */
const GRACE_MS = { exit: 0, timeout: 2_000, cancel: 500 } as const;

/** Runs `command` through `sh`; its exit code is the answer, not an error. Cancelled already, it is not started. */
export async function runCommand(command: string, options: CommandOptions): Promise<CommandResult> {
  const began = performance.now();
  if (options.signal?.aborted)
    return { exitCode: null, signal: null, timedOut: false, durationMs: 0, tail: '', logProblem: null };
  const log = new BoundedLog(options.logPath, undefined, options.filter);
  const shell: Argv = ['/bin/sh', '-c', command];
  const child = await startProcess(options.wrap?.(shell) ?? shell, {
    cwd: options.cwd,
    env: options.env,
    log,
    // Of a second pid namespace around that of `wrap` there is nothing to be had but the time it takes.
    leash: options.wrap === undefined ? 'no-user-namespace' : 'itself',
    limits: options.limits,
  });
  const ended = await endOf(child, options);
  try {
    await child.stop(GRACE_MS[ended]);
  } finally {
    await killStrays(options.marker, null);
  }
  return {
    exitCode: ended === 'exit' ? (child.endedWith?.exitCode ?? null) : null,
    signal: child.endedWith?.signal ?? null,
    timedOut: ended === 'timeout',
    durationMs: Math.round(performance.now() - began),
    tail: log.tail(),
    logProblem: log.problem,
  };
}

async function endOf(child: OwnedProcess, options: CommandOptions): Promise<keyof typeof GRACE_MS> {
  if (options.signal?.aborted) return 'cancel';
  const over = new AbortController();
  const cancelled = new Promise<'cancel'>(resolve => {
    options.signal?.addEventListener('abort', () => resolve('cancel'), { once: true, signal: over.signal });
  });
  const late = sleep(options.timeoutMs, 'timeout' as const, { signal: over.signal });
  try {
    return await Promise.race([child.exited.then(() => 'exit' as const), late, cancelled]);
  } finally {
    // A job's signal outlives the command: no timer and no listener stays with it.
    over.abort();
  }
}
