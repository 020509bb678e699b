/**
 * Starts `bd`: argv and no shell, closed input or the text that it is to read, an environment made from a list, a time
 * limit, and one call at a time, for its stores have a single writer. It dies with us, so that a bridge that comes
 * after us finds no older call that is still about to write.
 */
import pLimit from 'p-limit';
import { CellpoolError } from '../../errors.ts';
import { tiedToUs } from '../../os/leash.ts';
import { findProgram } from '../../os/program.ts';
import { run } from '../../os/run.ts';
import { unavailable } from './bd-trouble.ts';
import { type JudgedVersion, judgeVersion } from './bd-version.ts';
import { type Answer, type Printed, readAnswer } from './shapes.ts';

const CALL_MS = 60_000;
const MAX_OUTPUT = 256 * 1024 * 1024;

/** Who and where we are, and how to reach a Dolt server: what `bd` cannot do without. */
const PASSED_ON = [
  ...['HOME', 'PATH', 'TMPDIR', 'XDG_CONFIG_HOME', 'BEADS_DIR', 'BEADS_DB'],
  ...['BEADS_DOLT_SERVER_MODE', 'BEADS_DOLT_SERVER_HOST', 'BEADS_DOLT_SERVER_PORT', 'BEADS_DOLT_SERVER_SOCKET'],
  ...['BEADS_DOLT_SERVER_USER', 'BEADS_DOLT_SERVER_DATABASE', 'BEADS_DOLT_SERVER_TLS', 'BEADS_DOLT_PASSWORD'],
  ...['BEADS_DOLT_SHARED_SERVER', 'BEADS_SHARED_SERVER_DIR', 'BEADS_CREDENTIALS_FILE'],
];

/** No colour, no pager, no question, and nobody is told of the call: not by telemetry, nor by a process of its own. */
const FIXED = {
  LC_ALL: 'C',
  NO_COLOR: '1',
  BD_NO_PAGER: '1',
  BD_NON_INTERACTIVE: '1',
  BD_DISABLE_METRICS: '1',
  BD_DISABLE_EVENT_FLUSH: '1',
  DO_NOT_TRACK: '1',
};

export interface BdOptions {
  /** The repository whose tracker is meant. */
  cwd: string;
  /** Where the program, HOME and the like are taken from; left out: our own environment. */
  env?: NodeJS.ProcessEnv;
  /** Milliseconds of one call. */
  timeoutMs?: number;
}

export interface BdCall {
  /** What it reads from its standard input, which is closed otherwise. */
  input?: string;
  /** Ends the call; one that changes something is not begun any more, but not cut off half-way either. */
  signal?: AbortSignal | undefined;
  changes?: boolean;
}

export class BdProcess {
  readonly program: string;
  readonly #options: BdOptions;
  readonly #env: Record<string, string>;
  readonly #oneAtATime = pLimit(1);

  private constructor(program: string, options: BdOptions) {
    const { env = process.env } = options;
    this.program = program;
    this.#options = options;
    const passedOn = PASSED_ON.flatMap(name => (env[name] === undefined ? [] : [[name, env[name]]]));
    this.#env = { ...Object.fromEntries(passedOn), ...FIXED };
  }

  /** @throws {CellpoolError} SOURCE_UNAVAILABLE when there is no `bd`, or none that may be used */
  static async find(options: BdOptions): Promise<{ bd: BdProcess; judged: JudgedVersion }> {
    const bd = new BdProcess(await locate(options.env ?? process.env), options);
    const { stdout } = await bd.#start(['version'], {});
    return { bd, judged: judgeVersion(stdout, bd.program) };
  }

  /** @throws {CellpoolError} SOURCE_UNAVAILABLE when it came to no end of its own; the reason of `signal` */
  async call(args: readonly string[], call: BdCall = {}): Promise<{ answer: Answer; stdout: string }> {
    const printed = await this.#oneAtATime(() => this.#start(args, call));
    return { answer: readAnswer(printed), stdout: printed.stdout };
  }

  async #start(args: readonly string[], { input, signal, changes = false }: BdCall): Promise<Printed> {
    signal?.throwIfAborted();
    const { cwd, timeoutMs = CALL_MS } = this.#options;
    const result = await run(await tiedToUs([this.program, ...args], this.#env), {
      cwd,
      env: this.#env,
      timeoutMs,
      maxOutput: MAX_OUTPUT,
      signal: changes ? undefined : signal,
      ...(input === undefined ? {} : { input }),
    });
    if (result.exitCode !== null) return { ...result, exitCode: result.exitCode };
    if (!changes) signal?.throwIfAborted();
    const said = result.stderr.trim().slice(-500);
    throw unavailable(
      `bd ${args[0]} in ${cwd}`,
      [`ended without an answer within ${timeoutMs / 1_000} s`, said].filter(Boolean).join(': '),
      'Another bd, or the Dolt server, may hold the database: see that `bd ready` answers in the repository.',
    );
  }
}

async function locate(env: NodeJS.ProcessEnv): Promise<string> {
  const wanted = env.BD_BIN || 'bd';
  try {
    return await findProgram(wanted, env.PATH ?? '/usr/bin:/bin', process.cwd());
  } catch (error) {
    const where = env.BD_BIN ? `BD_BIN names ${wanted}, which is no program` : 'there is no `bd` on PATH';
    throw new CellpoolError('SOURCE_UNAVAILABLE', `Beads cannot be asked: ${where}`, {
      hint: 'Install bd 1.3.0 or newer (https://github.com/gastownhall/beads), or name it in BD_BIN.',
      cause: error,
    });
  }
}
