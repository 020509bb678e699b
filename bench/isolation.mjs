// What isolation costs: spawn until ready, and test commands, at each level, taking turns in one run on one repository.
// Run `npm run bench:isolation`. Takes some minutes; levels that do not work on this machine are told and left out.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { chooseIsolation } from '../dist/os/isolation.js';
import { keep, machine, median, percentile, round } from './lib/figures.mjs';
import { openBenchSite } from './lib/site.mjs';

const ROUNDS = Number(process.env.ROUNDS ?? 20);
const LEVELS = ['process', 'sandbox', 'strict'];
/** For `sandbox` against `process`. */
const BAR = 1.05;

const HASHES = 4_000;
/** Each with how often it is run in one cell. */
const COMMANDS = {
  /** The tests of the sample repository. */
  tests: { repeats: 3, command: 'node --test' },
  /** One process that computes for some 300 ms. */
  computing: {
    repeats: 1,
    command: `'${process.execPath}' -e 'const { createHash } = require("crypto"); const block = Buffer.alloc(65536); for (let n = 0; n < ${HASHES}; n += 1) createHash("sha1").update(block).digest()'`,
  },
  /** 200 short ones, each of which is made and awaited. */
  starting: { repeats: 1, command: 'n=0; while [ $n -lt 200 ]; do /bin/true; n=$((n + 1)); done' },
};
const MEASURED = ['spawn', ...Object.keys(COMMANDS)];
/** The workspace's file that the test command runs. */
const SCRIPT = 'bench-command.sh';

async function levelsHere() {
  const found = [];
  for (const level of LEVELS) {
    try {
      await chooseIsolation(level);
      found.push(level);
    } catch (error) {
      process.stderr.write(`${level} is left out: ${error.message}\n`);
    }
  }
  return found;
}

/** One cell: milliseconds of its spawn, and of each command the median of some goes. */
async function oneCell(spawner, id) {
  const began = performance.now();
  const agent = await spawner.spawnAgent({ agentId: id, taskId: id, test: `sh ./${SCRIPT}` });
  const figures = { spawn: performance.now() - began };
  try {
    for (const [name, { repeats, command }] of Object.entries(COMMANDS)) {
      writeFileSync(join(agent.cell.workspacePath, SCRIPT), `${command}\n`);
      const times = [];
      for (let turn = 0; turn < repeats; turn += 1) {
        const { passed, durationMs, tail } = await spawner.runTests(agent);
        if (!passed) throw new Error(`${name} failed: ${tail}`);
        times.push(durationMs);
      }
      figures[name] = median(times);
    }
  } finally {
    await spawner.teardownAgent(agent);
  }
  return figures;
}

/** Each level in another place of the order every time, so that none always comes first. */
const turned = (levels, by) => levels.map((_, index) => levels[(index + by) % levels.length]);

const setting = machine();
const bench = await openBenchSite();
try {
  const levels = await levelsHere();
  const spawners = Object.fromEntries(
    await Promise.all(levels.map(async level => [level, await bench.spawnerWith({ isolation: level })])),
  );
  // The first of each pays for cold file caches.
  for (const level of levels) await oneCell(spawners[level], `warm-${level}`);
  const rounds = [];
  for (let turn = 1; turn <= ROUNDS; turn += 1) {
    const one = {};
    for (const level of turned(levels, turn)) one[level] = await oneCell(spawners[level], `${level}-${turn}`);
    rounds.push(one);
    const told = levels.map(level => `${level} ${MEASURED.map(name => round(one[level][name])).join('/')}`);
    process.stderr.write(`round ${turn}: ${told.join('  ')} ms (${MEASURED.join('/')})\n`);
  }
  const sides = levels.flatMap(level =>
    MEASURED.map(name => {
      const values = rounds.map(one => one[level][name]);
      const base = rounds.map(one => one.process[name]);
      return {
        level,
        measured: name,
        n: values.length,
        medianMs: round(median(values), 1),
        p95Ms: round(percentile(values, 0.95), 1),
        ratio: round(median(values) / median(base), 3),
        /** Of each round's two sides, which had the same load: less shaken by others on the machine. */
        ratioOfPairs: round(median(values.map((value, index) => value / base[index])), 3),
        /** What a command pays once, however long it takes. */
        addedMs: round(median(values) - median(base), 1),
      };
    }),
  );
  const sandbox = sides.filter(({ level }) => level === 'sandbox');
  const reached = sandbox.length === 0 ? null : sandbox.every(({ ratio }) => ratio <= BAR);
  keep('isolation', {
    setting: { ...setting, rounds: ROUNDS, commands: COMMANDS },
    bar: BAR,
    reached,
    sides,
    rounds: rounds.map(one =>
      Object.fromEntries(
        levels.map(level => [level, Object.fromEntries(MEASURED.map(name => [name, round(one[level][name], 1)]))]),
      ),
    ),
  });
  const rows = sides.map(({ level, measured, n, medianMs, p95Ms, ratio, ratioOfPairs, addedMs }) =>
    [level, measured, n, medianMs, p95Ms, ratio, ratioOfPairs, addedMs].map(cell => String(cell).padEnd(12)).join(''),
  );
  const head = ['level', 'measured', 'n', 'median ms', 'p95 ms', 'ratio', 'of pairs', 'added ms']
    .map(cell => cell.padEnd(12))
    .join('');
  const said = sandbox.map(({ measured, ratio }) => `${measured} ${ratio <= BAR ? 'reached' : 'missed'}`).join(', ');
  process.stdout.write(
    `${head}\n${rows.join('\n')}\n` +
      `bar of ${BAR} for sandbox against process: ${said || 'not measured here'}\n` +
      `${setting.cpus} CPUs, ${setting.memoryGiB} GiB, Node ${setting.node}, load before ${setting.loadBefore}\n`,
  );
} finally {
  await bench.close();
}
