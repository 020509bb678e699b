/** The built command line as a child process, with an environment that is listed here and a state folder of its own. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, vi } from 'vitest';
import { type ScriptStep, script } from '../../src/cli/demo/script.ts';
import { SCRIPTED_MODEL, type ScriptedModel } from '../../src/cli/demo/scripted-model.ts';
import { openQueue, type TaskQueue } from '../../src/job/queue.ts';
import type { TaskInput } from '../../src/job/task.ts';
import { checkRedis, connectRedis } from '../../src/redis/connection.ts';
import { openRedis } from '../../src/redis/open-redis.ts';
import { type HeldPortLease, PortLeases } from '../../src/redis/port-lease.ts';
import { type SlotOwner, Slots } from '../../src/redis/slots.ts';
import { FILE_VARIABLE, processesLeft, RUN_VARIABLE, realFolder } from './leaks.ts';
import { type Files, git, makeRepository } from './repository.ts';

const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

/** Long enough for a boot on a machine that is busy; what is waited for usually comes much sooner. */
const WAIT_MS = 90_000;
const HOST = 'cli-test';
const PREFIX = 'cellpool';
/** Files run side by side: each has ports of its own, so that none finds another's in its way. */
const FIRST_PORT = 20_000 + (process.pid % 120) * 100;

/** Node cannot make a terminal. Its end closes the device: SIGHUP for the command, and EIO for what it writes. */
const TERMINAL = `
import os, pty, sys
text, *command = sys.argv[1:]
pid, terminal = pty.fork()
if pid == 0:
    os.execv(command[0], command)
seen = b''
while text.encode() not in seen:
    seen += os.read(terminal, 4096)
os.close(terminal)
os.waitpid(pid, 0)
`;

export interface Finished {
  exitCode: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

export interface CliOptions {
  cwd?: string;
  /** On top of the listed environment; an empty value unsets. */
  env?: Record<string, string>;
  stdin?: string;
  /** A file or device that takes the place of stdout, which is empty in the answer then. */
  stdoutFile?: string;
}

export interface RunningCli {
  readonly pid: number;
  readonly ended: Promise<Finished>;
  /** Resolves when stderr holds `text`; fails when the command ends before, or after a bounded wait. */
  says(text: string): Promise<void>;
  /** What stands on stdout by now. */
  shown(): string;
  /** What stands on stderr by now. */
  told(): string;
  signal(name: NodeJS.Signals): void;
}

const running = new Set<ChildProcess>();

afterAll(async () => {
  for (const child of running) child.kill('SIGKILL');
  await Promise.all([...running].map(child => new Promise(resolve => child.once('close', resolve))));
});

/** A state folder, and all that is to be asked about it. */
export class CliHome {
  /** Absolute, without links, because processes are recognised by it. */
  readonly folder: string;
  readonly home: string;

