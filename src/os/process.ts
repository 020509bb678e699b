/**
 * A process that we own: started in a group of its own, its output bounded, stopped as a whole and verified gone.
 * Node's own `spawn` is used because its `exit` event does not wait for pipes that a left-over daemon keeps open.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import type { Duplex } from 'node:stream';
import { setImmediate as nextRound, setTimeout as sleep } from 'node:timers/promises';
import { CellpoolError } from '../errors.ts';
import type { BoundedLog } from './bounded-log.ts';
import { type Argv, type Leashed, leashed, tiedToUs } from './leash.ts';
import { forgetGroup, killWithUs } from './own-groups.ts';
import { findStrays, groupIsAlive, killEntry, readProcess, signalGroup } from './process-table.ts';
import { findProgram } from './program.ts';
import { Tether } from './tether.ts';

export interface StartOptions {
  cwd: string;
  /** The whole environment of the process; nothing of ours is added. */
  env: Record<string, string>;
  /** Takes both outputs; closed by `stop`, and when the start fails. */
  log: BoundedLog;
  onOutput?: (text: string) => void;
  /**
   * How tightly it is tied to us (see `leash.ts`): as the machine allows, which is the default; without a user
   * namespace, for a command that may need sudo or ssh; by itself alone, where it takes with it all that it starts, as
   * bubblewrap does; or not at all.
   */
  leash?: 'full' | 'no-user-namespace' | 'itself' | 'none';
  /**
   * Puts all that is started, what leads the leash included, under limits before anything of it runs. It may do that
   * with a shell, which passes on no variables but those with plain names.
   */
  limits?: ((argv: Argv) => Argv) | undefined;
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
  /**
   * Ends the whole group: SIGTERM, SIGKILL for those that are still there after `graceMs`, then waits until none is
   * left. Harmless when repeated, also long after the end.
   */
  stop(graceMs: number): Promise<void>;
}

/** After SIGKILL the kernel needs a moment to take back memory; longer than this something is wrong. */
const GONE_MS = 5_000;
/** A leader whose program was killed has nothing more to do than to end. */
const LEADER_MS = 1_000;
const POLL_MS = 5;
/** A look at all processes is not free: a group that takes its time is asked less and less often. */
const POLL_MOST_MS = 100;
/** What a process printed last is still in its pipe when it has ended; a daemon it left may hold that pipe for ever. */
const DRAIN_MS = 100;

/** Starts `argv`. @throws whatever the start fails with (`ENOENT`, `EACCES`); the log is closed then. */
export async function startProcess(argv: readonly [string, ...string[]], options: StartOptions): Promise<OwnedProcess> {
  const { child, pid, drained, tether } = await start(argv, options).catch(async error => {
    await options.log.close();
    throw error;
  });
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
  let groupIsGone = false;
  const exited = new Promise<Exit>(resolve => {
    child.once('exit', async (exitCode, signal) => {
      exit = { exitCode, signal };
      // Once the last member is gone the number may be given to somebody else's group: it is not signalled again.
      groupIsGone = !signalGroup(pid, 0);
      if (groupIsGone) forgetGroup(pid);
      if (exitCode === 1 && (await tether?.wasKilled())) exit = { exitCode: null, signal: 'SIGKILL' };
      resolve(exit);
    });
  });
  const end = async (graceMs: number) => {
    // Our leader was waited for: whoever has its number now is a stranger, and so is the group of that number.
    const isGone = groupIsGone || (exit !== null && (await readProcess(pid)) !== null);
    try {
      if (!isGone) await stopGroup(pid, exited, graceMs, tether);
    } finally {
      await tether?.release();
    }
  };
  let stopping: Promise<void> | null = null;
  return {
    pid,
    exited,
    get endedWith() {
      return exit;
    },
    log: options.log,
    stop(graceMs) {
      stopping ??= end(graceMs).finally(async () => {
        forgetGroup(pid);
        await Promise.race([drained, sleep(DRAIN_MS, undefined, { ref: false })]);
        // After a long pause of ours the timer is called before the pipes are read.
        await nextRound();
        child.stdout?.destroy();
        child.stderr?.destroy();
        await options.log.close();
      });
      return stopping;
    },
  };
}

