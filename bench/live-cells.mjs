// What a worker uses for itself beside its cells: CELLS real cells, all alive at once, first while all of them wait for
// their model and then while each does a session. Run `npm run bench:live-cells`, or with CELLS=4 WINDOW_MS=60000. On two
// processors fifty cells need some minutes to come up, and the machine for themselves.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { makeSampleRepository } from '../dist/cli/demo/sample-repository.js';
import { script } from '../dist/cli/demo/script.js';
import { SCRIPTED_MODEL, startScriptedModel } from '../dist/cli/demo/scripted-model.js';
import { openQueue } from '../dist/job/queue.js';
import { checkRedis, connectRedis } from '../dist/redis/connection.js';
import { openRedis } from '../dist/redis/open-redis.js';
import { keep, machine, round } from './lib/figures.mjs';
import { processesOf, processorSeconds } from './lib/processes.mjs';
import { CLI, until } from './lib/victims.mjs';

const CELLS = Number(process.env.CELLS ?? 50);
const WINDOW_MS = Number(process.env.WINDOW_MS ?? 60_000);
/** After the last cell came up, before anything is measured. */
const SETTLE_MS = 10_000;
const SAMPLE_MS = 5_000;
const STEPS = 10;
const HOUR_MS = 3_600_000;
const BARS = { core: 0.05, rssMiB: 250 };
/** Linux tells every program that there are 100 a second (USER_HZ). */
const CLOCK_TICKS = 100;

const setting = machine();
const folder = realpathSync(mkdtempSync(join(tmpdir(), 'cellpool-live-')));
const home = join(folder, 'state');
const model = await startScriptedModel();
const gate = await openGate(Number(new URL(model.baseURL).port));
const server = await openRedis({ home: join(folder, 'redis') });
const redis = connectRedis(server.address, 'worker');
await checkRedis(redis);
const queue = openQueue(redis, 'live');
let worker = null;
try {
  const repository = join(folder, 'repository');
  await makeSampleRepository(repository);
  const config = JSON.stringify(model.opencodeConfig()).replace(/127\.0\.0\.1:\d+/g, `127.0.0.1:${gate.port}`);
  writeFileSync(join(folder, 'opencode.json'), config);
  const tasks = Array.from({ length: CELLS }, (_, at) => JSON.stringify(taskOf(`live-${at + 1}`)));
  writeFileSync(join(folder, 'tasks.jsonl'), tasks.join('\n'));
  const env = {
    ...process.env,
    ...{
      REDIS_URL: `unix://${server.address.path}`,
      CELLPOOL_PREFIX: 'live',
      CELLPOOL_HOME: home,
      CELLPOOL_HOST: 'bench',
      // All of them start at once.
      CELLPOOL_BOOT_MS: String(HOUR_MS / 2),
      CELLPOOL_LOG_LEVEL: 'warn',
    },
  };
  const flags = ['--repo', repository, '--opencode-config', join(folder, 'opencode.json'), '--model', SCRIPTED_MODEL];
  const enqueue = spawn(process.execPath, [CLI, 'enqueue', join(folder, 'tasks.jsonl'), ...flags], {
    env,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  if ((await once(enqueue, 'exit'))[0] !== 0) throw new Error('the tasks could not be enqueued');
  const argv = [...profiled(), CLI, 'worker', '--no-supervisor', '--concurrency', String(CELLS)];
  worker = spawn(process.execPath, argv, { env, stdio: ['ignore', 'ignore', 'inherit'] });
  const began = performance.now();
  while (gate.waiting < CELLS) {
    if (worker.exitCode !== null) throw new Error(`the worker ended with ${worker.exitCode}`);
    if ((await queue.getJobCountByTypes('failed')) > 0) throw new Error('a cell did not come up');
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
  if (worker?.exitCode === null) {
    worker.kill('SIGTERM');
    await once(worker, 'exit');
  }
  await queue.close();
  redis.disconnect();
  await server.close();
  gate.close();
  await model.close();
  rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
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
  const [before, cellsBefore, began] = [ownSeconds(worker.pid), cellSeconds(), performance.now()];
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
  const after = ownSeconds(worker.pid);
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

function ownSeconds(pid) {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const sum = (from, to) => fields.slice(from, to).reduce((all, one) => all + Number(one), 0) / CLOCK_TICKS;
  return { own: sum(11, 13), children: sum(13, 15) };
}

function cellSeconds() {
  const pids = processesOf(worker.pid, join(home, 'cells')).filter(pid => pid !== worker.pid);
  return new Map(pids.map(pid => [pid, processorSeconds(pid)]));
}

function memoryKiB(pid, name) {
  return Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0);
}

/** Before the model: whatever is asked waits until the gate is opened. */
async function openGate(port) {
  let [waiting, open] = [0, () => undefined];
  const opened = new Promise(resolve => {
    open = resolve;
  });
  const front = createServer(async (incoming, answer) => {
    waiting += 1;
    await opened;
    const { method, url: path, headers } = incoming;
    const outgoing = request({ host: '127.0.0.1', port, method, path, headers }, reply => {
      answer.writeHead(reply.statusCode, reply.headers);
      reply.pipe(answer);
    });
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
