// From the end of a cell's work until its slot is free, beside what nobody can do without: SIGTERM to a bare server and
// `git worktree remove --force`. They take turns on one repository, first a small one, then one with FILES files more.
// Run `npm run bench:teardown`, or with ROUNDS=3 FILES=5000. Takes some minutes.
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { silentLogger } from '../dist/observe/logger.js';
import { ownIdentity } from '../dist/os/identity.js';
import { Removals } from '../dist/worker/removals.js';
import { startBareServer } from './lib/bare-server.mjs';
import { cellFolders } from './lib/cell-folders.mjs';
import { keep, machine, median, percentile, round } from './lib/figures.mjs';
import { openBenchSite } from './lib/site.mjs';

const ROUNDS = Number(process.env.ROUNDS ?? 10);
const FILES = Number(process.env.FILES ?? 20_000);
const BAR_MS = 100;
const FIRST_PORT = 25_500;
const FOLDERS = 100;

function addFiles(repository) {
  for (let at = 0; at < FILES; at += 1) {
    const folder = join(repository, 'more', String(at % FOLDERS));
    if (at < FOLDERS) mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, `${at}.txt`), `${at}\n`.repeat(100));
  }
  execFileSync('git', ['add', '--all'], { cwd: repository });
  const as = ['-c', 'user.name=bench', '-c', 'user.email=bench@localhost'];
  execFileSync('git', [...as, 'commit', '--quiet', '--message', 'More files'], { cwd: repository });
}

async function bare(bench, id, port) {
  const server = await startBareServer(bench, id, port);
  const began = performance.now();
  return (await server.end('SIGTERM')) - began;
}

/** Of a cell whose server lives, as after a spawn that somebody cancels. */
async function living(spawner, id, removals) {
  const agent = await spawner.spawnAgent({ agentId: id, taskId: id });
  const began = performance.now();
  await spawner.teardownAgent(agent);
  const freeMs = performance.now() - began;
  await removals?.settled();
  return { freeMs, goneMs: performance.now() - began };
}

/** Of one whose server was stopped when its session was over, as every attempt does that comes so far. */
async function stopped(spawner, id, removals) {
  const agent = await spawner.spawnAgent({ agentId: id, taskId: id });
  const began = performance.now();
  await spawner.stopServer(agent);
  const stoppedAt = performance.now();
  await spawner.teardownAgent(agent);
  const freeAt = performance.now();
  await removals.settled();
  return { stopMs: stoppedAt - began, afterStopMs: freeAt - stoppedAt };
}

async function measure(bench, { behind, inPlace, removals }, size, firstPort) {
  const rounds = [];
  // The first of each pays for cold file caches.
  for (let turn = 0; turn <= ROUNDS; turn += 1) {
    const one = {
      bareMs: await bare(bench, `bare-${size}-${turn}`, firstPort + turn),
      ...(await living(behind, `behind-${size}-${turn}`, removals)),
      ...(await stopped(behind, `stopped-${size}-${turn}`, removals)),
      inPlaceMs: (await living(inPlace, `in-place-${size}-${turn}`, null)).freeMs,
    };
    if (turn > 0) rounds.push(one);
    const said = Object.entries(one).map(([name, ms]) => `${name} ${round(ms)}`);
    process.stderr.write(`${size}, round ${turn}: ${said.join('  ')}\n`);
  }
  const of = name => rounds.map(one => one[name]);
  const figures = name => ({ p50: round(median(of(name))), p95: round(percentile(of(name), 0.95)) });
  return {
    bareMs: figures('bareMs'),
    slotFreeMs: figures('freeMs'),
    /** With the folder removed behind. */
    allGoneMs: figures('goneMs'),
    /** Of the same, had the folder been removed before. */
    removedInPlaceMs: figures('inPlaceMs'),
    /** A server's end at the end of its session, and teardown after that. */
    stopServerMs: figures('stopMs'),
    slotFreeAfterStopMs: figures('afterStopMs'),
    ratio: round(median(of('freeMs')) / median(of('bareMs')), 2),
    reached: median(of('freeMs')) <= BAR_MS,
  };
}

const setting = machine();
const bench = await openBenchSite();
try {
  const removals = new Removals({ home: bench.home, owner: await ownIdentity(), log: silentLogger });
  const behind = await bench.spawnerWith({ discard: folder => removals.take(folder) });
  const inPlace = await bench.spawnerWith({});
  const spawners = { behind, inPlace, removals };
  const small = await measure(bench, spawners, 'small', FIRST_PORT);
  addFiles(bench.repository);
  const large = await measure(bench, spawners, 'large', FIRST_PORT + ROUNDS + 1);
  const left = cellFolders(bench.home).length;
  keep('teardown', {
    setting: { ...setting, loadAfter: machine().loadBefore, rounds: ROUNDS, filesOfLarge: FILES },
    small,
    large,
    bar: { slotFreeP50Ms: BAR_MS },
    left: { cells: left },
  });
  const line = (what, name) =>
    `${what.padEnd(50)}${[small, large].map(one => `${one[name].p50} (${one[name].p95})`.padStart(16)).join('')}\n`;
  const bar = ({ reached }) => (reached ? 'reached' : 'missed');
  process.stdout.write(
    `${'ms, p50 (p95)'.padEnd(50)}${'small'.padStart(16)}${`${FILES} files`.padStart(16)}\n` +
      line('bare SIGTERM + git worktree remove --force', 'bareMs') +
      line("a living cell's end until its slot is free", 'slotFreeMs') +
      line('until its folder is gone', 'allGoneMs') +
      line('until the slot is free, folder removed in place', 'removedInPlaceMs') +
      line("stopping the server at its session's end", 'stopServerMs') +
      line('after that until the slot is free', 'slotFreeAfterStopMs') +
      `ratio to bare ${small.ratio} and ${large.ratio}; bar of ${BAR_MS} ms p50 ${bar(small)} and ${bar(large)}; ` +
      `${left} folders left (n = ${ROUNDS})\n`,
  );
} finally {
  await bench.close();
}
