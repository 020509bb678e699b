// Our own share of a task's wall time when its cell was made ahead: CELLS of them are ready, as many tasks come, and the
// model takes a second a turn. Ours is all but the session: taking the cell, commit, teardown, and what a job costs before
// and after; what the worker computes meanwhile is told besides. Twice: all tasks are alike and come at once, so that
// they also end at once; then some at a time, and each has another number of turns, as in the middle of a backlog.
// Run `npm run bench:share` (some ten minutes), or with CELLS=3 TURNS=5 for two.
import { setTimeout as sleep } from 'node:timers/promises';
import { script } from '../dist/cli/demo/script.js';
import { FleetCells } from '../dist/redis/fleet-cells.js';
import { keep, machine, median, percentile, round } from './lib/figures.mjs';
import { secondsOf } from './lib/processes.mjs';
import { HOUR_MS, openRealPool } from './lib/real-pool.mjs';

/** A worker may have 50 cells, those made ahead among them: half of them wait, so that as many may be at work. */
const CELLS = Number(process.env.CELLS ?? 25);
const TURNS = Number(process.env.TURNS ?? 20);
const TURN_MS = 1_000;
const BAR = 0.02;
const PREFIX = 'share';
/** The last one to come up is entered before it has been warmed. */
const SETTLE_MS = 30_000;

/** In the second part so many come together, and so long before the next ones. */
const [TOGETHER, PAUSE_MS] = [5, 5_000];
const GOLDEN = (Math.sqrt(5) - 1) / 2;

const setting = machine();
const pool = await openRealPool(PREFIX);
const { queue } = pool;
const fleet = new FleetCells(pool.redis, { prefix: PREFIX });
try {
  const worker = pool.work(['--concurrency', String(CELLS), '--warm', String(CELLS)]);
  // Cells are made ahead for what was worked on last.
  await pool.enqueue([taskOf('first', 1)]);
  const atOnce = await measure(worker, 'at-once', async tasks => pool.enqueue(tasks));
  const spread = await measure(worker, 'spread', async tasks => {
    for (let from = 0; from < tasks.length; from += TOGETHER) {
      if (from > 0) await sleep(PAUSE_MS);
      await pool.enqueue(tasks.slice(from, from + TOGETHER));
    }
  });
  const reached = { atOnce: atOnce.share.p50 <= BAR, spread: spread.share.p50 <= BAR };
  keep(CELLS === 25 ? 'share' : `share-${CELLS}`, {
    setting: { ...setting, cells: CELLS, turns: TURNS, turnMs: TURN_MS, together: TOGETHER, pauseMs: PAUSE_MS },
    ...{ atOnce, spread, bar: { share: BAR, reached } },
  });
  for (const [name, one] of Object.entries({ 'all at once': atOnce, 'some at a time': spread })) say(name, one);
  const word = isReached => (isReached ? 'reached' : 'missed');
  process.stdout.write(`bar ${BAR * 100} %: at once ${word(reached.atOnce)}, some at a time ${word(reached.spread)}\n`);
} finally {
  await pool.close();
}

async function measure(worker, name, enqueue) {
  const before = await queue.getCompletedCount();
  const began = performance.now();
  await until(async () => (await fleet.list()).filter(isAhead).length === CELLS);
  await sleep(SETTLE_MS);
  const allReadyS = round((performance.now() - began) / 1_000, 1);
  process.stderr.write(`${CELLS} cells are ready after ${allReadyS} s\n`);

  const [usedBefore, from] = [secondsOf(worker.pid).own, performance.now()];
  const ids = Array.from({ length: CELLS }, (_, at) => `${name}-${at + 1}`);
  await enqueue(ids.map((id, at) => taskOf(id, name === 'spread' ? turnsOf(at) : TURNS)));
  const all = Math.max(before, 1) + CELLS;
  await until(async () => (await queue.getCompletedCount()) === all);
  const ownCore = (secondsOf(worker.pid).own - usedBefore) / ((performance.now() - from) / 1_000);
  const tasks = (await Promise.all(ids.map(id => queue.getJob(id)))).map(figuresOf);
  const of = (figure, digits = 0) => {
    const values = tasks.map(task => task[figure]);
    return { p50: round(median(values), digits), p95: round(percentile(values, 0.95), digits) };
  };
  return {
    ...{ allReadyS, cold: tasks.filter(({ isWarm }) => !isWarm).length, wallMs: of('wallMs') },
    ...{ sessionMs: of('sessionMs'), ownMs: of('ownMs'), spawnMs: of('spawnMs'), settleMs: of('settleMs') },
    ...{ teardownMs: of('teardownMs'), share: of('share', 4), ownCore: round(ownCore, 4) },
  };
}

function say(name, { cold, share, ownCore, ...figures }) {
  const line = names => names.map(one => `${one} ${figures[one].p50} ms (${figures[one].p95})`).join('; ');
  process.stdout.write(
    `${CELLS} tasks of ${TURNS} turns, ${name}, ${cold} of them without a cell made ahead: p50 (p95)\n` +
      `  ${line(['wallMs', 'sessionMs', 'ownMs'])}\n  of that ${line(['spawnMs', 'settleMs', 'teardownMs'])}\n` +
      `  our share ${round(share.p50 * 100, 2)} % (${round(share.p95 * 100, 2)} %); ` +
      `the worker itself took ${round(ownCore * 100, 1)} % of a core meanwhile\n`,
  );
}

async function until(isSo) {
  while (!(await isSo())) {
    await pool.demandWell();
    await sleep(200);
  }
}

/** From half of TURNS to half as many more, spread evenly over any number of tasks, neighbours apart. */
function turnsOf(at) {
  return Math.round(TURNS * (0.5 + ((at * GOLDEN) % 1)));
}

function isAhead({ record: { stage, taskId } }) {
  return stage === 'warm' && taskId === null;
}

function taskOf(id, turns) {
  const steps = Array.from({ length: turns }, (_, at) => [
    { think: TURN_MS },
    { write: { [`${id}-${at}.txt`]: `${at}\n` } },
  ]);
  return { id, prompt: `Go.\n\n${script(steps.flat())}`, timeoutMs: HOUR_MS, stallMs: HOUR_MS };
}

/** From when a worker has taken the job to its end. */
function figuresOf({ finishedOn, processedOn, progress, returnvalue }) {
  const { outcome, metrics } = returnvalue;
  if (outcome !== 'committed') throw new Error(`a task came to ${outcome}`);
  const { spawnMs, executionMs, teardownMs, totalMs } = metrics;
  const wallMs = finishedOn - processedOn;
  const ownMs = wallMs - executionMs;
  const settleMs = totalMs - spawnMs - executionMs - teardownMs;
  const isWarm = progress.cellId.startsWith('warm.');
  return { wallMs, sessionMs: executionMs, ownMs, share: ownMs / wallMs, spawnMs, settleMs, teardownMs, isWarm };
}
