/** Run a program to its end: argv, listed environment, closed stdin, bounded output, a time limit. */
import { execa, type Options } from 'execa';
import { CellpoolError, type ErrorCode } from '../errors.ts';

export interface RunOptions {
  cwd?: string;
  /** The whole environment of the program; nothing of ours is added. */
  env: Record<string, string>;
  input?: string;
  /** Milliseconds; at the limit the program is killed. */
  timeoutMs?: number;
  signal?: AbortSignal | undefined;
  /** Most characters kept of each output; more makes the run fail. */
  maxOutput?: number;
}

export interface RunResult {
  stdout: string;
  stderr: string;
  /** null when a signal, the time limit or a failed start ended it. */
  exitCode: number | null;
  /** Why there is no exit code, in words. */
  problem: string | null;
}

const RUN_TIMEOUT_MS = 120_000;
const MAX_OUTPUT = 64 * 1024 * 1024;

/** Runs `argv` and reports how it ended; a non-zero exit code is not an error here. */
export async function run(argv: readonly [string, ...string[]], options: RunOptions): Promise<RunResult> {
  const [file, ...args] = argv;
  const settings = {
    env: options.env,
    extendEnv: false,
    reject: false,
    stripFinalNewline: false,
    timeout: options.timeoutMs ?? RUN_TIMEOUT_MS,
    maxBuffer: options.maxOutput ?? MAX_OUTPUT,
    killSignal: 'SIGKILL',
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    ...(options.signal === undefined ? {} : { cancelSignal: options.signal }),
    ...(options.input === undefined ? { stdin: 'ignore' } : { input: options.input }),
  } satisfies Options;
  const result = await execa(file, args, settings);
  return {
    stdout: String(result.stdout ?? ''),
    stderr: String(result.stderr ?? ''),
    exitCode: result.exitCode ?? null,
    problem: result.exitCode === undefined ? (result.shortMessage ?? 'ended without an exit code') : null,
  };
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
