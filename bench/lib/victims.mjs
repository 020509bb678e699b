/** Workers to be killed, cellpool's and bare ones: each pair shares a queue, and the other takes over. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

export const CLI = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const BARE = fileURLToPath(new URL('./bare-worker.mjs', import.meta.url));

const WAIT_MS = 180_000;
const POLL_MS = 20;
const STOP_MS = 30_000;

/** Asks until the answer is neither null nor undefined nor false. */
export async function until(what, ask) {
  const end = Date.now() + WAIT_MS;
  for (;;) {
    const answer = await ask();
    if (answer !== null && answer !== undefined && answer !== false) return answer;
    if (Date.now() > end) throw new Error(`waited ${WAIT_MS} ms in vain: ${what}`);
    await sleep(POLL_MS);
  }
}

function parentOf(pid) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
  } catch {
    return null; // It is gone.
  }
}

/** A worker process that is started again after it was killed. */
export class Victim {
  #start;
  #child = null;

  constructor(start) {
    this.#start = start;
  }

  start() {
    this.#child = this.#start();
  }

  /** Whether `pid` is this worker or the pool under it. */
  has(pid) {
    return this.#child !== null && (this.#child.pid === pid || parentOf(pid) === this.#child.pid);
  }

  /** SIGKILL to the whole worker, as when its machine dies: first to who could tell of the other's death. */
  async killAll(pool) {
    const child = this.#child;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    if (pool !== child.pid && parentOf(pool) !== null) killPid(pool);
    await ended;
    this.#child = null;
  }

  async stop() {
    const child = this.#child;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
    await ended;
    clearTimeout(timer);
  }
}

export function killPid(pid) {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (error.code !== 'ESRCH') throw error;
  }
}

export function cellpoolWorker(site, host) {
  const home = join(site.folder, host.name);
  mkdirSync(home, { recursive: true });
  const log = openSync(join(site.folder, `${host.name}.log`), 'a');
  const env = {
    PATH: process.env.PATH ?? '',
    // The gates of a task are files outside of its cell.
    CELLPOOL_ISOLATION: 'process',
    HOME: site.folder,
    TMPDIR: process.env.TMPDIR ?? '/tmp',
    ...(process.env.OPENCODE_BIN === undefined ? {} : { OPENCODE_BIN: process.env.OPENCODE_BIN }),
    REDIS_URL: `unix://${site.socket}`,
    CELLPOOL_HOME: home,
    CELLPOOL_HOST: host.name,
    CELLPOOL_PORTS: host.ports,
    CELLPOOL_PREFIX: site.prefix,
    CELLPOOL_GRACE_MS: '1000',
  };
  return new Victim(() =>
    spawn(process.execPath, [CLI, 'worker', '--concurrency', '1'], {
      cwd: site.folder,
      env,
      detached: true,
      stdio: ['ignore', log, log],
    }),
  );
}

export function bareWorker(site, queue) {
  const argv = [BARE, site.socket, queue, site.prefix];
  return new Victim(() => spawn(process.execPath, argv, { stdio: ['ignore', 'ignore', 'inherit'], detached: true }));
}
