/** The same tasks with more and more cells at once: what one costs the worker. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { makeSampleRepository } from '../../dist/cli/demo/sample-repository.js';
import { median, round } from './figures.mjs';
import { placeStandIn, STAND_IN_MODEL, standInTask } from './stand-in.mjs';
import { CLI } from './victims.mjs';

const SAMPLE_MS = 100;
/** Linux counts processor time in hundredths of a second. */
const TICK_MS = 10;

/** Milliseconds of the process itself, and of its children that have ended. */
function processorMs(pid) {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [user, system, childUser, childSystem] = fields.slice(11, 15).map(Number);
  return { own: (user + system) * TICK_MS, children: (childUser + childSystem) * TICK_MS };
}

export async function growthOfCells({ steps, tasks, thinkMs, say }) {
  const rows = [];
  for (const cells of steps) {
    rows.push(await withCells(cells, tasks, thinkMs));
    say(`cells: ${JSON.stringify(rows.at(-1))}`);
  }
  return rows;
}

async function withCells(cells, tasks, thinkMs) {
  const folder = mkdtempSync(join(tmpdir(), 'cellpool-bench-'));
  try {
    const repository = join(folder, 'repository');
    await makeSampleRepository(repository);
    const file = join(folder, 'tasks.json');
    writeFileSync(file, JSON.stringify(Array.from({ length: tasks }, (_, at) => standInTask(`t-${at + 1}`, thinkMs))));
    const site = ['--repo', repository, '--home', join(folder, 'state'), '--model', STAND_IN_MODEL, '--test', 'true'];
    const argv = [CLI, 'run', file, ...site, '--concurrency', String(cells), '--json'];
    const { REDIS_URL: _, ...env } = { ...process.env, OPENCODE_BIN: placeStandIn(folder) };
    const began = performance.now();
    const child = spawn(process.execPath, argv, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    let used = { own: 0, children: 0 };
    const sampler = setInterval(() => {
      try {
        used = processorMs(child.pid);
      } catch (error) {
        if (!['ENOENT', 'ESRCH'].includes(error.code)) throw error; // It has ended.
      }
    }, SAMPLE_MS);
    const [stdout, stderr, [code]] = await Promise.all([
      text(child.stdout),
      text(child.stderr),
      once(child, 'close'),
    ]).finally(() => clearInterval(sampler));
    const wallMs = performance.now() - began;
    const results = stdout
      .split('\n')
      .filter(Boolean)
      .map(line => JSON.parse(line));
    const well = results.filter(({ outcome }) => outcome === 'committed').length;
    if (code !== 0 || well !== tasks)
      throw new Error(`${well} of ${tasks} were committed: ${stderr.slice(-1_000)}${stdout.slice(-2_000)}`);
    const metric = name => round(median(results.map(({ metrics }) => metrics[name])));
    return {
      at: cells,
      /** The worker's own processor time for a task; the start of the command is shared out among all. */
      ownCpuMs: round(used.own / tasks, 1),
      /** Git, commands and the stand-in; not flat costs of ours, but to be seen. */
      childrenCpuMs: round(used.children / tasks, 1),
      wallS: round(wallMs / 1_000, 1),
      spawnMs: metric('spawnMs'),
      teardownMs: metric('teardownMs'),
      tasksPerHour: round((tasks / wallMs) * 3_600_000),
    };
  } finally {
    rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
  }
}