  constructor() {
    this.folder = realFolder(mkdtempSync(join(tmpdir(), 'c-')));
    this.home = join(this.folder, 'state');
    mkdirSync(join(this.folder, 'user'));
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 3 });
  }

  environment(): Record<string, string> {
    return {
      PATH: process.env.PATH ?? '',
      // What is isolated is tested by name; here it would differ from machine to machine.
      CELLPOOL_ISOLATION: 'process',
      HOME: join(this.folder, 'user'),
      TMPDIR: tmpdir(),
      LC_ALL: 'C',
      XDG_CACHE_HOME: process.env.XDG_CACHE_HOME ?? '',
      // Servers of several files may start at once.
      CELLPOOL_BOOT_MS: '300000',
      [RUN_VARIABLE]: process.env[RUN_VARIABLE] ?? '',
      [FILE_VARIABLE]: process.env[FILE_VARIABLE] ?? '',
      CELLPOOL_HOME: this.home,
      CELLPOOL_HOST: HOST,
      // A task without a model is refused; which one it is matters only where cells run.
      CELLPOOL_MODEL: 'scripted/model',
      CELLPOOL_PORTS: `${FIRST_PORT}-${FIRST_PORT + 99}`,
    };
  }

  start(args: readonly string[], options: CliOptions = {}): RunningCli {
    const env = Object.entries({ ...this.environment(), ...options.env }).filter(([, value]) => value !== '');
    const file = options.stdoutFile === undefined ? null : openSync(options.stdoutFile, 'w');
    const child = spawn(process.execPath, [main, ...args], {
      cwd: options.cwd ?? this.folder,
      env: Object.fromEntries(env),
      stdio: ['pipe', file ?? 'pipe', 'pipe'],
    }) as ChildProcess & { stdin: Writable; stderr: Readable };
    if (file !== null) closeSync(file);
    running.add(child);
    const out = { stdout: '', stderr: '' };
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      out.stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      out.stderr += text;
    });
    // A command that does not read its input closes it.
    child.stdin.on('error', () => undefined);
    child.stdin.end(options.stdin ?? '');
    let over = false;
    const ended = new Promise<Finished>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (exitCode, signal) => {
        over = true;
        running.delete(child);
        resolve({ exitCode, signal, ...out });
      });
    });
    return {
      pid: child.pid ?? 0,
      ended,
      says: text =>
        vi.waitUntil(
          () => {
            if (out.stderr.includes(text)) return true;
            if (over) throw new Error(`the command ended without saying ${JSON.stringify(text)}:\n${out.stderr}`);
            return false;
          },
          { timeout: WAIT_MS, interval: 20 },
        ) as Promise<never>,
      shown: () => out.stdout,
      told: () => out.stderr,
      signal: name => void child.kill(name),
    };
  }

  run(args: readonly string[], options: CliOptions = {}): Promise<Finished> {
    return this.start(args, options).ended;
  }

  /**
   * Runs the command on a terminal that is closed as soon as it shows `text`, as when its window is closed. There is
   * no exit code to tell: node itself aborts at its very end when it cannot restore the terminal.
   */
  async runOnClosedTerminal(args: readonly string[], text: string): Promise<void> {
    const child = spawn('python3', ['-c', TERMINAL, text, process.execPath, main, ...args], {
      cwd: this.folder,
      env: this.environment(),
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    running.add(child);
    await once(child, 'close');
    running.delete(child);
  }

  /** As `run`, with outputs that nobody reads any more before the command has begun: every write to them fails. */
  async runClosed(
    args: readonly string[],
    closed: ('stdout' | 'stderr')[],
  ): Promise<Omit<Finished, 'stdout' | 'stderr'>> {
    const child = spawn(process.execPath, [main, ...args], { cwd: this.folder, env: this.environment() });
    running.add(child);
    child.stdin.end();
    for (const name of ['stdout', 'stderr'] as const) {
      if (closed.includes(name)) child[name].destroy();
      else child[name].resume();
    }
    return new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (exitCode, signal) => {
        running.delete(child);
        resolve({ exitCode, signal });
      });
    });
  }

  /** Writes a file into the folder and returns its path. */
  file(name: string, content: string): string {
    const path = join(this.folder, name);
    writeFileSync(path, content);
    return path;
  }

  tasksFile(name: string, tasks: readonly TaskInput[]): string {
    return this.file(name, tasks.map(task => `${JSON.stringify(task)}\n`).join(''));
  }

  repository(files?: Files): string {
    return makeRepository(join(this.folder, 'repository'), files);
  }

  /** The flags that let cells use the scripted model. */
  modelFlags(model: ScriptedModel): string[] {
    const config = this.file('opencode.json', JSON.stringify(model.opencodeConfig()));
    return ['--opencode-config', config, '--model', SCRIPTED_MODEL];
  }

  /** Looks into the private Redis between two commands. */
  async look<T>(with_: (queue: TaskQueue, leases: HeldPortLease[], slots: SlotOwner[]) => Promise<T>): Promise<T> {
    const server = await openRedis({ home: this.home });
    const redis = connectRedis(server.address, 'producer');
    try {
      await checkRedis(redis);
      const queue = openQueue(redis, PREFIX);
      const leases = await new PortLeases(redis, { prefix: PREFIX, host: HOST }).held();
      const { slots } = await new Slots(redis, { prefix: PREFIX }).list();
      return await with_(queue, leases, slots).finally(() => queue.close());
    } finally {
      redis.disconnect();
      await server.close();
    }
  }

  /** A command with cells has ended: no process, no cell, no lease, no slot, no worktree of it may be there. */
  async expectNothingLeft(repository: string): Promise<void> {
    expect(await processesLeft({ marker: `CELLPOOL_HOME=${this.home}`, folder: this.home })).toEqual([]);
    for (const name of ['cells', 'discarded', 'spares', 'landings']) {
      const folder = join(this.home, name);
      expect(existsSync(folder) ? readdirSync(folder) : []).toEqual([]);
    }
    const worktrees = git(repository, 'worktree', 'list', '--porcelain').match(/^worktree /gm);
    expect(worktrees).toHaveLength(1);
    expect(await this.look(async (_, leases, slots) => ({ leases, slots }))).toEqual({ leases: [], slots: [] });
  }
}

/** The JSON objects on stdout, one a line; anything else there is a fault. */
export function jsonLines<T = Record<string, unknown>>(stdout: string): T[] {
  if (stdout === '') return [];
  expect(stdout.endsWith('\n')).toBe(true);
  return stdout
    .slice(0, -1)
    .split('\n')
    .map(line => JSON.parse(line) as T);
}

/** A task whose prompt tells the scripted model what to do. */
export function scripted(id: string, steps: readonly ScriptStep[], more: Partial<TaskInput> = {}): TaskInput {
  return { id, prompt: `Do as the script says.\n\n${script(steps)}`, ...more };
}

/**
 * A gate in an agent's way: its command makes the file `NAME-reached` and waits until the file `NAME-open` is there.
 * Both lie outside the workspace, so that no commit holds them.
 */
export class Gate {
  readonly step: ScriptStep;
  readonly #reached: string;
  readonly #open: string;

  constructor(folder: string, name: string) {
    this.#reached = join(folder, `${name}-reached`);
    this.#open = join(folder, `${name}-open`);
    // Not by `touch`: what is outside of its workspace an agent's tools refuse where nothing else keeps it there.
    this.step = { run: `: >'${this.#reached}'; until [ -e '${this.#open}' ]; do sleep 0.1; done` };
  }

  async reached(): Promise<void> {
    await vi.waitUntil(() => existsSync(this.#reached), { timeout: WAIT_MS, interval: 20 });
  }

  /** Lets the agent on, and whoever comes after it; `reached` can be waited for anew. */
  open(): void {
    writeFileSync(this.#open, '');
  }
}
