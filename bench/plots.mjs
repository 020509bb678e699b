// Draws the kept results that say more as pictures, as SVG into docs/plots (or PLOTS=folder); of what was never
// measured nothing is drawn. Run `npm run bench:plots` after benchmarks.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { RESULTS } from './lib/figures.mjs';
import { drawPanels } from './lib/svg.mjs';

const PLOTS = resolve(process.env.PLOTS || fileURLToPath(new URL('../docs/plots', import.meta.url)));

/** The lines of some columns over a row's `at`. */
const over = (rows, columns) =>
  Object.fromEntries(Object.entries(columns).map(([name, key]) => [name, rows.map(row => [row.at, row[key]])]));

const WAYS = {
  'git worktree add': 'worktree',
  'git clone --shared': 'clone',
  'cp -a of a base clone': 'cp -a',
  ours: 'ours',
};

/** Panels by the name of the result. */
const PICTURES = {
  growth: ({ cells, queued, files }) => [
    ...(cells
      ? [
          {
            title: 'Cells at once',
            unit: 'worker’s processor time, ms a task',
            lines: over(cells.rows, { own: 'ownCpuMs' }),
          },
        ]
      : []),
    ...(queued
      ? [
          {
            title: 'Tasks queued',
            unit: 'ms to queue one more',
            lines: over(queued.rows, { 'of many': 'fillMs', 'of five': 'addMs' }),
          },
          {
            title: 'Tasks queued',
            unit: 'ms from a free slot to the next',
            lines: over(queued.rows, { p50: 'nextBeginsMs', p95: 'nextBeginsP95Ms' }),
          },
        ]
      : []),
    ...(files
      ? [
          {
            title: 'Files in the repository',
            unit: 'times what git alone takes',
            lines: over(files.rows, { spawn: 'spawnRatio', settle: 'settleRatio', remove: 'removeRatio' }),
          },
        ]
      : []),
  ],
  density: ({ fast, dense }) => {
    const bars = part => ({ ...(fast ? { fast: part(fast) } : {}), ...(dense ? { dense: part(dense) } : {}) });
    return [
      { title: 'Memory of a cell', unit: 'MiB, p50', bars: bars(side => side.memoryMiB.p50) },
      { title: 'Processor time of a cell', unit: 's, p50', bars: bars(side => side.cpuS.p50) },
      { title: 'Cells in 24 GiB', unit: 'cells', bars: bars(side => side.cellsPerMachine) },
    ];
  },
  'scale-out': ({ one, two }) => [
    { title: 'The same backlog', unit: 's', bars: { 'one host': seconds(one), 'two hosts': seconds(two) } },
  ],
  backlog: ({ 'shell loop': loop, cellpool }) => [
    {
      title: 'A backlog',
      unit: 'tasks an hour',
      bars: { 'shell loop': loop.tasksPerHour, cellpool: cellpool.tasksPerHour },
    },
  ],
  workspace: ({ sizes }) =>
    sizes.map(({ files, ways }) => ({
      title: `A workspace of ${files} files`,
      unit: 'ms until git has told its status, p50',
      bars: Object.fromEntries(
        ways.flatMap(({ way, ready }) => (WAYS[way] && ready ? [[WAYS[way], ready.p50Ms]] : [])),
      ),
    })),
};

const seconds = ({ wallMs }) => Math.round(wallMs / 1_000);

mkdirSync(PLOTS, { recursive: true });
for (const [name, panelsOf] of Object.entries(PICTURES)) {
  const file = join(RESULTS, `${name}.json`);
  if (!existsSync(file)) {
    process.stderr.write(`${name}: not measured, so not drawn\n`);
    continue;
  }
  const plot = join(PLOTS, `${name}.svg`);
  writeFileSync(plot, drawPanels(`bench:${name}`, panelsOf(JSON.parse(readFileSync(file, 'utf8')))));
  process.stdout.write(`${plot}\n`);
}
