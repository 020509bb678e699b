// Our own share of a task's wall time when its cell was made ahead: CELLS of them are ready, as many tasks come at once,
// and the model takes a second a turn. Ours is all but the session: taking the cell, commit, teardown, and what a job
// costs before and after; what the worker computes meanwhile is told besides.
// Run `npm run bench:share` (some ten minutes), or with CELLS=3 TURNS=5 for two.
import { setTimeout as sleep } from 'node:timers/promises';
import { script } from '../dist/cli/demo/script.js';
import { FleetCells } from '../dist/redis/fleet-cells.js';
import { keep, machine, median, percentile, round } from './lib/figures.mjs';
import { processorSeconds } from './lib/processes.mjs';
import { HOUR_MS, openRealPool } from './lib/real-pool.mjs';

/** A worker may have 50 cells, those made ahead among them: half of them wait, so that as many may be at work. */
const CELLS = Number(process.env.CELLS ?? 25);
const TURNS = Number(process.env.TURNS ?? 20);
const TURN_MS = 1_000;
const BAR = 0.02;
const PREFIX = 'share';
/** The last one to come up is entered before it has been warmed. */
const SETTLE_MS = 30_000;

const setting = machine();
const pool = await openRealPool(PREFIX);
const { queue } = pool;
const fleet = new FleetCells(pool.redis, { prefix: PREFIX });
try {
  const until = async isSo => {
    while (!(await isSo())) {
      await pool.demandWell();
      await sleep(200);
    }
  };
  const worker = pool.work(['--concurrency', String(CELLS), '--warm', String(CELLS)]);
  // Cells are made ahead for what was worked on last.
  await pool.enqueue([taskOf('first', 1)]);
  const began = performance.now();
  await until(async () => (await fleet.list()).filter(isAhead).length === CELLS);
  await sleep(SETTLE_MS);
  const allReadyS = round((performance.now() - began) / 1_000, 1);
  process.stderr.write(`${CELLS} cells are ready after ${allReadyS} s\n`);

  const [usedBefore, from] = [processorSeconds(worker.pid), performance.now()];
  const ids = Array.from({ length: CELLS }, (_, at) => `task-${at + 1}`);
  await pool.enqueue(ids.map(id => taskOf(id, TURNS)));
  await until(async () => (await queue.getCompletedCount()) === CELLS + 1);
  const workerCore = (processorSeconds(worker.pid) - usedBefore) / ((performance.now() - from) / 1_000);
  const tasks = (await Promise.all(ids.map(id => queue.getJob(id)))).map(figuresOf);
  const cold = tasks.filter(({ isWarm }) => !isWarm).length;
  const of = (name, digits = 0) => {
    const values = tasks.map(one => one[name]);
    return { p50: round(median(values), digits), p95: round(percentile(values, 0.95), digits) };
  };
  const share = of('share', 4);
  const reached = share.p50 <= BAR;
  keep(CELLS === 25 ? 'share' : `share-${CELLS}`, {
    setting: { ...setting, cells: CELLS, turns: TURNS, turnMs: TURN_MS },
    ...{ allReadyS, cold, wallMs: of('wallMs'), sessionMs: of('sessionMs'), ownMs: of('ownMs') },
    ...{ spawnMs: of('spawnMs'), teardownMs: of('teardownMs'), settleMs: of('settleMs'), share },
    ...{ workerCore: round(workerCore, 4), bar: { share: BAR, reached } },
  });
  const line = name => `${name} ${of(name).p50} ms (p95 ${of(name).p95})`;
  process.stdout.write(
    `${CELLS} tasks of ${TURNS} turns at once, ${cold} of them without a cell made ahead (p50, p95)\n` +
      `${['wallMs', 'sessionMs', 'ownMs'].map(line).join('; ')}\n` +
      `of that ${['spawnMs', 'settleMs', 'teardownMs'].map(line).join('; ')}\n` +
      `our share ${round(share.p50 * 100, 2)} % (p95 ${round(share.p95 * 100, 2)} %), bar ${BAR * 100} % ${reached ? 'reached' : 'missed'}; ` +
      `the worker itself took ${round(workerCore * 100, 1)} % of a core meanwhile\n`,
  );
} finally {
  await pool.close();
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
