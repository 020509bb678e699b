// What the pool adds to a job: jobs that do nothing, by the real pool with cells that have no workspace and no agent,
// and by a bare BullMQ worker with the same settings, by turns and on the same Redis. Run `npm run bench:no-op`, or with
// JOBS=3000 ROUNDS=3 CONCURRENCY=50.
//
// Measured with a backlog (jobs a second), and with one job at a time (milliseconds from adding it until its end is
// known here, and what it takes of Redis: nothing is shared between jobs then, so it is the most that a job costs).
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { QueueEvents } from 'bullmq';
import { addJobs } from '../dist/job/add-jobs.js';
import { TASK_QUEUE } from '../dist/job/names.js';
import { jobOptions, openQueue, TASK_JOB } from '../dist/job/queue.js';
import { checkRedis, connectRedis } from '../dist/redis/connection.js';
import { openRedis } from '../dist/redis/open-redis.js';
import { keep, machine, median, percentile, round } from './lib/figures.mjs';

const JOBS = Number(process.env.JOBS ?? 3_000);
const ROUNDS = Number(process.env.ROUNDS ?? 3);
const SINGLE = Number(process.env.SINGLE ?? 300);
const CONCURRENCY = Number(process.env.CONCURRENCY ?? 50);
const WARM_UP = 1_500;
const IDLE_MS = 3_000;
const ADDED_AT_ONCE = 500;
const BARS = { ratio: 0.25, addedMs: 10, roundTrips: 12 };

const program = fileURLToPath(new URL('./lib/no-op-worker.mjs', import.meta.url));
const setting = machine();
const folder = mkdtempSync(join(tmpdir(), 'cellpool-no-op-'));
const server = await openRedis({ home: join(folder, 'redis') });
const redis = connectRedis(server.address, 'worker');
await checkRedis(redis);
const sides = [];
try {
  for (const name of ['bare', 'pool']) sides.push(await openSide(name));
  for (const side of sides) await backlog(side, WARM_UP);
  for (let number = 0; number < ROUNDS; number += 1) {
    for (const side of sides) side.rounds.push(await backlog(side, JOBS));
  }
  for (const side of sides) side.single = await oneByOne(side);
  const [bare, pool] = sides.map(figuresOf);
  const ratio = round(pool.jobsPerSecond / bare.jobsPerSecond, 3);
  const addedMs = {
    p50: round(pool.singleMs.p50 - bare.singleMs.p50, 1),
    p95: round(pool.singleMs.p95 - bare.singleMs.p95, 1),
  };
  const added = {
    roundTrips: round(pool.single.roundTrips - bare.single.roundTrips, 1),
    commands: round(pool.single.commands - bare.single.commands, 1),
  };
  const bars = {
    ratio: { bar: BARS.ratio, reached: ratio >= BARS.ratio },
    addedMs: { bar: BARS.addedMs, reached: addedMs.p50 <= BARS.addedMs },
    roundTrips: { bar: BARS.roundTrips, reached: added.roundTrips <= BARS.roundTrips },
  };
  keep('no-op', {
    setting: { ...setting, jobs: JOBS, rounds: ROUNDS, single: SINGLE, concurrency: CONCURRENCY },
    ...{ bare, pool, ratio, addedMs, added, bars },
  });
  for (const [name, { jobsPerSecond, inHandMs, singleMs, single }] of Object.entries({ bare, pool })) {
    process.stdout.write(
      `${name}  ${jobsPerSecond} jobs/s with ${CONCURRENCY} at once (a job in hand ${inHandMs.p50} ms p50, ${inHandMs.p95} p95)\n` +
        `      one at a time ${singleMs.p50} ms p50, ${singleMs.p95} p95; ${single.roundTrips} round trips, ${single.commands} commands a job, ${single.cpuMs} ms of its processor\n`,
    );
  }
  const word = ({ bar, reached }) => `(bar ${bar} ${reached ? 'reached' : 'missed'})`;
  process.stdout.write(
    `ratio ${ratio} ${word(bars.ratio)}; added ${addedMs.p50} ms p50 ${word(bars.addedMs)}; added round trips ${added.roundTrips} ${word(bars.roundTrips)}\n`,
  );
} finally {
  for (const { child } of sides) {
    child.send('stop');
    await once(child, 'exit');
  }
  for (const { queue, events, connection } of sides) {
    await Promise.all([queue.close(), events.close()]);
    // Whoever was given to a queue stays open, and would keep this process from ending.
    connection.disconnect();
  }
  redis.disconnect();
  await server.close();
  rmSync(folder, { recursive: true, force: true });
}

async function openSide(name) {
  const prefix = `no-op-${name}`;
  const argv = [name, server.address.path, prefix, join(folder, name), String(CONCURRENCY)];
  const child = fork(program, argv, { execArgv: profiled(name) });
  await once(child, 'message');
  const queue = openQueue(redis, prefix);
  const connection = connectRedis(server.address, 'worker');
  const events = new QueueEvents(TASK_QUEUE, { connection, prefix });
  await events.waitUntilReady();
  return { name, prefix, child, queue, events, connection, made: 0, rounds: [], single: null };
}

function profiled(name) {
  const into = process.env.PROFILE;
  return into === undefined ? [] : ['--cpu-prof', '--cpu-prof-dir', into, '--cpu-prof-name', `${name}.cpuprofile`];
}

function taskOf(id) {
  const task = {
    id,
    prompt: 'Do nothing.',
    base: 'main',
    attempts: 1,
    timeoutMs: 60_000,
    tokenBudget: 1_000,
    stallMs: 60_000,
    loopRepeats: 5,
  };
  const plan = {
    setupMs: 60_000,
    testMs: 60_000,
    author: { name: 'bench', email: 'bench@localhost' },
    opencode: { model: 'scripted/model' },
  };
  return { version: 1, task, repository: '/none', plan, results: [] };
}

