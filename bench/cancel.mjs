// A task that is worked on is cancelled: how long from the call behind `cellpool cancel ID` until its outcome is
// `cancelled` and nothing of its cell is left? Once while a model that never answers is waited for, once in a test
// command that ignores SIGTERM. Beside it what cannot be done without: SIGTERM for a bare `opencode serve`, then
// `git worktree remove --force`. Both sides take turns. Run `npm run bench:cancel`, or with ROUNDS=3. Takes minutes.
import { execFileSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { script } from '../dist/cli/demo/script.js';
import { SCRIPTED_MODEL, startScriptedModel } from '../dist/cli/demo/scripted-model.js';
import { openQueue } from '../dist/job/queue.js';
import { cancelTasks } from '../dist/producer/cancel.js';
import { checkRedis, connectRedis } from '../dist/redis/connection.js';
import { CellRegistry } from '../dist/redis/registry.js';
import { startBareServer } from './lib/bare-server.mjs';
import { cellFolders } from './lib/cell-folders.mjs';
import { keep, machine, median, percentile, round } from './lib/figures.mjs';
import { processesOf } from './lib/processes.mjs';
import { openBenchSite } from './lib/site.mjs';
import { CLI, cellpoolWorker, until } from './lib/victims.mjs';

const ROUNDS = Number(process.env.ROUNDS ?? 15);
const BAR_MS = 2_000;
const HOST = { name: 'one', ports: '24000-24099' };
const PREFIX = 'cancel';
const FIRST_PORT = 25_000;

const STAGES = {
  executing: { steps: [{ hang: true }], test: null, stage: 'execute' },
  testing: {
    steps: [{ write: { 'done.txt': 'done\n' } }],
    test: reached => `trap "" TERM; touch '${reached}'; while :; do sleep 0.1; done`,
    stage: 'test',
  },
};

async function openSite() {
  const bench = await openBenchSite();
  const model = await startScriptedModel();
  writeFileSync(join(bench.folder, 'opencode.json'), JSON.stringify(model.opencodeConfig()));
  const redis = connectRedis({ path: bench.socket }, 'producer');
  await checkRedis(redis);
  const home = join(bench.folder, HOST.name);
  const registry = new CellRegistry(redis, { prefix: PREFIX, host: HOST.name, home });
  return {
    bench,
    model,
    redis,
    home,
    registry,
    worker: cellpoolWorker({ folder: bench.folder, socket: bench.socket, prefix: PREFIX }, HOST),
    queue: openQueue(redis, PREFIX),
    async close() {
      await this.worker.stop();
      await this.queue.close();
      redis.disconnect();
      await model.close();
      await bench.close();
    },
  };
}

function enqueue({ bench }, id, { steps, test }) {
  const reached = join(bench.folder, `${id}-reached`);
  const task = { id, prompt: script(steps), timeoutMs: 600_000, ...(test === null ? {} : { test: test(reached) }) };
  const file = join(bench.folder, `${id}.json`);
  writeFileSync(file, JSON.stringify([task]));
  const env = { ...process.env, REDIS_URL: `unix://${bench.socket}`, CELLPOOL_PREFIX: PREFIX };
  const flags = ['--repo', bench.repository, '--opencode-config', join(bench.folder, 'opencode.json')];
  execFileSync(process.execPath, [CLI, 'enqueue', file, ...flags, '--model', SCRIPTED_MODEL], { env, stdio: 'ignore' });
  return reached;
}

const below = (home, name) => processesOf(-1, join(home, name)).filter(pid => pid > 0);
const processesOfCells = ({ home }) => [...below(home, 'cells'), ...below(home, 'discarded')];

/** Milliseconds from the call until outcome and cell are as they should be. */
async function ours(site, id, kind) {
  const { model, queue, redis } = site;
  const asked = model.requests;
  const reached = enqueue(site, id, kind);
  await until(`${id} is at ${kind.stage}`, async () => {
    const { stage } = (await queue.getJob(id))?.progress ?? {};
    // The model hangs from its first answer on; the test command says itself when it runs.
    return stage === kind.stage && (kind.test === null ? model.requests > asked : existsSync(reached));
  });
  const began = performance.now();
  const cancelling = cancelTasks({ redis, prefix: PREFIX }, [id], { waitMs: 60_000 });
  await until(`${id} has ended`, async () => (await queue.getJobState(id)) === 'failed' || null);
  // The slot is free before that.
  await until(`the folder of ${id} is gone`, () => cellFolders(site.home).length === 0);
  const ended = performance.now();
  const entries = await site.registry.list();
  const left = { processes: processesOfCells(site).length, entries: entries.length };
  const [{ how, outcome }] = await cancelling;
  if (how !== 'cancelled' || outcome !== 'cancelled') throw new Error(`${id}: ${how}, ${outcome}`);
  if (Object.values(left).some(Boolean)) throw new Error(`${id} left ${JSON.stringify(left)}`);
  return ended - began;
}

async function bare({ bench }, turn) {
  const server = await startBareServer(bench, `bare-${turn}`, FIRST_PORT + turn);
  const began = performance.now();
  return (await server.end('SIGTERM')) - began;
}

const figures = times => ({
  p50Ms: round(median(times)),
  p95Ms: round(percentile(times, 0.95)),
  worstMs: round(percentile(times, 1)),
});

const setting = machine();
const site = await openSite();
try {
  site.worker.start();
  const times = { executing: [], testing: [], bare: [] };
  // Turn 0 of each pays for cold file caches.
  for (let turn = 0; turn <= ROUNDS; turn += 1) {
    const one = { bare: await bare(site, turn) };
    for (const [name, kind] of Object.entries(STAGES)) one[name] = await ours(site, `${name}-${turn}`, kind);
    const said = Object.entries(one).map(([name, ms]) => `${name} ${round(ms)} ms`);
    process.stderr.write(`round ${turn}: ${said.join('  ')}\n`);
    if (turn > 0) for (const [name, ms] of Object.entries(one)) times[name].push(ms);
  }
  const bareFigures = figures(times.bare);
  const ways = {};
  for (const name of Object.keys(STAGES)) {
    const found = figures(times[name]);
    ways[name] = { ...found, ratioToBare: round(found.p50Ms / bareFigures.p50Ms, 2), reached: found.worstMs <= BAR_MS };
  }
  const loadAfter = machine().loadBefore;
  keep('cancel', {
    setting: { ...setting, loadAfter, rounds: ROUNDS },
    ways,
    bare: bareFigures,
    bars: { worstMs: BAR_MS },
  });
  const line = (name, { p50Ms, p95Ms, worstMs }, more) =>
    `${name.padEnd(44)} ${String(p50Ms).padStart(5)} ms p50 ${String(p95Ms).padStart(5)} ms p95 ` +
    `${String(worstMs).padStart(5)} ms worst of ${ROUNDS}  ${more}\n`;
  const say = name => `ratio ${ways[name].ratioToBare}  bar ${ways[name].reached ? 'reached' : 'missed'}`;
  process.stdout.write(
    line('cancel while the model is waited for', ways.executing, say('executing')) +
      line('cancel in a test that ignores SIGTERM', ways.testing, say('testing')) +
      line('bare: SIGTERM, then git worktree remove', bareFigures, `bar of ${BAR_MS} ms for the worst of ours`) +
      `${setting.cpus} CPUs, load ${setting.loadBefore} before and ${loadAfter} after, node ${setting.node}\n`,
  );
} finally {
  await site.close();
}
