/**
 * The faults, one function a kind. Each gets the run and its entry in the plan, does its damage, takes back what can
 * be taken back when its time or the run is over, and returns what it hit. `skip` tells that there was nothing to hit.
 */
import { once } from 'node:events';
import { closeSync, openSync, rmSync, writeSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isAlive, signal } from './processes.mjs';
import { jsonLines } from './world.mjs';

export class Skipped extends Error {}

const skip = why => {
  throw new Skipped(why);
};

const choose = (list, pick, what) => list[Math.floor(pick * list.length)] ?? skip(`no ${what}`);

const lasts = (run, { lastsMs }) => sleep(lastsMs, undefined, { signal: run.over }).catch(() => undefined);

export const INJECT = {
  'kill-worker': endWorker('SIGKILL'),
  terminate: endWorker('SIGTERM'),
  'kill-pool'(run, fault) {
    const worker = choose(run.workers.living(), fault.pick, 'living worker');
    const pool = run.workers.poolOf(worker);
    if (pool.pid === worker.pid) run.workers.end(worker, 'SIGKILL', fault.restartMs);
    else run.workers.killPool(pool);
    return `${worker.name}, pid ${pool.pid}`;
  },
  'stop-short': stopPool,
  'stop-long': stopPool,
  async 'kill-server'(run, { pick }) {
    const records = (await run.eyes.registry()).map(({ record }) => record);
    const servers = records.filter(record => record?.server && isAlive(record.server));
    const { cellId, server } = choose(servers, pick, 'server');
    signal(server, 'SIGKILL');
    return `cell ${cellId}, pid ${server.pid}`;
  },
  'redis-short': breakRedis,
  'redis-long': breakRedis,
  'foreign-ports': listenAsStranger,
  'fill-disk': fillDisk,
  async 'cancel-running'(run, { pick }) {
    return cancel(run, choose(await run.eyes.active(), pick, 'running task'));
  },
  async 'cancel-waiting'(run, { pick }) {
    return cancel(run, choose(await run.eyes.waiting(), pick, 'waiting task'));
  },
  burst(run, { lastsMs }) {
    run.world.model.refuseFor(lastsMs);
    return `429 for ${lastsMs} ms`;
  },
};

function endWorker(name) {
  return (run, { pick, restartMs }) => {
    const worker = choose(run.workers.living(), pick, 'living worker');
    run.workers.end(worker, name, restartMs);
    return `${worker.name}, pid ${worker.pid}`;
  };
}

async function stopPool(run, fault) {
  const worker = choose(run.workers.living(), fault.pick, 'living worker');
  const pool = run.workers.poolOf(worker);
  signal(pool, 'SIGSTOP');
  await lasts(run, fault);
  const lived = signal(pool, 'SIGCONT');
  return `${worker.name}, pid ${pool.pid}, for ${fault.lastsMs} ms${lived ? '' : '; it died meanwhile'}`;
}

async function breakRedis(run, { lastsMs }) {
  await run.world.redis.breakFor(lastsMs);
  return `for ${lastsMs} ms`;
}

const STRANGERS = 3;

async function listenAsStranger(run, fault) {
  const host = choose(run.world.hosts, fault.pick, 'host');
  const strangers = [];
  for (const port of await run.eyes.nextPorts(host, STRANGERS)) {
    const stranger = createServer(socket => socket.destroy());
    stranger.listen(Number(port), '127.0.0.1');
    const listens = await once(stranger, 'listening').then(
      () => true,
      () => false, // A cell was quicker.
    );
    if (listens) strangers.push({ port, stranger });
  }
  if (strangers.length === 0) return skip('no free port to take');
  await lasts(run, fault);
  for (const { stranger } of strangers) stranger.close();
  return `${host.name}, ports ${strangers.map(({ port }) => port).join(', ')}`;
}

const CHUNKS = [2 ** 20, 2 ** 12, 1];

async function fillDisk(run, fault) {
  const { world } = run;
  if (!world.smallDisk) return skip('needs root, for a small file system to fill');
  const file = join(world.hosts[1].home, 'filler');
  world.disk.fullUntil = Number.POSITIVE_INFINITY;
  let bytes = 0;
  const fill = () => {
    const descriptor = openSync(file, 'a');
    for (const size of CHUNKS) {
      const chunk = Buffer.alloc(size);
      try {
        for (;;) bytes += writeSync(descriptor, chunk);
      } catch (error) {
        if (error.code !== 'ENOSPC') throw error;
      }
    }
    closeSync(descriptor);
  };
  try {
    fill();
    // What its cells give back meanwhile is taken too.
    const again = setInterval(fill, 500);
    await lasts(run, fault).finally(() => clearInterval(again));
  } finally {
    rmSync(file, { force: true });
    world.disk.fullUntil = Date.now();
  }
  return `${(bytes / 2 ** 20).toFixed(0)} MiB for ${fault.lastsMs} ms`;
}

/** Asks as a person would, and remembers what was said to each task. */
async function cancel(run, id) {
  const asked = { id, atMs: Math.round(run.nowMs()), tookMs: null, exitCode: null, how: null };
  run.cancels.push(asked);
  const { exitCode, stdout, stderr } = await run.world.cli(['cancel', id, '--json']);
  asked.tookMs = Math.round(run.nowMs()) - asked.atMs;
  asked.exitCode = exitCode;
  asked.how = jsonLines(stdout)[0]?.how ?? null;
  return `${id}: ${asked.how ?? stderr.trim().split('\n')[0]} (exit code ${exitCode})`;
}
