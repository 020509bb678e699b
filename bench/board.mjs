// How long does the board take with 50 cells at work and 10,000 ended tasks on the queue? The page, the same as JSON,
// and the push: from a cell's change of stage until a listener has heard of it, with 20 listening. The records are made
// by the classes that workers make them with; nothing works on anything meanwhile. Run `npm run bench:board`.
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { UnrecoverableError, Worker } from 'bullmq';
import { EVERY_MS } from '../dist/board/live.js';
import { startBoard } from '../dist/board/server.js';
import { boardActions } from '../dist/cli/board-actions.js';
import { openLandingQueue } from '../dist/job/landing.js';
import { TASK_QUEUE } from '../dist/job/names.js';
import { STAGES } from '../dist/job/outcome.js';
import { jobOptions, openQueue, TASK_JOB } from '../dist/job/queue.js';
import { parseTask } from '../dist/job/task.js';
import { checkRedis, connectRedis } from '../dist/redis/connection.js';
import { openRedis } from '../dist/redis/open-redis.js';
import { CellRegistry } from '../dist/redis/registry.js';
import { Tally } from '../dist/redis/tally.js';
import { WorkerList } from '../dist/redis/worker-list.js';
import { keep, machine, median, percentile, round } from './lib/figures.mjs';

const JOBS = Number(process.env.JOBS ?? 10_000);
const CELLS = Number(process.env.CELLS ?? 50);
const ROUNDS = Number(process.env.ROUNDS ?? 60);
const LISTENERS = 20;
const BEAT_MS = 5_000;
const PREFIX = 'board';
const HOSTS = ['one', 'two'];
const OUTCOMES = ['committed', 'committed', 'committed', 'no-changes', 'reverted', 'failed', 'timed-out'];

const say = text => process.stderr.write(`${text}\n`);

function taskJob(id) {
  const { task } = parseTask({ id, prompt: `Do ${id}, and test that it is done. `.repeat(8), title: `Do ${id}` }, id);
  const plan = { setupMs: 1_000, testMs: 1_000, author: { name: 'bench', email: 'bench@localhost' }, opencode: {} };
  return { version: 1, task, repository: '/srv/repositories/shop', plan, results: [] };
}

function resultOf(taskId, outcome) {
  const metrics = { spawnMs: 2_000, executionMs: 60_000, teardownMs: 300, totalMs: 70_000 };
  const error = outcome === 'reverted' ? { code: 'TESTS_FAILED', message: 'not ok 3\n'.repeat(40) } : null;
  const common = { taskId, outcome, attempt: 1, branch: null, commit: null, tokensUsed: 12_000, tests: null, metrics };
  return { ...common, error, filesModified: ['a.ts', 'b.ts'], artifacts: `/state/artifacts/${taskId}/1-0123abcd` };
}

/** All are put on the queue, and ended by a worker that knows how each ends. */
async function endJobs(queue, connection) {
  const ids = Array.from({ length: JOBS }, (_, index) => `task-${index}`);
  const tally = new Tally(connection, { prefix: PREFIX });
  const worker = new Worker(
    TASK_QUEUE,
    async job => {
      const outcome = OUTCOMES[Number(job.id.slice('task-'.length)) % OUTCOMES.length];
      const result = resultOf(job.id, outcome);
      await job.updateData({ ...job.data, results: [result] });
      await tally.add(result, job.id);
      if (outcome === 'committed' || outcome === 'no-changes') return result;
      throw new UnrecoverableError(outcome);
    },
    { connection, prefix: PREFIX, concurrency: 100, settings: { backoffStrategy: () => -1 } },
  );
  let ended = 0;
  const done = new Promise(resolve => {
    const count = () => {
      ended += 1;
      if (ended % 1_000 === 0) say(`${ended} ended`);
      if (ended === JOBS) resolve();
    };
    worker.on('error', error => say(String(error)));
    worker.on('completed', count);
    worker.on('failed', count);
  });
  for (let from = 0; from < JOBS; from += 500) {
    const some = ids.slice(from, from + 500).map(taskJob);
    await queue.addBulk(some.map(data => ({ name: TASK_JOB, data, opts: jobOptions(data.task) })));
  }
  await done;
  await worker.close();
}

async function enterCells(redis, home, queue) {
  const registries = HOSTS.map(host => new CellRegistry(redis, { prefix: PREFIX, host, home: join(home, host) }));
  const identity = { pid: process.pid, startTime: '1', bootId: 'b', pidNamespace: 'n' };
  const cells = [];
  for (let index = 0; index < CELLS; index += 1) {
    const registry = registries[index % HOSTS.length];
    const data = taskJob(`running-${index}`);
    await queue.add(TASK_JOB, data, jobOptions(data.task));
    const enqueuedAt = (await queue.getJob(data.task.id)).timestamp;
    const cellId = `${data.task.id}.${randomBytes(4).toString('hex')}`;
    await registry.register({
      ...{ version: 1, cellId, host: registry.host, home: registry.home, worker: { ...identity, id: registry.host } },
      ...{ taskId: data.task.id, attempt: 1, job: { token: 't', enqueuedAt }, repository: data.repository },
      ...{
        mirror: '/m',
        artifacts: '/a',
        isolation: 'strict',
        workspace: '/w',
        port: { port: 9_000 + index, token: 't' },
      },
      ...{ server: null, stage: 'spawn', abandoned: false, createdAt: Date.now() - index * 10_000 },
    });
    cells.push({ registry, cellId, taskId: data.task.id });
  }
  for (const host of HOSTS) {
    const running = cells.filter(({ registry }) => registry.host === host).map(({ taskId }) => taskId);
    await new WorkerList(redis, { prefix: PREFIX }).beat({
      ...{ id: host, host, pid: 1, startTime: '1', bootId: 'b', startedAt: Date.now() },
      ...{ concurrency: 50, running, draining: false },
    });
  }
  // As workers do it: a cell without a sign of life is told as such.
  const beats = setInterval(() => {
    for (const registry of registries) void registry.beat();
  }, BEAT_MS);
  beats.unref();
  return cells;
}

