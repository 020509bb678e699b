/** More and more tasks that wait: what it takes to queue one, and until the next begins when a slot is free. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeSampleRepository } from '../../dist/cli/demo/sample-repository.js';
import { openQueue } from '../../dist/job/queue.js';
import { parseTask } from '../../dist/job/task.js';
import { Producer } from '../../dist/producer/producer.js';
import { checkRedis, connectRedis } from '../../dist/redis/connection.js';
import { openRedis } from '../../dist/redis/open-redis.js';
import { median, percentile, round } from './figures.mjs';
import { placeStandIn, STAND_IN_MODEL, standInTask } from './stand-in.mjs';
import { CLI, until } from './victims.mjs';

/** Calls that add ADDED tasks each to a queue that is full already. */
const [CALLS, ADDED] = [20, 5];
const PLAN = { setupMs: 60_000, testMs: 60_000, author: { name: 'bench', email: 'bench@localhost' }, opencode: {} };

export async function growthOfQueue({ steps, begun, say }) {
  const folder = mkdtempSync(join(tmpdir(), 'cellpool-bench-'));
  const server = await openRedis({ home: join(folder, 'redis'), say });
  const redis = connectRedis(server.address, 'producer');
  try {
    const repository = join(folder, 'repository');
    await makeSampleRepository(repository);
    const place = { folder, repository, redis, socket: server.address.path, bin: placeStandIn(folder) };
    await checkRedis(redis);
    // The first pays for what is loaded and compiled.
    await fill({ ...place, prefix: 'warm' }, 50);
    const rows = [];
    for (const queued of steps) {
      rows.push(await withQueued(place, queued, begun));
      say(`queued: ${JSON.stringify(rows.at(-1))}`);
    }
    return rows;
  } finally {
    redis.disconnect();
    await server.close();
    rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
  }
}

async function fill({ redis, repository, prefix }, queued) {
  const producer = new Producer({ redis, prefix });
  const placed = (name, count) =>
    Array.from({ length: count }, (_, at) => {
      const id = `${name}-${at + 1}`;
      return { task: parseTask({ ...standInTask(id, 0), model: STAND_IN_MODEL }, id).task, where: id };
    });
  const enqueue = async tasks => {
    const began = performance.now();
    await producer.enqueue(tasks, { repository, plan: PLAN });
    return performance.now() - began;
  };
  try {
    const fillMs = (await enqueue(placed('task', queued))) / queued;
    const calls = [];
    for (let call = 1; call <= CALLS; call += 1) calls.push((await enqueue(placed(`more-${call}`, ADDED))) / ADDED);
    return { fillMs, calls };
  } finally {
    await producer.close();
  }
}

async function withQueued(place, queued, begun) {
  const prefix = `queued-${queued}`;
  const { fillMs, calls } = await fill({ ...place, prefix }, queued);
  const gaps = await gapsOf({ ...place, prefix }, begun);
  return {
    at: queued,
    fillMs: round(fillMs, 3),
    addMs: round(median(calls), 3),
    addP95Ms: round(percentile(calls, 0.95), 3),
    nextBeginsMs: round(median(gaps)),
    nextBeginsP95Ms: round(percentile(gaps, 0.95)),
  };
}

/** With one cell, from the end of one job until the next one's spawn has begun, as the jobs themselves tell it. */
async function gapsOf({ folder, redis, socket, prefix, bin }, begun) {
  const own = { REDIS_URL: `unix://${socket}`, CELLPOOL_PREFIX: prefix, CELLPOOL_HOME: join(folder, prefix) };
  const env = { ...process.env, ...own, CELLPOOL_HOST: prefix, OPENCODE_BIN: bin };
  const argv = [CLI, 'worker', '--concurrency', '1', '--json', '--grace', '5'];
  const child = spawn(process.execPath, argv, { env, stdio: ['ignore', 'ignore', 'ignore'] });
  const queue = openQueue(redis, prefix);
  try {
    await until('tasks to end', async () => {
      if (child.exitCode !== null) throw new Error(`the worker ended with ${child.exitCode}`);
      return (await queue.getJobCountByTypes('completed', 'failed')) > begun;
    });
    const jobs = await queue.getJobs(['completed', 'failed']);
    for (const { failedReason } of jobs) if (failedReason) throw new Error(`a task failed: ${failedReason}`);
    const inOrder = jobs.sort((a, b) => a.finishedOn - b.finishedOn);
    return inOrder.slice(1).map(({ returnvalue }, at) => returnvalue.stages[0].startedAt - inOrder[at].finishedOn);
  } finally {
    if (child.exitCode === null) {
      child.kill('SIGTERM');
      await once(child, 'exit');
    }
    await queue.close();
  }
}
