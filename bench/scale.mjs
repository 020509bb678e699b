// Fifty tasks on one repository, ten cells at once, with real opencode and the scripted model: wall time, peak memory.
// Run `npm run bench:scale`, or with TASKS=20 CONCURRENCY=5. Takes some minutes.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { makeSampleRepository } from '../dist/cli/demo/sample-repository.js';
import { script } from '../dist/cli/demo/script.js';
import { SCRIPTED_MODEL, startScriptedModel } from '../dist/cli/demo/scripted-model.js';
import { cellFolders } from './lib/cell-folders.mjs';
import { keep, machine, percentile, round } from './lib/figures.mjs';
import { memoryOf, processesOf } from './lib/processes.mjs';

const TASKS = Number(process.env.TASKS ?? 50);
const CONCURRENCY = Number(process.env.CONCURRENCY ?? 10);
const THINK_MS = Number(process.env.THINK_MS ?? 500);
const SAMPLE_MS = 1_000;
const MIB = 1024 * 1024;

const main = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));

function task(number) {
  const steps = [{ think: THINK_MS }, { write: { [`notes/${number}.md`]: `Note ${number}\n` } }, { think: THINK_MS }];
  return { id: `scale-${number}`, prompt: `Write a note.\n\n${script(steps)}`, test: `test -s notes/${number}.md` };
}

const setting = machine();
const folder = mkdtempSync(join(tmpdir(), 'cellpool-bench-'));
const model = await startScriptedModel();
try {
  const repository = join(folder, 'repository');
  const home = join(folder, 'state');
  await makeSampleRepository(repository);
  const tasks = join(folder, 'tasks.json');
  writeFileSync(tasks, JSON.stringify(Array.from({ length: TASKS }, (_, index) => task(index + 1))));
  const config = join(folder, 'opencode.json');
  writeFileSync(config, JSON.stringify(model.opencodeConfig()));

  const site = ['--repo', repository, '--home', home, '--opencode-config', config, '--model', SCRIPTED_MODEL];
  const argv = [main, 'run', tasks, ...site, '--concurrency', String(CONCURRENCY), '--json'];
  const began = performance.now();
  const { REDIS_URL: _, ...env } = process.env;
  const child = spawn(process.execPath, argv, { env, stdio: ['ignore', 'pipe', 'pipe'] });
  const peak = { pss: 0, rss: 0, servers: 0 };
  const sampler = setInterval(() => {
    const now = memoryOf(processesOf(child.pid, home));
    for (const key of Object.keys(peak)) peak[key] = Math.max(peak[key], now[key]);
  }, SAMPLE_MS);
  const [stdout, stderr, [exitCode]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'close'),
  ]).finally(() => clearInterval(sampler));
  const wallMs = performance.now() - began;
  if (exitCode !== 0) process.stderr.write(stderr.split('\n').slice(-30).join('\n'));

  const outcomes = stdout
    .split('\n')
    .filter(Boolean)
    .map(line => JSON.parse(line));
  const metric = (name, part) =>
    round(
      percentile(
        outcomes.map(({ metrics }) => metrics[name]),
        part,
      ),
    );
  const result = {
    setting: { ...setting, tasks: TASKS, concurrency: CONCURRENCY, thinkMs: 2 * THINK_MS },
    exitCode,
    committed: outcomes.filter(({ outcome }) => outcome === 'committed').length,
    wallS: round(wallMs / 1_000, 1),
    tasksPerMinute: round(outcomes.length / (wallMs / 60_000), 1),
    /** The command with all it started: servers, git, tests, Redis; the scripted model is not among them. */
    peakPssMiB: round(peak.pss / MIB),
    peakRssMiB: round(peak.rss / MIB),
    peakServers: peak.servers,
    spawnMs: { p50: metric('spawnMs', 0.5), p95: metric('spawnMs', 0.95) },
    executionMs: { p50: metric('executionMs', 0.5), p95: metric('executionMs', 0.95) },
    teardownMs: { p50: metric('teardownMs', 0.5), p95: metric('teardownMs', 0.95) },
    left: { cells: cellFolders(home).length, processes: processesOf(-1, home).length - 1 },
  };
  keep('scale', result);
  process.stdout.write(
    `${result.committed} of ${TASKS} tasks committed with ${CONCURRENCY} cells at once\n` +
      `wall time    ${result.wallS} s (${result.tasksPerMinute} tasks a minute)\n` +
      `peak memory  ${result.peakPssMiB} MiB PSS, ${result.peakRssMiB} MiB RSS, with ${result.peakServers} servers\n` +
      `spawn        ${result.spawnMs.p50} ms p50, ${result.spawnMs.p95} ms p95\n` +
      `teardown     ${result.teardownMs.p50} ms p50, ${result.teardownMs.p95} ms p95\n` +
      `left behind  ${result.left.cells} cells, ${result.left.processes} processes\n`,
  );
} finally {
  await model.close();
  rmSync(folder, { recursive: true, force: true });
}
