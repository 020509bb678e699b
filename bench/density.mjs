// What a cell takes in each profile: CELLS cells alive at once, each of which does a session of two turns with the
// scripted model. `fast` is opencode as it comes. Run `npm run bench:density`, or with CELLS=50 PROFILES=dense.
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { script } from '../dist/cli/demo/script.js';
import { SCRIPTED_MODEL, startScriptedModel } from '../dist/cli/demo/scripted-model.js';
import { keep, machine, median, percentile, round } from './lib/figures.mjs';
import { memoryOf, processesOf, processorSeconds } from './lib/processes.mjs';
import { openBenchSite } from './lib/site.mjs';

const CELLS = Number(process.env.CELLS ?? 10);
const PROFILES = (process.env.PROFILES ?? 'fast,dense').split(',');
const THINK_MS = 1_000;
const SAMPLE_MS = 1_000;
/** With all sessions done: what agents compute that have nothing to do, as while they wait for their model. */
const [SETTLE_MS, IDLE_MS] = [10_000, 20_000];
/** Of a core; 0.2 and more once went into garbage that was collected again and again. */
const IDLE_BAR = 0.05;
const [MIB, GIB] = [1024 ** 2, 1024 ** 3];
/** Of a machine of this size, less what is left for everything else. */
const MACHINE_GIB = 24;
const RESERVE_GIB = 1;

const counter = (file, name) =>
  Number(new RegExp(`^${name}:?\\s+(\\d+)`, 'm').exec(readFileSync(file, 'utf8'))?.[1] ?? 0);
const swappedKiB = () => counter('/proc/meminfo', 'SwapTotal') - counter('/proc/meminfo', 'SwapFree');
const oomKills = () => counter('/proc/vmstat', 'oom_kill');

async function session(spawner, agent, number) {
  const steps = [{ think: THINK_MS }, { write: { [`notes/${number}.md`]: `Note ${number}\n` } }, { think: THINK_MS }];
  const { ended, durationMs } = await spawner.executeTask(agent, `Write a note.\n\n${script(steps)}`);
  return { well: ended === 'idle', durationMs };
}

async function measure(bench, model, profile) {
  const spawner = await bench.spawnerWith({ opencode: model.opencodeConfig(), profile: async () => profile });
  const before = { swap: swappedKiB(), kills: oomKills() };
  let peakPss = 0;
  const look = () => {
    peakPss = Math.max(peakPss, memoryOf(processesOf(-1, bench.home)).pss);
  };
  const sampler = setInterval(look, SAMPLE_MS);
  const began = performance.now();
  const spawned = await Promise.allSettled(
    Array.from({ length: CELLS }, (_, at) => {
      const id = `${profile}-${at + 1}`;
      return spawner.spawnAgent({ agentId: id, taskId: id, model: SCRIPTED_MODEL });
    }),
  );
  const upMs = performance.now() - began;
  const agents = spawned.flatMap(({ value }) => value ?? []);
  try {
    if (agents.length < CELLS) throw spawned.find(({ status }) => status === 'rejected').reason;
    const sessions = await Promise.all(agents.map((agent, at) => session(spawner, agent, at + 1)));
    const doneMs = performance.now() - began - upMs;
    await sleep(SAMPLE_MS);
    look();
    const servers = agents.map(agent => spawner.getCellInfo(agent).pid);
    const each = servers.map(pid => memoryOf(processesOf(pid, '/nowhere')).pss / MIB);
    const usedBy = pid => processesOf(pid, '/nowhere').reduce((sum, one) => sum + processorSeconds(one), 0);
    const cpu = servers.map(usedBy);
    clearInterval(sampler);
    await sleep(SETTLE_MS);
    const atRest = servers.map(usedBy);
    await sleep(IDLE_MS);
    const idle = servers.map((pid, at) => ((usedBy(pid) - atRest[at]) / IDLE_MS) * 1_000);
    return {
      sessions: sessions.filter(({ well }) => well).length,
      allUpS: round(upMs / 1_000, 1),
      allDoneS: round(doneMs / 1_000, 1),
      sessionS: {
        p50: round(median(sessions.map(one => one.durationMs)) / 1_000, 1),
        p95: round(
          percentile(
            sessions.map(one => one.durationMs),
            0.95,
          ) / 1_000,
          1,
        ),
      },
      memoryMiB: { p50: round(median(each)), p95: round(percentile(each, 0.95)) },
      cpuS: { p50: round(median(cpu), 1), p95: round(percentile(cpu, 0.95), 1) },
      idleCore: { p50: round(median(idle), 4), p95: round(percentile(idle, 0.95), 4) },
      reached: { idleCore: median(idle) <= IDLE_BAR },
      peakPssGiB: round(peakPss / GIB, 2),
      cellsPerMachine: Math.floor(((MACHINE_GIB - RESERVE_GIB) * GIB) / (peakPss / CELLS)),
      swappedMiB: round((swappedKiB() - before.swap) / 1024),
      oomKills: oomKills() - before.kills,
    };
  } finally {
    await Promise.all(agents.map(agent => spawner.teardownAgent(agent)));
    clearInterval(sampler);
  }
}

const setting = machine();
const model = await startScriptedModel();
const bench = await openBenchSite();
try {
  const found = {};
  for (const profile of PROFILES) {
    found[profile] = await measure(bench, model, profile);
    const { memoryMiB, cpuS, idleCore, allUpS, allDoneS, sessions, cellsPerMachine, peakPssGiB, swappedMiB, oomKills } =
      found[profile];
    process.stdout.write(
      `${profile.padEnd(6)} ${sessions} of ${CELLS} sessions well; a cell takes ${memoryMiB.p50} MiB (p95 ${memoryMiB.p95}) and ${cpuS.p50} s of a processor, ${round(idleCore.p50 * 100, 2)} % of one when idle\n` +
        `       all up after ${allUpS} s, all sessions done ${allDoneS} s later; ${peakPssGiB} GiB at most, swapped ${swappedMiB} MiB, killed for want of memory ${oomKills}\n` +
        `       ${cellsPerMachine} cells in ${MACHINE_GIB} GiB\n`,
    );
  }
  const { fast, dense } = found;
  const ratios =
    fast === undefined || dense === undefined
      ? null
      : {
          memory: round(dense.memoryMiB.p50 / fast.memoryMiB.p50, 2),
          cpu: round(dense.cpuS.p50 / fast.cpuS.p50, 2),
          session: round(dense.sessionS.p50 / fast.sessionS.p50, 2),
          cells: round(dense.cellsPerMachine / fast.cellsPerMachine, 2),
        };
  keep(CELLS === 10 ? 'density' : `density-${CELLS}`, {
    setting: { ...setting, cells: CELLS, thinkMs: 2 * THINK_MS },
    ...found,
    ratios,
  });
  if (ratios !== null) {
    process.stdout.write(
      `dense / fast: memory ${ratios.memory}, processor ${ratios.cpu}, session ${ratios.session}, cells in ${MACHINE_GIB} GiB ${ratios.cells}\n`,
    );
  }
} finally {
  await bench.close();
  await model.close();
}
