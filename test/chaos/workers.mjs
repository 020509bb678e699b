/** The worker processes of a run: started, and started again whenever one has ended. */
import { spawn } from 'node:child_process';
import { openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { processTable, readProcess, signal } from './processes.mjs';
import { CLI } from './world.mjs';

/** For a worker that is told to stop at the end, when nothing runs any more. */
const STOP_MS = 45_000;
const RESTART_MS = 1_000;

export class Workers {
  /** Ends that no fault explains. */
  unexplained = [];
  restarts = 0;
  #world;
  #slots;
  #killedPools = new Set();
  #stopping = false;

  constructor(world, { workers, concurrency }) {
    const [first, second] = world.hosts;
    const hosts = [...Array(workers).fill(first), second];
    this.#world = world;
    this.#slots = hosts.map((host, at) => {
      const log = openSync(join(world.logs, `worker-${at + 1}.log`), 'a');
      return { name: `worker ${at + 1}`, host, concurrency, log, child: null, ended: null, expected: null };
    });
  }

  start() {
    for (const slot of this.#slots) this.#startSlot(slot);
  }

  get cap() {
    return this.#slots.reduce((sum, { concurrency }) => sum + concurrency, 0);
  }

  /** The first processes of the workers that live now: `{ name, pid, startTime, concurrency, slot }`. */
  living() {
    return this.#slots.flatMap(slot => {
      const root = slot.child === null ? null : readProcess(slot.child.pid);
      return root === null ? [] : [{ ...root, name: slot.name, concurrency: slot.concurrency, slot }];
    });
  }

  /** The process that has the pool: the child of a supervisor, or the worker itself where there is none yet. */
  poolOf(worker) {
    const children = processTable().filter(one => one.parent === worker.pid);
    return children.find(({ argv }) => argv[0] === process.execPath && argv.includes(CLI)) ?? worker;
  }

  /** SIGKILL to a pool alone, whose supervisor is to start another. */
  killPool(pool) {
    this.#killedPools.add(String(pool.pid));
    return signal(pool, 'SIGKILL');
  }

  /** What the supervisors tell of pools that ended and were not killed by us; they write it into the log. */
  poolsEndedByThemselves() {
    return this.#slots.flatMap(({ name }, at) => {
      const log = readFileSync(join(this.#world.logs, `worker-${at + 1}.log`), 'utf8');
      const ends = [...log.matchAll(/^The worker (\d+) (ended with|was ended by) .*$/gm)];
      return ends.filter(([, pid]) => !this.#killedPools.has(pid)).map(([text]) => `${name}: ${text}`);
    });
  }

  /** Sends a signal that ends the worker; its end is then as expected, and it starts again after `restartMs`. */
  end(worker, name, restartMs) {
    worker.slot.expected = { signal: name, restartMs };
    return signal(worker, name);
  }

  /** SIGTERM to all, for good. @returns those that did not end in time, killed then. */
  async stop() {
    this.#stopping = true;
    const late = [];
    await Promise.all(
      this.#slots.map(async slot => {
        if (slot.child === null) return;
        const over = new AbortController();
        slot.child.kill('SIGTERM');
        const inTime = await Promise.race([
          slot.ended.then(() => true),
          sleep(STOP_MS, false, { signal: over.signal }).catch(() => false),
        ]);
        over.abort();
        if (inTime) return;
        late.push(slot.name);
        slot.child.kill('SIGKILL');
        await slot.ended;
      }),
    );
    return late;
  }

  /** SIGKILL to all, for good. */
  kill() {
    this.#stopping = true;
    for (const { child } of this.#slots) child?.kill('SIGKILL');
  }

  #startSlot(slot) {
    if (this.#stopping) return;
    const argv = [CLI, 'worker', '--concurrency', String(slot.concurrency), '--log-level', 'info'];
    slot.expected = null;
    const child = spawn(process.execPath, argv, {
      cwd: this.#world.folder,
      env: this.#world.envOf(slot.host),
      // A session of its own: Ctrl-C is for the run, which ends its workers in order.
      detached: true,
      stdio: ['ignore', slot.log, slot.log],
    });
    slot.child = child;
    slot.ended = new Promise(resolve => {
      child.once('exit', (exitCode, signalName) => {
        slot.child = null;
        resolve();
        if (this.#stopping) return;
        if (slot.expected === null && !this.#world.excuses(slot.host, exitCode))
          this.unexplained.push(`${slot.name} ended with ${signalName ?? exitCode}`);
        this.restarts += 1;
        setTimeout(() => this.#startSlot(slot), slot.expected?.restartMs ?? RESTART_MS).unref();
      });
    });
  }
}
