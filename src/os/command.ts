/** A shell command of the operator (setup, test): run in its own group, bounded in time and output, nothing left. */
import { BoundedLog } from './bounded-log.ts';
import { killStrays, startProcess } from './process.ts';

export interface CommandOptions {
  cwd: string;
  env: Record<string, string>;
  logPath: string;
  timeoutMs: number;
  signal?: AbortSignal | undefined;
  /** An entry of `env` that names what the command started and left behind. */
  marker: string;
}

export interface CommandResult {
  /** null when the time limit, a cancellation or a signal ended it. */
  exitCode: number | null;
  signal: NodeJS.Signals | null;
  timedOut: boolean;
  durationMs: number;
  /** The end of what it printed. */
  tail: string;
}

/** Between SIGTERM and SIGKILL, so that a test runner can remove its own temporary files. */
const GRACE_MS = 2_000;

/** Runs `command` through `sh`; its exit code is the answer, not an error. */
export async function runCommand(command: string, options: CommandOptions): Promise<CommandResult> {
  const began = performance.now();
  const log = new BoundedLog(options.logPath);
  const child = await startProcess(['/bin/sh', '-c', command], { cwd: options.cwd, env: options.env, log });
  const limit = AbortSignal.timeout(options.timeoutMs);
  const ended = await new Promise<'exit' | 'timeout' | 'cancel'>(resolve => {
    void child.exited.then(() => resolve('exit'));
    limit.addEventListener('abort', () => resolve('timeout'), { once: true });
    options.signal?.addEventListener('abort', () => resolve('cancel'), { once: true });
    if (options.signal?.aborted) resolve('cancel');
  });
  await child.stop(ended === 'exit' ? 0 : GRACE_MS);
  await killStrays(options.marker, null);
  return {
    exitCode: ended === 'exit' ? (child.endedWith?.exitCode ?? null) : null,
    signal: child.endedWith?.signal ?? null,
    timedOut: ended === 'timeout',
    durationMs: Math.round(performance.now() - began),
    tail: log.tail(),
  };
}
