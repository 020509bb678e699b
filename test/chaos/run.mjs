/** One run, in the order it happens: start, enqueue, break, wait, stop, reap, look, judge. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { PlanClock } from './clock.mjs';
import { collectCommits, collectJobs, collectLeftovers } from './collect.mjs';
import { openEyes } from './eyes.mjs';
import { INJECT, Skipped } from './faults.mjs';
import { judge } from './invariants.mjs';
import { clockMayReach } from './plan.mjs';
import { processesOf, processTable, signal } from './processes.mjs';
import { faultLine, keepReport, progressLine, report } from './report.mjs';
import { inputOf } from './tasks.mjs';
import { Watch } from './watch.mjs';
import { Workers } from './workers.mjs';
import { makeWorld } from './world.mjs';

const PROGRESS_MS = 5_000;
const POLL_MS = 1_000;
const RETRY_MS = 2_000;
/** A question that was asked while Redis was away may be told of as refused a little later. */
const AWAY_MS = 10_000;
const MINUTE = 60_000;

export class Run {
  /** Every fault so far: what it `did`, or why it was `skipped`. */
  faults = [];
  /** Every `cellpool cancel`, with what it said. */
  cancels = [];
  #began = performance.now();
  #over = new AbortController();
  #enqueued = 0;
  /** As far as anybody knew when Redis was last there. */
  #ended = 0;

  static async open(plan, minutes) {
    // What runs already is none of ours, whatever it works on.
    const before = new Set(processTable().map(({ pid }) => pid));
    const world = await makeWorld();
    try {
      return new Run({ plan, world, before, deadlineMs: minutes * MINUTE, eyes: await openEyes(world) });
    } catch (error) {
      await world.close({ keep: false });
      throw error;
    }
  }

  constructor(parts) {
    Object.assign(this, parts);
    this.workers = new Workers(this.world, this.plan);
    this.watch = new Watch(this);
    this.clock = new PlanClock(() => clockMayReach(this.plan, this.#ended / this.plan.tasks.length));
    this.over.addEventListener('abort', () => this.clock.stop(), { once: true });
  }

  /** Aborted when nothing is to be broken any more. */
  get over() {
    return this.#over.signal;
  }

  nowMs = () => performance.now() - this.#began;

  /** @returns whether every invariant holds. */
  async toTheEnd(interrupted) {
    this.workers.start();
    this.watch.start();
    const news = setInterval(() => void this.#tellProgress(), PROGRESS_MS);
    const enqueuing = this.#enqueueAll();
    const breaking = this.#breakAll();
    try {
      await this.#untilDone(interrupted);
    } finally {
      clearInterval(news);
      this.#over.abort();
      await Promise.allSettled([enqueuing, breaking]);
      await this.world.redis.whole();
    }
    await enqueuing;
    if (interrupted.aborted) return false;
    const late = await this.workers.stop();
    const reaps = [];
    for (const host of this.world.hosts) reaps.push(...(await this.#reap(host)));
    await this.watch.stop();
    return this.#judge(late, reaps);
  }

  /** Ends whatever still runs; `keep` when the folder stays. */
  async close({ keep }) {
    this.#over.abort();
    this.workers.kill();
    await this.watch.stop().catch(() => undefined);
    await this.eyes.close();
    await this.world.redis.close();
    for (const one of processesOf(this.world, this.before)) signal(one, 'SIGKILL');
    await this.world.close({ keep });
  }

  async #enqueueAll() {
    const { plan, world } = this;
    for (const [batch, atMs] of plan.batchesMs.entries()) {
      const tasks = plan.tasks.filter(task => task.batch === batch);
      if (tasks.length === 0) continue;
      await this.clock.until(atMs);
      const file = join(world.folder, `tasks-${batch}.jsonl`);
      writeFileSync(file, tasks.map(task => `${JSON.stringify(inputOf(task))}\n`).join(''));
      const site = ['--repo', world.repository, '--opencode-config', join(world.folder, 'opencode.json')];
      for (;;) {
        const { exitCode, stderr } = await world.cli(['enqueue', file, ...site, '--json']);
        if (exitCode === 0) break;
        // Redis is away; a task that was queued all the same is joined the next time.
        if (exitCode !== 3) throw new Error(`cellpool enqueue ended with ${exitCode}: ${stderr}`);
        await this.#pause(RETRY_MS);
      }
      this.#enqueued += tasks.length;
    }
  }

  async #breakAll() {
    const under = [];
    for (const fault of this.plan.faults) {
      await this.clock.until(fault.atMs);
      if (this.over.aborted) break;
      under.push(this.#break(fault));
    }
    await Promise.all(under);
  }

  async #break(fault) {
    const done = { ...fault, beganMs: Math.round(this.nowMs()) };
    this.faults.push(done);
    try {
      done.did = await INJECT[fault.kind](this, fault);
    } catch (error) {
      // A question to Redis that is away has no answer: then there is nothing to choose from.
      const isMishap = !(error instanceof Skipped) && !this.world.redis.wasAway(AWAY_MS);
      if (isMishap) done.mishap = error.stack;
      done.skipped = error instanceof Skipped ? error.message : isMishap ? error.message : 'Redis was away';
    }
    faultLine(done);
  }

  /** How many tasks have come out, or null when nobody can say. */
  async #done() {
    const removed = new Set(this.cancels.filter(({ how }) => how === 'removed').map(({ id }) => id)).size;
    return this.eyes.ended().then(
      ended => ended + removed,
      () => null,
    );
  }

  async #untilDone(interrupted) {
    while (!interrupted.aborted) {
      const done = await this.#done();
      this.#ended = done ?? this.#ended;
      if (done !== null && this.#enqueued === this.plan.tasks.length && done >= this.plan.tasks.length) return;
      if (this.nowMs() > this.deadlineMs) {
        process.stderr.write(`the time is over with ${done ?? '?'} of ${this.plan.tasks.length} tasks ended\n`);
        return;
      }
      await sleep(POLL_MS, undefined, { signal: interrupted }).catch(() => undefined);
    }
  }

  async #tellProgress() {
    const { nowMs, faults, watch, workers } = this;
    progressLine({ nowMs: nowMs(), done: await this.#done(), total: this.plan.tasks.length, faults, watch, workers });
  }

  /** @returns what is wrong with it. */
  async #reap(host) {
    const { exitCode, stderr } = await this.world.cli(['reap'], host);
    return exitCode === 0 ? [] : [`on ${host.name} it ended with ${exitCode}: ${stderr.trim()}`];
  }

  async #judge(late, reaps) {
    const { plan, world, watch, workers, cancels } = this;
    const own = new Set([...this.before, world.redis.pid]);
    const { tasks } = plan;
    this.facts = {
      tasks,
      base: world.base,
      cancels,
      watch,
      late,
      reaps,
      mishaps: this.faults.flatMap(({ kind, mishap }) => (mishap === undefined ? [] : [`${kind}: ${mishap}`])),
      jobs: await collectJobs(this),
      commits: collectCommits(world),
      left: await collectLeftovers(this, own),
      unexplained: [...workers.unexplained, ...workers.poolsEndedByThemselves()],
      restarts: workers.restarts,
      workers: plan.workers + 1,
      hosts: world.hosts.length,
      injected: this.faults.length,
    };
    const invariants = judge(this.facts);
    keepReport(this, invariants);
    return report(this, invariants);
  }

  #pause = ms => (ms > 0 ? sleep(ms, undefined, { signal: this.over }).catch(() => undefined) : Promise.resolve());
}
