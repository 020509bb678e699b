/**
 * Runs a worker in a child process and starts it anew when it dies unforeseen. The child has a process group of its
 * own, so that a terminal's Ctrl-C reaches the supervisor alone, which passes each request on once, as a message; see
 * `onInterrupt` for what the child makes of it. When the supervisor dies, the child notices and comes to its end.
 *
 * It is `running` (a child lives), `recovering` (what the dead child left is given back), `pausing` (before the next
 * child) or done. A request to stop lets no other child start.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { constants } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf } from '../errors.ts';
import type { Exit } from '../os/process.ts';
import { type StopMessage, SUPERVISED } from '../os/shutdown.ts';

/** How a worker ends that has said why: done, bad input, something is missing, interrupted. */
const FORESEEN: ReadonlySet<number> = new Set([0, 2, 3, 130]);

/** Pauses before a child is started anew: doubled each time, and short again after one that lived for long enough. */
export const PAUSES = { firstMs: 1_000, mostMs: 30_000, forgetAfterMs: 60_000 } as const;

/** A child that has been asked three times and is still there after this hangs. */
const LAST_MS = 2_000;
/** Asked so often, it is to end whatever it does. */
const AT_ONCE = 3;

export interface SupervisorOptions {
  /** What the child is, in words. Left out: worker. */
  name?: string;
  /** The child's program and arguments. */
  argv: readonly [string, ...string[]];
  env: NodeJS.ProcessEnv;
  say: (message: string) => void;
  /** Gives back the jobs of a dead child and removes what it left. What it throws is told, and nothing more. */
  recover: () => Promise<void>;
  pauses?: { firstMs: number; mostMs: number; forgetAfterMs: number };
}

export class Supervisor {
  readonly #options: Required<SupervisorOptions>;
  readonly #asked: NodeJS.Signals[] = [];
  readonly #over = new AbortController();
  readonly #atOnce = new AbortController();
  #child: ChildProcess | null = null;
  #pauseMs: number;

  constructor(options: SupervisorOptions) {
    this.#options = { name: 'worker', pauses: PAUSES, ...options };
    this.#pauseMs = this.#options.pauses.firstMs;
  }

  /** The child's pid; null between two children. */
  get pid(): number | null {
    return this.#child?.pid ?? null;
  }

  /** Runs children until one ends as foreseen or a stop is asked for. Returns the exit code of the last one. */
  async run(): Promise<number> {
    while (this.#asked.length === 0) {
      const startedAt = performance.now();
      const { pid, exit } = await this.#runChild();
      if (exit.exitCode !== null && FORESEEN.has(exit.exitCode)) return exit.exitCode;
      const how = exit.signal === null ? `ended with ${exit.exitCode}` : `was ended by ${exit.signal}`;
      if (this.#asked.length > 0) {
        this.#options.say(`The ${this.#options.name} ${pid} ${how} while it was to stop.`);
        await this.#recover();
        return codeOf(exit);
      }
      if (performance.now() - startedAt >= this.#options.pauses.forgetAfterMs) {
        this.#pauseMs = this.#options.pauses.firstMs;
      }
      this.#options.say(`The ${this.#options.name} ${pid} ${how}; the next one starts in ${this.#pauseMs / 1_000} s.`);
      await this.#recover();
      await this.#pause();
    }
    return INTERRUPTED;
  }

  /** One request to stop, to be called once for every signal: passed on to the child, and no other child is started. */
  stop(signal: NodeJS.Signals): void {
    this.#asked.push(signal);
    this.#over.abort();
    if (this.#asked.length >= AT_ONCE) this.#atOnce.abort();
    if (this.#child !== null) this.#passOn(this.#child, signal);
  }

  async #runChild(): Promise<{ pid: number | undefined; exit: Exit }> {
    const { argv, env } = this.#options;
    const [file, ...args] = argv;
    const child = spawn(file, args, {
      env: { ...env, [SUPERVISED]: '1' },
      stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
      detached: true,
    });
    this.#child = child;
    const exited = new Promise<Exit>((resolve, reject) => {
      child.once('exit', (exitCode, signal) => resolve({ exitCode, signal }));
      // Also what a message fails with that a dead child cannot take; its exit tells more then.
      child.on('error', error => {
        if (child.pid === undefined) reject(error);
      });
    });
    const exit = await exited.finally(() => {
      this.#child = null;
    });
    return { pid: child.pid, exit };
  }

  #passOn(child: ChildProcess, signal: NodeJS.Signals): void {
    const message: StopMessage = { kind: 'stop', signal };
    // A child that cannot take it any more is about to be told of as ended.
    if (child.connected) child.send(message, () => undefined);
    if (this.#asked.length !== AT_ONCE) return;
    const timer = setTimeout(() => child.kill('SIGKILL'), LAST_MS);
    child.once('exit', () => clearTimeout(timer));
  }

  async #recover(): Promise<void> {
    const given = new Promise<void>(resolve => this.#atOnce.signal.addEventListener('abort', () => resolve()));
    if (this.#atOnce.signal.aborted) return;
    const recovered = this.#options.recover().catch((error: unknown) => {
      this.#options.say(`What the worker left could not be put in order yet: ${messageOf(error)}`);
    });
    await Promise.race([recovered, given]);
  }

  async #pause(): Promise<void> {
    const ms = this.#pauseMs;
    this.#pauseMs = Math.min(this.#options.pauses.mostMs, ms * 2);
    await sleep(ms, undefined, { signal: this.#over.signal }).catch(() => undefined);
  }
}

const INTERRUPTED = 130;

/** As a shell tells it: 128 and the signal's number. */
function codeOf({ exitCode, signal }: Exit): number {
  return exitCode ?? 128 + (signal === null ? 0 : constants.signals[signal]);
}
