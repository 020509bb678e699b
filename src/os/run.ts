/** Run a program to its end: argv, listed environment, closed stdin, bounded output, a time limit. */
import { Socket } from 'node:net';
import { setImmediate as nextRound, setTimeout as sleep } from 'node:timers/promises';
import { execa, type Options, type Subprocess } from 'execa';
import { CellpoolError, type ErrorCode } from '../errors.ts';
import { forgetGroup, killWithUs } from './own-groups.ts';
import { signalGroup } from './process-table.ts';

export interface RunOptions {
  cwd?: string;
  /** The whole environment of the program; nothing of ours is added. */
  env: Record<string, string>;
  input?: string;
  /** Input and standard output are bytes that need not be text: one character each. */
  bytes?: boolean | undefined;
  /** Milliseconds; at the limit the program is killed. */
  timeoutMs?: number;
  signal?: AbortSignal | undefined;
  /** Most characters kept of each output; more makes the run fail. */
  maxOutput?: number;
}

export interface RunResult {
  stdout: string;
  stderr: string;
  /** null when a signal, the time limit, a cancellation, too much output or a failed start ended it. */
  exitCode: number | null;
  /** Why there is no exit code, in words. */
  problem: string | null;
}

const RUN_TIMEOUT_MS = 120_000;
const MAX_OUTPUT = 64 * 1024 * 1024;

/** The end of the output is still in its pipe when the program has ended; a daemon it left may hold that for ever. */
const DRAIN_MS = 250;

/**
 * Runs `argv` and reports how it ended; a non-zero exit code is not an error here. What it leaves in its process
 * group ends with it.
 */
export async function run(argv: readonly [string, ...string[]], options: RunOptions): Promise<RunResult> {
  const [file, ...args] = argv;
  if (options.signal?.aborted) {
    return { stdout: '', stderr: '', exitCode: null, problem: `${file} was cancelled before it started` };
  }
  const settings = {
    detached: true,
    env: options.env,
    extendEnv: false,
    reject: false,
    stripFinalNewline: false,
    timeout: options.timeoutMs ?? RUN_TIMEOUT_MS,
    maxBuffer: options.maxOutput ?? MAX_OUTPUT,
    killSignal: 'SIGKILL',
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    ...(options.signal === undefined ? {} : { cancelSignal: options.signal }),
    ...(options.bytes ? { encoding: 'buffer' as const } : {}),
    ...(options.input === undefined ? { stdin: 'ignore' } : { input: Buffer.from(options.input, textOf(options)) }),
  } satisfies Options;
  const child = execa(file, args, settings);
  const over = new AbortController();
  child.once('exit', () => void drain(child, settings.timeout, over.signal));
  if (child.pid !== undefined) killWithUs(child.pid);
  const result = await child;
  over.abort();
  // A program may end of itself as a limit is hit or its output is cut: its exit code would read as an answer.
  const wasCut = result.isMaxBuffer || result.timedOut || result.isCanceled || (result.failed && result.exitCode === 0);
  const exitCode = wasCut ? undefined : result.exitCode;
  return {
    stdout: told(result.stdout, textOf(options)),
    stderr: told(result.stderr, 'utf8'),
    exitCode: exitCode ?? null,
    problem: exitCode === undefined ? (result.shortMessage ?? 'ended without an exit code') : null,
  };
}

const textOf = ({ bytes }: RunOptions) => (bytes ? 'latin1' : 'utf8');

function told(output: unknown, encoding: 'latin1' | 'utf8'): string {
  return output instanceof Uint8Array ? Buffer.from(output).toString(encoding) : String(output ?? '');
}

/** Runs `argv` and returns what it printed. @throws {CellpoolError} of `code` on any exit code but 0. */
export async function runOk(
  argv: readonly [string, ...string[]],
  options: RunOptions,
  code: ErrorCode,
): Promise<string> {
  const result = await run(argv, options);
  if (result.exitCode === 0) return result.stdout;
  const said = result.stderr.trim().slice(-2_000) || result.problem || `exit code ${result.exitCode}`;
  throw new CellpoolError(code, `${argv.slice(0, 8).join(' ')}: ${said}`, {
    facts: { argv, exitCode: result.exitCode },
  });
}

/**
 * Execa waits until nobody holds the pipes any more: whoever the program left behind must not make that for ever. The
 * pipes are cut when nothing comes any more, and at the latest after the time limit.
 */
async function drain({ pid, stdout, stderr }: Subprocess, limitMs: number, signal: AbortSignal): Promise<void> {
  if (pid !== undefined) {
    signalGroup(pid, 'SIGKILL');
    forgetGroup(pid);
  }
  const pipes = [stdout, stderr].filter(pipe => pipe instanceof Socket);
  const received = () => pipes.reduce((sum, pipe) => sum + pipe.bytesRead, 0);
  const deadline = performance.now() + limitMs;
  for (let before = -1; before !== received() && performance.now() < deadline; ) {
    before = received();
    await sleep(DRAIN_MS, undefined, { signal }).catch(() => undefined);
    // After a long pause of ours the timer is called before the pipes are read.
    await nextRound();
  }
  for (const pipe of pipes) pipe.destroy();
}
