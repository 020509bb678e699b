// Our cold spawn beside what nobody can do without: `git worktree add`, then `opencode serve` until its first healthy
// answer. Both sides take turns in one run, on the same repository, with the same environment and config for opencode.
// Run `npm run bench:spawn`. Takes about a minute.
import { startBareServer } from './lib/bare-server.mjs';
import { keep, machine, median, percentile, round } from './lib/figures.mjs';
import { openBenchSite } from './lib/site.mjs';
import { byTurns } from './lib/turns.mjs';

const ROUNDS = Number(process.env.ROUNDS ?? 10);
const RATIO_BAR = 1.15;
const TEARDOWN_BAR_MS = 100;
const FIRST_PORT = 25_000;

async function bare(bench, turn) {
  const server = await startBareServer(bench, `bare-${turn}`, FIRST_PORT + turn);
  await server.end('SIGKILL');
  const { began, made, ready } = server.times;
  return { spawnMs: ready - began, worktreeMs: made - began };
}

async function ours(bench, turn) {
  const id = `ours-${turn}`;
  const began = performance.now();
  const agent = await bench.spawner.spawnAgent({ agentId: id, taskId: id });
  const ready = performance.now();
  await bench.spawner.teardownAgent(agent);
  return { spawnMs: ready - began, teardownMs: performance.now() - ready };
}

const setting = machine();
const bench = await openBenchSite();
try {
  const sides = { bare: turn => bare(bench, turn), ours: turn => ours(bench, turn) };
  const rounds = await byTurns(ROUNDS, sides, one => {
    const figures = [one.bare.spawnMs, one.ours.spawnMs, one.ours.teardownMs].map(ms => String(round(ms)).padStart(6));
    return `bare ${figures[0]} ms  ours ${figures[1]} ms  teardown ${figures[2]} ms`;
  });
  const of = value => rounds.map(value);
  const bareMs = median(of(({ bare }) => bare.spawnMs));
  const oursMs = median(of(({ ours }) => ours.spawnMs));
  const ratio = oursMs / bareMs;
  const teardowns = of(({ ours }) => ours.teardownMs);
  const result = {
    setting: { ...setting, rounds: ROUNDS },
    bareMs: round(bareMs),
    oursMs: round(oursMs),
    ratio: round(ratio, 3),
    /** Of each round's two sides, which had the same load: less shaken by others on the machine. */
    ratioOfPairs: round(median(of(({ bare, ours }) => ours.spawnMs / bare.spawnMs)), 3),
    teardownP50Ms: round(median(teardowns)),
    teardownWorstMs: round(percentile(teardowns, 1)),
    bars: { ratio: RATIO_BAR, teardownP50Ms: TEARDOWN_BAR_MS },
    reached: { ratio: ratio <= RATIO_BAR, teardown: median(teardowns) <= TEARDOWN_BAR_MS },
    rounds: rounds.map(({ bare, ours }) => ({
      bareMs: round(bare.spawnMs),
      bareWorktreeMs: round(bare.worktreeMs),
      oursMs: round(ours.spawnMs),
      teardownMs: round(ours.teardownMs),
    })),
  };
  keep('spawn', result);
  const said = good => (good ? 'reached' : 'missed');
  process.stdout.write(
    `bare git worktree add + opencode serve  ${result.bareMs} ms (median of ${ROUNDS})\n` +
      `cellpool's cold spawn                   ${result.oursMs} ms\n` +
      `ratio                                   ${result.ratio}   bar of ${RATIO_BAR} ${said(result.reached.ratio)}\n` +
      `teardown until the slot is free         ${result.teardownP50Ms} ms p50, ${result.teardownWorstMs} ms worst` +
      `   bar of ${TEARDOWN_BAR_MS} ms p50 ${said(result.reached.teardown)}\n`,
  );
} finally {
  await bench.close();
}
