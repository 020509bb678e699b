// A backlog of two-turn tasks, worked off by `cellpool run` and by a loop of the shell (lib/shell-loop.mjs), each with
// real opencode and the scripted model, and each with the number of tasks at once that is fastest for it, found with a
// part of the backlog. Afterwards every task's branch is looked at: who loses work is not fast.
// Run `npm run bench:backlog` (about an hour), or with TASKS=4 TRIAL=2 AT_ONCE=2 THINK_MS=500 for a minute or two.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { prepareConfigFolder } from '../dist/cell/config-folder.js';
import { findOpencode } from '../dist/cell/opencode-binary.js';
import { opencodeConfig } from '../dist/cell/server.js';
import { opencodeVersion } from '../dist/cell/spawner-site.js';
import { makeSampleRepository } from '../dist/cli/demo/sample-repository.js';
import { script } from '../dist/cli/demo/script.js';
import { SCRIPTED_MODEL, startScriptedModel } from '../dist/cli/demo/scripted-model.js';
import { keep, machine, round } from './lib/figures.mjs';
import { git } from './lib/git.mjs';
import { runShellLoop } from './lib/shell-loop.mjs';
import { CLI } from './lib/victims.mjs';

const TASKS = Number(process.env.TASKS ?? 100);
/** Tasks with which each number of AT_ONCE is tried; at least as many as the largest of them. */
const TRIAL = Number(process.env.TRIAL ?? 20);
const AT_ONCE = (process.env.AT_ONCE ?? '2,4,8,16').split(',').map(Number);
const THINK_MS = Number(process.env.THINK_MS ?? 1_000);
const TURNS = 2;
const BAR = 1.5;
const HOUR_MS = 3_600_000;

const say = words => process.stderr.write(`${words}\n`);
const contentOf = id => `Note of ${id}`;

function taskOf(id) {
  const file = `notes/${id}.md`;
  const steps = [{ think: THINK_MS }, { write: { [file]: `${contentOf(id)}\n` } }, { think: THINK_MS }];
  // One attempt: the shell loop has none but the first.
  return { id, attempts: 1, prompt: `Write a note.\n\n${script(steps)}`, test: `test -s ${file}` };
}

async function cellpool(place, tasks, atOnce) {
  const file = join(place.folder, 'tasks.json');
  writeFileSync(file, JSON.stringify(tasks));
  const config = join(place.folder, 'opencode.json');
  writeFileSync(config, JSON.stringify(place.model.opencodeConfig()));
  const site = ['--repo', place.repository, '--home', join(place.folder, 'state'), '--opencode-config', config];
  const argv = [CLI, 'run', file, ...site, '--model', SCRIPTED_MODEL, '--concurrency', String(atOnce), '--json'];
  const { REDIS_URL: _, ...env } = process.env;
  const began = performance.now();
  const child = spawn(process.execPath, argv, { env, stdio: ['ignore', 'pipe', 'pipe'] });
  const [, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
  return { wallMs: performance.now() - began, code, stderr: stderr.slice(-2_000) };
}

const shellLoop = (place, tasks, atOnce) =>
  runShellLoop({ ...place, config: place.config(), model: SCRIPTED_MODEL, branches: 'cellpool' }, tasks, atOnce);

/** Tasks whose branch holds the file as the script wrote it, one commit above the base, and nothing else. */
async function verified(repository, tasks) {
  let well = 0;
  for (const { id } of tasks) {
    const branch = `cellpool/${id}`;
    const file = `notes/${id}.md`;
    const content = await git(repository, 'show', `${branch}:${file}`).catch(() => '');
    const changed = await git(repository, 'diff', '--name-only', `main...${branch}`).catch(() => '');
    const commits = await git(repository, 'rev-list', '--count', `main..${branch}`).catch(() => '');
    if (content.trim() === contentOf(id) && changed.trim() === file && commits.trim() === '1') well += 1;
  }
  return well;
}

/** A repository, state folder and all else of its own for every pass, so that none profits from the one before. */
async function pass(shared, name, side, count, atOnce) {
  const folder = join(shared.folder, `${name}-${count}-${atOnce}`);
  mkdirSync(folder);
  const repository = join(folder, 'repository');
  await makeSampleRepository(repository);
  const tasks = Array.from({ length: count }, (_, at) => taskOf(`note-${at + 1}`));
  const { wallMs, code, stderr } = await side({ ...shared, folder, repository }, tasks, atOnce);
  const well = await verified(repository, tasks);
  if (code !== 0 || well < count) say(`${name}: exit code ${code}, ${well} of ${count} right: ${stderr}`);
  rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
  const found = {
    tasks: count,
    atOnce,
    wallS: round(wallMs / 1_000, 1),
    well,
    tasksPerHour: round((well / wallMs) * HOUR_MS),
  };
  say(`${name}, ${atOnce} at once: ${well} of ${count} in ${found.wallS} s, ${found.tasksPerHour} an hour`);
  return found;
}

const setting = machine();
const folder = realpathSync(mkdtempSync(join(tmpdir(), 'cellpool-bench-')));
const model = await startScriptedModel();
try {
  const binary = await findOpencode();
  const configFolder = await prepareConfigFolder(folder, await opencodeVersion(binary));
  const config = () =>
    opencodeConfig({ workspacePath: folder, model: SCRIPTED_MODEL, isolation: 'process' }, model.opencodeConfig());
  const shared = { folder, model, binary, configFolder, config };
  const sides = { 'shell loop': shellLoop, cellpool };
  const trials = Object.fromEntries(Object.keys(sides).map(name => [name, []]));
  if (AT_ONCE.length > 1) {
    for (const atOnce of AT_ONCE)
      for (const [name, side] of Object.entries(sides))
        trials[name].push(await pass(shared, name, side, TRIAL, atOnce));
  }
  const best = name =>
    trials[name].reduce((least, one) => (one.tasksPerHour > least.tasksPerHour ? one : least), {
      ...{ atOnce: AT_ONCE[0], tasksPerHour: 0 },
    }).atOnce;
  const found = {};
  for (const [name, side] of Object.entries(sides)) found[name] = await pass(shared, name, side, TASKS, best(name));
  // A side that has lost work has not done the backlog, and there is nothing to compare.
  const complete = Object.values(found).every(({ well }) => well === TASKS);
  const ratio = complete ? round(found.cellpool.tasksPerHour / found['shell loop'].tasksPerHour, 2) : null;
  const reached = ratio !== null && ratio >= BAR;
  keep('backlog', {
    setting: { ...setting, tasks: TASKS, trial: TRIAL, triedAtOnce: AT_ONCE.join(', '), thinkMs: TURNS * THINK_MS },
    ...found,
    trials,
    ratio,
    bar: { ratio: BAR, reached },
  });
  for (const [name, { atOnce, wallS, well, tasksPerHour }] of Object.entries(found)) {
    const count = `${well} of ${TASKS} tasks right`;
    process.stdout.write(
      `${name.padEnd(10)}  ${tasksPerHour} tasks an hour, ${atOnce} at once (${wallS} s, ${count})\n`,
    );
  }
  process.stdout.write(`ratio       ${ratio ?? 'none, work was lost'}, bar ${BAR} ${reached ? 'reached' : 'missed'}\n`);
} finally {
  await model.close();
  rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
}
