// What does a task cost when there is more of everything? With 1 to 50 cells, with 100 to 10,000 tasks queued, with 100
// to 50,000 files in the repository. Measured is our own cost: in the place of opencode a stand-in that takes next to
// nothing, and processor time where wall time would only say that processors are shared. Of what must grow with the
// files (they are written and removed) it is told beside what git alone takes.
// Run `npm run bench:growth` (about half an hour), one part with PARTS=files, or for less than two minutes with
// CELLS=1,5 TASKS=10 THINK_MS=500 QUEUED=50,500 BEGUN=3 FILES=100,1000 ROUNDS=3.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { keep, machine, RESULTS, round } from './lib/figures.mjs';
import { growthOfCells } from './lib/growth-cells.mjs';
import { growthOfFiles } from './lib/growth-files.mjs';
import { growthOfQueue } from './lib/growth-queued.mjs';

const PARTS = (process.env.PARTS ?? 'cells,queued,files').split(',');
/** The dearest step costs at most so many times the first one's. */
const BAR = 1.5;
const LEAST = 0.01;

const numbers = (name, usual) => (process.env[name] ?? usual).split(',').map(Number);
const say = text => process.stderr.write(`${text}\n`);

/** `cost` names what must stay flat; the rest of a row is told besides. */
const DIMENSIONS = {
  cells: {
    cost: ['ownCpuMs'],
    measure: () =>
      growthOfCells({
        steps: numbers('CELLS', '1,5,10,25,50'),
        tasks: Number(process.env.TASKS ?? 50),
        thinkMs: Number(process.env.THINK_MS ?? 3_000),
        say,
      }),
  },
  queued: {
    cost: ['fillMs', 'addMs', 'nextBeginsMs'],
    measure: () =>
      growthOfQueue({ steps: numbers('QUEUED', '100,1000,10000'), begun: Number(process.env.BEGUN ?? 15), say }),
  },
  files: {
    cost: ['spawnRatio', 'settleRatio', 'removeRatio'],
    measure: () =>
      growthOfFiles({ steps: numbers('FILES', '100,1000,10000,50000'), rounds: Number(process.env.ROUNDS ?? 5), say }),
  },
};

/** How many times the first step's cost the dearest one is, and by which power it grows: 0 is flat, 1 as `at` does. */
function flatness(rows, name) {
  const [first] = rows;
  const last = rows.at(-1);
  // What is measured in whole milliseconds may be none.
  const costOf = row => Math.max(row[name], LEAST);
  const ratio = Math.max(...rows.map(costOf)) / costOf(first);
  const power = Math.log(costOf(last) / costOf(first)) / Math.log(last.at / first.at);
  return { ratio: round(ratio, 2), power: round(power, 3), reached: ratio <= BAR };
}

/** What is not measured this time stays as it was kept. */
const parts = {};
for (const part of PARTS) {
  const { cost, measure } = DIMENSIONS[part];
  const setting = machine();
  const rows = await measure();
  const flat = rows.length < 2 ? {} : Object.fromEntries(cost.map(name => [name, flatness(rows, name)]));
  parts[part] = { setting, rows, flat };
  process.stdout.write(`${part}\n`);
  for (const row of rows) {
    const figures = Object.entries(row).filter(([name]) => name !== 'at');
    process.stdout.write(
      `  ${String(row.at).padStart(6)}  ${figures.map(([name, value]) => `${name} ${value}`).join('  ')}\n`,
    );
  }
  for (const [name, { ratio, power, reached }] of Object.entries(flat)) {
    process.stdout.write(
      `  ${name}: at most ${ratio} of the first, power ${power}; bar ${BAR} ${reached ? 'reached' : 'missed'}\n`,
    );
  }
}
const file = join(RESULTS, 'growth.json');
const others = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : {};
keep('growth', { ...others, bar: { ratio: BAR }, ...parts });