interface Started {
  child: ChildProcess;
  pid: number;
  /** Resolves when it has ended and both its pipes are closed by all who had them. */
  drained: Promise<void>;
  /** Holds what may be left of it when its group is gone. */
  tether: Tether | null;
}

async function start(argv: readonly [string, ...string[]], options: StartOptions): Promise<Started> {
  const leash = await onLeash(argv, options);
  const [file, ...args] = options.limits?.(leash.argv) ?? leash.argv;
  const child = spawn(file, args, {
    cwd: options.cwd,
    env: options.env,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe', ...(leash.tethered ? (['pipe'] as const) : [])],
  });
  const drained = new Promise<void>(resolve => child.once('close', () => resolve()));
  const pid = await new Promise<number>((resolve, reject) => {
    child.once('error', reject);
    child.once('spawn', () => {
      child.off('error', reject);
      child.on('error', () => undefined);
      resolve(child.pid as number);
    });
  });
  return { child, pid, drained, tether: leash.tethered ? new Tether(child.stdio[3] as Duplex) : null };
}

async function onLeash(argv: Argv, { leash = 'full', env, cwd }: StartOptions): Promise<Leashed> {
  if (leash === 'none') return { argv, tethered: false };
  // What leads the leash starts always: that the program cannot is to be an error of the start all the same.
  if (!argv[0].includes('\0')) await findProgram(argv[0], env.PATH ?? '/usr/bin:/bin', cwd);
  if (leash === 'itself') return { argv: await tiedToUs(argv, env), tethered: false };
  return leashed(argv, { env, userNamespace: leash === 'full' });
}

async function stopGroup(group: number, exited: Promise<Exit>, graceMs: number, tether: Tether | null): Promise<void> {
  // The leader may go at once and leave others that still tidy up (a shell before its test runner): all get the grace.
  if (graceMs > 0 && signalGroup(group, 'SIGTERM') && (await goneWithin(graceMs, group, exited))) return;
  if (tether !== null) {
    await tether.kill();
    if (await goneWithin(LEADER_MS, group, exited)) return;
  }
  signalGroup(group, 'SIGKILL');
  if (!(await goneWithin(GONE_MS, group, exited))) {
    throw new CellpoolError('INTERNAL', `process group ${group} is still there ${GONE_MS} ms after SIGKILL`);
  }
}

/** Waits until the leader has ended and no other member lives; false when `ms` milliseconds were not enough. */
async function goneWithin(ms: number, group: number, exited: Promise<Exit>): Promise<boolean> {
  const deadline = performance.now() + ms;
  const over = new AbortController();
  const late = sleep(ms, false, { signal: over.signal });
  const leaderIsGone = await Promise.race([exited.then(() => true), late]).finally(() => over.abort());
  if (!leaderIsGone) return false;
  for (let wait = POLL_MS; await groupIsAlive(group); wait = Math.min(wait * 2, POLL_MOST_MS)) {
    const left = deadline - performance.now();
    if (left <= 0) return false;
    await sleep(Math.min(wait, left));
  }
  return true;
}

/** Kills what left its process group: see `findStrays`. Returns how many were found. */
export async function killStrays(marker: string, folder: string | null): Promise<number> {
  const deadline = performance.now() + GONE_MS;
  const found = new Set<string>();
  // A stray may start another one between the look and the kill: look until none is found.
  for (;;) {
    const strays = await findStrays(marker, folder);
    if (strays.length === 0) return found.size;
    if (performance.now() > deadline) {
      throw new CellpoolError('INTERNAL', `${strays.length} processes of ${marker} survive SIGKILL`);
    }
    for (const { pid, startTime } of strays) found.add(`${pid} ${startTime}`);
    await Promise.all(strays.map(killEntry));
    await sleep(POLL_MS);
  }
}