async function timed(times, work) {
  const began = performance.now();
  const result = await work();
  times.push(performance.now() - began);
  return result;
}

/** Calls `told` with every message that has parts. */
async function listen(url, told) {
  const control = new AbortController();
  const response = await fetch(`${url}events`, { signal: control.signal });
  const reading = (async () => {
    let rest = '';
    for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
      rest += chunk;
      const blocks = rest.split('\n\n');
      rest = blocks.pop();
      for (const block of blocks) if (block.startsWith('event: parts')) told(block);
    }
  })().catch(error => {
    if (error.name !== 'AbortError') throw error;
  });
  return {
    close() {
      control.abort();
      return reading;
    },
  };
}

async function pushes(url, streams, cells) {
  const heard = new Map();
  const first = new Promise(resolve => heard.set('first', resolve));
  let bytes = 0;
  const listeners = [];
  for (let index = 0; index < LISTENERS; index += 1) {
    const listener = await listen(url, block => {
      if (index > 0) return;
      bytes = block.length;
      for (const wanted of [...heard.values()]) wanted(block);
    });
    listeners.push(listener);
  }
  await first;
  heard.clear();
  const times = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const { registry, cellId } = cells[round % cells.length];
    // Another stage than before, the first time and each time the cell's turn comes again.
    const stage = STAGES[1 + (Math.floor(round / cells.length) % (STAGES.length - 1))];
    // Changes come at any moment between two readings.
    await sleep(Math.random() * EVERY_MS);
    await timed(times, async () => {
      const told = new Promise(resolve => {
        heard.set(cellId, block => {
          const row = block.split(cellId)[1]?.split('</tr>')[0] ?? '';
          if (row.includes(`badge stage ${stage}`)) resolve();
        });
      });
      registry.stage(cellId, stage);
      await told;
      heard.delete(cellId);
    });
  }
  const { topics } = streams.state;
  for (const listener of listeners) await listener.close();
  return { times, bytes, topics };
}

const figures = times => ({
  p50Ms: round(median(times), 1),
  p95Ms: round(percentile(times, 0.95), 1),
  worstMs: round(percentile(times, 1), 1),
});

const setting = machine();
const home = mkdtempSync(join(tmpdir(), 'cellpool-bench-'));
const server = await openRedis({ home, say });
const clients = ['producer', 'worker'].map(role => connectRedis(server.address, role));
const [redis, connection] = clients;
let board;
let queue;
let landing;
try {
  await Promise.all(clients.map(client => checkRedis(client)));
  queue = openQueue(redis, PREFIX);
  landing = openLandingQueue(redis, PREFIX);
  say(`ending ${JOBS} tasks ...`);
  await endJobs(queue, connection);
  const cells = await enterCells(redis, home, queue);
  board = await startBoard({
    ...{ host: '127.0.0.1', port: 0, credentials: null, say },
    view: { redis, queue, landing, prefix: PREFIX },
    site: { home, host: 'one' },
    actions: boardActions({ redis, queue, prefix: PREFIX }),
  });
  const { url } = board;
  const paths = {
    page: '',
    pool: 'api/pool',
    tasks: 'tasks?state=failed',
    task: 'tasks/task-4',
    bullBoard: 'queues/api/queues?activeQueue=tasks&status=latest&page=1',
  };
  const times = Object.fromEntries(Object.keys(paths).map(name => [name, []]));
  const bytes = {};
  // Turn 0 of each pays for what is loaded once.
  for (let turn = 0; turn <= ROUNDS; turn += 1) {
    for (const [name, path] of Object.entries(paths)) {
      const body = await timed(turn === 0 ? [] : times[name], async () => {
        const response = await fetch(`${url}${path}`);
        if (response.status !== 200) throw new Error(`${path}: ${response.status}`);
        return response.text();
      });
      bytes[name] = body.length;
    }
  }
  const pushed = await pushes(url, board.streams, cells);
  const result = {
    setting: {
      ...setting,
      loadAfter: machine().loadBefore,
      jobs: JOBS,
      cells: CELLS,
      rounds: ROUNDS,
      listeners: LISTENERS,
    },
    ...Object.fromEntries(Object.entries(times).map(([name, all]) => [name, { ...figures(all), bytes: bytes[name] }])),
    push: { ...figures(pushed.times), bytes: pushed.bytes, everyMs: EVERY_MS, readers: pushed.topics.length },
  };
  keep('board', result);
  for (const name of [...Object.keys(paths), 'push']) {
    const { p50Ms, p95Ms, worstMs, bytes: size } = result[name];
    const path =
      name === 'push' ? `stage change to ${LISTENERS} listeners (read every ${EVERY_MS} ms)` : `/${paths[name]}`;
    process.stdout.write(
      `${path.padEnd(70)} ${String(p50Ms).padStart(7)} ms p50 ${String(p95Ms).padStart(7)} ms p95 ${String(worstMs).padStart(7)} ms worst  ${size} bytes\n`,
    );
  }
  process.stdout.write(
    `${CELLS} cells, ${JOBS} ended tasks, ${setting.cpus} CPUs, load ${setting.loadBefore} before and ${result.setting.loadAfter} after, node ${setting.node}\n`,
  );
} finally {
  await board?.close();
  await Promise.all([queue?.close(), landing?.close()]);
  for (const client of clients) client.disconnect();
  await server.close();
  rmSync(home, { recursive: true, force: true });
}