async function add(side, count) {
  const ids = Array.from({ length: count }, (_, at) => `${side.name}-${side.made + at}`);
  side.made += count;
  for (let from = 0; from < count; from += ADDED_AT_ONCE) {
    const some = ids.slice(from, from + ADDED_AT_ONCE).map(taskOf);
    if (side.name === 'pool')
      await addJobs(
        side.queue,
        some.map(data => ({ data, replaces: null })),
      );
    else await side.queue.addBulk(some.map(data => ({ name: TASK_JOB, data, opts: jobOptions(data.task) })));
  }
  return ids;
}

/** Queued while the queue is paused; the time counts from when it goes on to the end of the last job. */
async function backlog(side, count) {
  await side.queue.pause();
  const ids = await add(side, count);
  // Only the last 10,000 that are done are kept, so whoever counts them begins anew.
  await side.queue.clean(0, 0, 'completed');
  const redisBefore = await redisNow();
  const from = await askOf(side);
  const began = Date.now();
  await side.queue.resume();
  while ((await side.queue.getJobCountByTypes('completed')) < count) {
    if ((await side.queue.getJobCountByTypes('failed')) > 0) throw new Error('a job failed');
    await sleep(50);
  }
  const cost = difference(await askOf(side), from, count);
  const redisMs = (await redisNow()).cpuMs - redisBefore.cpuMs;
  const jobs = await Promise.all(ids.map(id => side.queue.getJob(id)));
  const wallMs = Math.max(...jobs.map(job => job.finishedOn)) - began;
  if (side.name === 'pool' && jobs.some(job => job.returnvalue.outcome !== 'committed'))
    throw new Error('a job was not done');
  return { wallMs, inHand: jobs.map(job => job.finishedOn - job.processedOn), cost, redisMsPerJob: redisMs / count };
}

async function oneByOne(side) {
  const idleFrom = await askOf(side);
  const idleBegan = performance.now();
  await sleep(IDLE_MS);
  const idle = difference(await askOf(side), idleFrom, performance.now() - idleBegan);
  const took = [];
  const commandsBefore = await redisNow();
  const from = await askOf(side);
  const began = performance.now();
  for (let number = 0; number < SINGLE; number += 1) {
    const at = performance.now();
    const ended = once(side.events, 'completed');
    await add(side, 1);
    await ended;
    took.push(performance.now() - at);
  }
  const wallMs = performance.now() - began;
  const cost = difference(await askOf(side), from, SINGLE);
  // What it does by the clock, jobs or no jobs, is no job's.
  const own = name => cost[name] - (idle[name] * wallMs) / SINGLE;
  const calls = callsBetween(commandsBefore.calls, (await redisNow()).calls);
  const names = Object.fromEntries(Object.entries(cost.byName).map(([name, count]) => [name, round(count, 1)]));
  return {
    took,
    roundTrips: own('roundTrips'),
    commands: own('commands'),
    cpuMs: own('cpuMs'),
    idlePerSecond: round(idle.commands * 1_000, 1),
    names,
    calls,
  };
}

/** What a worker has sent and used so far. */
async function askOf({ child }) {
  child.send('ask');
  const [answer] = await once(child, 'message');
  return answer;
}

function difference(after, before, per) {
  const byName = {};
  for (const [name, count] of Object.entries(after.byName)) byName[name] = (count - (before.byName[name] ?? 0)) / per;
  const of = name => (after[name] - before[name]) / per;
  return { commands: of('commands'), roundTrips: of('roundTrips'), cpuMs: of('cpuMs'), byName };
}

/** Calls that Redis counted, those within scripts too, and its processor time. */
async function redisNow() {
  const [stats, cpu] = [await redis.info('commandstats'), await redis.info('cpu')];
  const calls = Object.fromEntries(
    [...stats.matchAll(/^cmdstat_(\S+?):calls=(\d+)/gm)].map(([, name, count]) => [name, Number(count)]),
  );
  const seconds = name => Number(new RegExp(`^${name}:([\\d.]+)`, 'm').exec(cpu)?.[1] ?? 0);
  return { calls, cpuMs: 1_000 * (seconds('used_cpu_user') + seconds('used_cpu_sys')) };
}

function callsBetween(before, after) {
  const found = Object.entries(after).map(([name, count]) => [name, round((count - (before[name] ?? 0)) / SINGLE, 1)]);
  return Object.fromEntries(found.filter(([, count]) => count > 0).sort(([, a], [, b]) => b - a));
}

function figuresOf({ rounds, single }) {
  const inHand = rounds.flatMap(one => one.inHand);
  const both = values => ({ p50: round(median(values), 2), p95: round(percentile(values, 0.95), 2) });
  const each = pick => round(median(rounds.map(pick)), 3);
  return {
    jobsPerSecond: round(median(rounds.map(({ wallMs }) => JOBS / (wallMs / 1_000)))),
    inHandMs: both(inHand),
    /** With the backlog, of which jobs share what goes to Redis at the same moment. */
    backlog: {
      ...{ roundTrips: each(one => one.cost.roundTrips), commands: each(one => one.cost.commands) },
      ...{ workerCpuMs: each(one => one.cost.cpuMs), redisCpuMs: each(one => one.redisMsPerJob) },
    },
    singleMs: both(single.took),
    single: {
      ...{
        roundTrips: round(single.roundTrips, 1),
        commands: round(single.commands, 1),
        cpuMs: round(single.cpuMs, 2),
      },
      ...{ idleCommandsPerSecond: single.idlePerSecond, byName: single.names, inRedis: single.calls },
    },
  };
}
