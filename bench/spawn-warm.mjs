// A cell that was made ahead, beside what nobody can do without when there is none: `git worktree add`, then `opencode
// serve` until its first healthy answer. Both sides begin when the task is there, and go on to the first call that the
// model gets. Run `npm run bench:spawn-warm`. Takes about three minutes.
import { setTimeout as sleep } from 'node:timers/promises';
import { SCRIPTED_MODEL, startScriptedModel } from '../dist/cli/demo/scripted-model.js';
import { startBareServer } from './lib/bare-server.mjs';
import { keep, machine, median, percentile, round } from './lib/figures.mjs';
import { openBenchSite } from './lib/site.mjs';
import { byTurns } from './lib/turns.mjs';

const ROUNDS = Number(process.env.ROUNDS ?? 10);
const SPAWN_BAR_MS = 100;
const CALL_BAR_MS = 150;
const FIRST_PORT = 25_000;
const PROMPT = 'Say that you are ready.';

const model = await startScriptedModel();

/** `performance.now()` of the next call that the model gets, to a millisecond: to look without a pause costs a core. */
async function nextCall() {
  const before = model.requests;
  while (model.requests === before) await sleep(1);
  return performance.now();
}

async function bare(bench, turn) {
  const server = await startBareServer(bench, `bare-${turn}`, FIRST_PORT + turn, model.opencodeConfig());
  const call = nextCall();
  await server.prompt(PROMPT);
  const called = await call;
  await server.end('SIGKILL');
  const { began, ready } = server.times;
  return { spawnMs: ready - began, callMs: called - began };
}

async function ours(bench, turn) {
  const like = { model: SCRIPTED_MODEL, opencode: model.opencodeConfig() };
  const asked = performance.now();
  await bench.spawner.prepareAgent(like);
  const began = performance.now();
  const agent = await bench.spawner.spawnAgent({ agentId: `ours-${turn}`, taskId: `ours-${turn}`, ...like });
  const ready = performance.now();
  const call = nextCall();
  const session = bench.spawner.executeTask(agent, PROMPT);
  const called = await call;
  await session;
  await bench.spawner.teardownAgent(agent);
  if (!agent.cell.cellId.startsWith('warm.')) throw new Error(`${agent.cell.cellId} was not made ahead`);
  return { aheadMs: began - asked, spawnMs: ready - began, callMs: called - began };
}

const setting = machine();
const bench = await openBenchSite();
try {
  const sides = { bare: turn => bare(bench, turn), ours: turn => ours(bench, turn) };
  const rounds = await byTurns(ROUNDS, sides, one => {
    const figures = [one.bare.spawnMs, one.bare.callMs, one.ours.spawnMs, one.ours.callMs].map(ms => round(ms));
    const [b, bc, o, oc] = figures.map(ms => String(ms).padStart(6));
    return `bare ${b} ms, model called ${bc} ms  ours ${o} ms, model called ${oc} ms`;
  });
  const side = (name, key) => {
    const values = rounds.map(one => one[name][key]);
    return { p50: round(median(values)), p95: round(percentile(values, 0.95)), worst: round(percentile(values, 1)) };
  };
  const figures = {
    bare: { spawnMs: side('bare', 'spawnMs'), callMs: side('bare', 'callMs') },
    ours: { aheadMs: side('ours', 'aheadMs'), spawnMs: side('ours', 'spawnMs'), callMs: side('ours', 'callMs') },
  };
  const { bare: b, ours: o } = figures;
  const result = {
    setting: { ...setting, rounds: ROUNDS },
    ...figures,
    ratio: { spawn: round(o.spawnMs.p50 / b.spawnMs.p50, 3), call: round(o.callMs.p50 / b.callMs.p50, 3) },
    bars: { spawnP50Ms: SPAWN_BAR_MS, callP50Ms: CALL_BAR_MS },
    reached: { spawn: o.spawnMs.p50 <= SPAWN_BAR_MS, call: o.callMs.p50 <= CALL_BAR_MS },
    rounds: rounds.map(one => ({
      bareMs: round(one.bare.spawnMs),
      bareCallMs: round(one.bare.callMs),
      aheadMs: round(one.ours.aheadMs),
      oursMs: round(one.ours.spawnMs),
      oursCallMs: round(one.ours.callMs),
    })),
  };
  keep('spawn-warm', result);
  const said = good => (good ? 'reached' : 'missed');
  const row = (name, { p50, p95 }) =>
    `${name.padEnd(52)}${String(p50).padStart(7)} ms p50 ${String(p95).padStart(7)} ms p95`;
  const lines = [
    `n = ${ROUNDS}`,
    row('bare git worktree add + opencode serve', b.spawnMs),
    row('bare, until the model is called', b.callMs),
    `${row('a cell that was made ahead', o.spawnMs)}   bar of ${SPAWN_BAR_MS} ms ${said(result.reached.spawn)}`,
    `${row('a cell that was made ahead, until the model is called', o.callMs)}   bar of ${CALL_BAR_MS} ms ${said(result.reached.call)}`,
    row('making one ahead', o.aheadMs),
    `ratio ${result.ratio.spawn}, until the model is called ${result.ratio.call}`,
  ];
  process.stdout.write(`${lines.join('\n')}\n`);
} finally {
  await bench.close();
  await model.close();
}
