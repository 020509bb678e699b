// What a worker uses for itself beside its cells: CELLS real cells, all alive at once, first while all of them wait for
// their model and then while each does a session. Run `npm run bench:live-cells`, or with CELLS=4 WINDOW_MS=60000. On two
// processors fifty cells need some minutes to come up, and the machine for themselves.
import { readFileSync } from 'node:fs';
import { createServer, request } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { script } from '../dist/cli/demo/script.js';
import { keep, machine, round } from './lib/figures.mjs';
import { processesOf, processorSeconds, secondsOf } from './lib/processes.mjs';
import { HOUR_MS, openRealPool } from './lib/real-pool.mjs';
import { until } from './lib/victims.mjs';

const CELLS = Number(process.env.CELLS ?? 50);
const WINDOW_MS = Number(process.env.WINDOW_MS ?? 60_000);
/** After the last cell came up, before anything is measured. */
const SETTLE_MS = 10_000;
const SAMPLE_MS = 5_000;
const STEPS = 10;
const BARS = { core: 0.05, rssMiB: 250 };

const setting = machine();
const gate = await openGate();
const pool = await openRealPool('live', config => config.replace(/127\.0\.0\.1:\d+/g, `127.0.0.1:${gate.port}`));
const { home, queue } = pool;
let worker = null;
try {
  await pool.enqueue(Array.from({ length: CELLS }, (_, at) => taskOf(`live-${at + 1}`)));
  worker = pool.work(['--concurrency', String(CELLS)], profiled());
  const began = performance.now();
  while (gate.waiting < CELLS) {
    await pool.demandWell();
    await sleep(200);
  }
  const allUpS = round((performance.now() - began) / 1_000, 1);
  await sleep(SETTLE_MS);
  const thinking = await during(() => sleep(WINDOW_MS));
  const session = await during(async () => {
    gate.open();
    await until('the first session to end', async () => (await queue.getJobCountByTypes('completed', 'failed')) > 0);
  });
  await until('the tasks', async () => (await queue.getJobCountByTypes('completed', 'failed')) === CELLS);
  const committed = await queue.getJobCountByTypes('completed');
  const reached = { core: thinking.core <= BARS.core, rssMiB: thinking.rssMiB <= BARS.rssMiB };
  keep(CELLS === 50 ? 'live-cells' : `live-cells-${CELLS}`, {
    setting: { ...setting, cells: CELLS, windowMs: WINDOW_MS },
    ...{ allUpS, committed, thinking, session, bars: { ...BARS, reached } },
  });
  process.stdout.write(`${CELLS} cells, all up after ${allUpS} s; ${committed} committed\n`);
  for (const [name, one] of Object.entries({ thinking, session })) {
    process.stdout.write(
      `${name.padEnd(8)}  the worker itself ${round(one.core * 100, 1)} % of a core, ${one.rssMiB} MiB (its commands ${round(one.commandsCore * 100, 1)} %); its cells ${round(one.cellsCore * 100, 1)} %; ${one.seconds} s\n`,
    );
  }
  const word = isReached => (isReached ? 'reached' : 'missed');
  process.stdout.write(
    `bars: ${BARS.core * 100} % of a core ${word(reached.core)}, ${BARS.rssMiB} MiB ${word(reached.rssMiB)}\n`,
  );
} finally {
  gate.close();
  await pool.close();
}

function profiled() {
  const into = process.env.PROFILE;
  return into === undefined ? [] : ['--cpu-prof', '--cpu-prof-dir', into, '--cpu-prof-name', 'live.cpuprofile'];
}

function taskOf(id) {
  const steps = Array.from({ length: STEPS }, (_, at) => [
    { write: { [`${id}-${at}.txt`]: `${at}\n` } },
    { think: 500 },
  ]);
  return { id, prompt: `Go.\n\n${script(steps.flat())}`, timeoutMs: HOUR_MS, stallMs: HOUR_MS };
}

/** Of the worker's process alone, of the commands that it waited for (git, du), and of its cells; parts of a core. */
async function during(work) {
  const [before, cellsBefore, began] = [secondsOf(worker.pid), cellSeconds(), performance.now()];
  // Those that end meanwhile count with what they had used when they were last seen.
  const cellsAfter = new Map();
  const look = () => {
    for (const [pid, used] of cellSeconds()) cellsAfter.set(pid, used);
  };
  const sampler = setInterval(look, SAMPLE_MS);
  await work();
  clearInterval(sampler);
  look();
  const seconds = (performance.now() - began) / 1_000;
  const after = secondsOf(worker.pid);
  const each = [...cellsAfter].map(([pid, used]) => used - (cellsBefore.get(pid) ?? 0));
  return {
    seconds: round(seconds, 1),
    core: round((after.own - before.own) / seconds, 4),
    commandsCore: round((after.children - before.children) / seconds, 4),
    cellsCore: round(each.reduce((sum, used) => sum + used, 0) / seconds, 3),
    rssMiB: round(memoryKiB(worker.pid, 'VmRSS') / 1_024),
    peakRssMiB: round(memoryKiB(worker.pid, 'VmHWM') / 1_024),
  };
}

function cellSeconds() {
  const pids = processesOf(worker.pid, join(home, 'cells')).filter(pid => pid !== worker.pid);
  return new Map(pids.map(pid => [pid, processorSeconds(pid)]));
}

function memoryKiB(pid, name) {
  return Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0);
}

/** Before the model: whatever is asked waits until the gate is opened. */
async function openGate() {
  let [waiting, open] = [0, () => undefined];
  const opened = new Promise(resolve => {
    open = resolve;
  });
  const front = createServer(async (incoming, answer) => {
    waiting += 1;
    await opened;
    const { method, url: path, headers } = incoming;
    const outgoing = request(
      { host: '127.0.0.1', port: new URL(pool.model.baseURL).port, method, path, headers },
      reply => {
        answer.writeHead(reply.statusCode, reply.headers);
        reply.pipe(answer);
      },
    );
    outgoing.on('error', () => answer.destroy());
    answer.on('close', () => outgoing.destroy());
    incoming.pipe(outgoing);
  });
  await new Promise(resolve => front.listen(0, '127.0.0.1', resolve));
  return {
    port: front.address().port,
    get waiting() {
      return waiting;
    },
    open,
    close() {
      front.close();
      front.closeAllConnections();
    },
  };
}
