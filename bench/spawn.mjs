// Our cold spawn beside what nobody can do without: `git worktree add`, then `opencode serve` until its first healthy
// answer. Both sides take turns in one run, on the same repository, with the same environment and config for opencode.
// Run `npm run bench:spawn`. Takes about a minute.
import { execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { makeCellFolders, serverEnvironment } from '../dist/cell/environment.js';
import { opencodeConfig } from '../dist/cell/server.js';
import { keep, machine, median, percentile, round } from './lib/figures.mjs';
import { openBenchSite } from './lib/site.mjs';

const ROUNDS = Number(process.env.ROUNDS ?? 10);
const RATIO_BAR = 1.15;
const TEARDOWN_BAR_MS = 100;
/** As our own spawn polls: a request that comes just before the server listens may hang for ever. */
const POLL_MS = 25;
const REQUEST_MS = 300;
const FIRST_PORT = 25_000;

const run = promisify(execFile);

async function bare(bench, turn) {
  const id = `bare-${turn}`;
  const cell = join(bench.folder, 'bare', id);
  mkdirSync(cell, { recursive: true });
  const workspace = join(cell, 'workspace');
  const folders = await makeCellFolders(cell);
  const password = randomBytes(24).toString('base64url');
  const config = opencodeConfig(workspace, undefined);
  const { configFolder } = bench.site;
  const env = await serverEnvironment({ cellId: id, folders, configFolder, config, password, passed: [] });
  const port = FIRST_PORT + turn;

  const began = performance.now();
  await run('git', ['worktree', 'add', '--quiet', '-b', id, workspace, 'main'], { cwd: bench.repository });
  const made = performance.now();
  const argv = ['serve', '--port', String(port), '--hostname', '127.0.0.1', '--pure'];
  const child = spawn(bench.site.binary, argv, { cwd: workspace, env, detached: true, stdio: 'ignore' });
  const ended = once(child, 'exit');
  const authorization = `Basic ${Buffer.from(`opencode:${password}`).toString('base64')}`;
  for (;;) {
    const options = { headers: { authorization }, signal: AbortSignal.timeout(REQUEST_MS) };
    const answer = await fetch(`http://127.0.0.1:${port}/global/health`, options).catch(() => null);
    await answer?.text();
    if (answer?.ok) break;
    if (child.exitCode !== null) throw new Error(`the bare server ended with ${child.exitCode}`);
    await sleep(POLL_MS);
  }
  const ready = performance.now();

  process.kill(-child.pid, 'SIGKILL');
  await ended;
  await run('git', ['worktree', 'remove', '--force', workspace], { cwd: bench.repository });
  rmSync(cell, { recursive: true, force: true });
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
  // The first of each pays for cold file caches.
  await bare(bench, 0);
  await ours(bench, 0);
  const rounds = [];
  for (let turn = 1; turn <= ROUNDS; turn += 1) {
    const one = { bare: await bare(bench, turn), ours: await ours(bench, turn) };
    rounds.push(one);
    const figures = [one.bare.spawnMs, one.ours.spawnMs, one.ours.teardownMs].map(ms => String(round(ms)).padStart(6));
    process.stderr.write(`round ${turn}: bare ${figures[0]} ms  ours ${figures[1]} ms  teardown ${figures[2]} ms\n`);
  }
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
