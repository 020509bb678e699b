// Landing: how many finished branches a minute reach their target, tested in batches and one by one, by the real lander
// on the real git, in two rounds of each by turns. The test command does nothing but take its time. Run
// `npm run bench:landing`, or with BRANCHES=60 BATCH=5 TEST_MS=1000 RED=3.
//
// Beside it the same with red branches among them, which halving has to find.
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { DEFAULTS } from '../dist/config.js';
import { LANDING_JOB, landingOptions, openLandingQueue } from '../dist/job/landing.js';
import { openQueue } from '../dist/job/queue.js';
import { Redactor } from '../dist/observe/redact.js';
import { ownIdentity } from '../dist/os/identity.js';
import { checkRedis, connectRedis } from '../dist/redis/connection.js';
import { openRedis } from '../dist/redis/open-redis.js';
import { PortLeases } from '../dist/redis/port-lease.js';
import { CellRegistry } from '../dist/redis/registry.js';
import { Tally } from '../dist/redis/tally.js';
import { landerOf } from '../dist/worker/lander-parts.js';
import { SpawnerPool } from '../dist/worker/spawner-pool.js';
import { keep, machine, median, round } from './lib/figures.mjs';

const BRANCHES = Number(process.env.BRANCHES ?? 60);
const BATCH = Number(process.env.BATCH ?? 5);
const TEST_MS = Number(process.env.TEST_MS ?? 1_000);
const RED = Number(process.env.RED ?? 3);
const ROUNDS = Number(process.env.ROUNDS ?? 2);
const MINUTE_MS = 60_000;

const setting = machine();
const folder = mkdtempSync(join(tmpdir(), 'cellpool-landing-'));
const server = await openRedis({ home: join(folder, 'redis') });
const redis = connectRedis(server.address, 'worker');
await checkRedis(redis);
const identity = await ownIdentity();
let number = 0;

function git(cwd, ...args) {
  const env = { PATH: process.env.PATH, HOME: folder, GIT_CONFIG_NOSYSTEM: '1', GIT_CONFIG_GLOBAL: '/dev/null' };
  return execFileSync('git', args, { cwd, env, encoding: 'utf8', stdio: ['pipe', 'pipe', 'pipe'] }).trim();
}

/** A repository with finished branches; `red`: so many of them, evenly among the others, fail the tests. */
function repositoryWith(red) {
  number += 1;
  const top = join(folder, `source-${number}`);
  mkdirSync(top);
  git(top, 'init', '--quiet', '--initial-branch=main');
  writeFileSync(join(top, 'README.md'), 'landing\n');
  git(top, 'add', '.');
  git(top, '-c', 'user.name=b', '-c', 'user.email=b@c', 'commit', '--quiet', '-m', 'first');
  git(top, 'switch', '--quiet', '--detach');
  const every = red === 0 ? Number.POSITIVE_INFINITY : Math.floor(BRANCHES / red);
  const ids = Array.from({ length: BRANCHES }, (_, at) => `t${at + 1}`);
  const main = git(top, 'rev-parse', 'main');
  const stream = ids.flatMap((id, at) => {
    const path = (at + 1) % every === 0 ? `red/${id}` : `green/${id}`;
    const head = [`commit refs/heads/cellpool/${id}`, 'committer b <b@c> 1700000000 +0000'];
    return [...head, `data ${id.length}`, id, `from ${main}`, `M 644 inline ${path}`, 'data 2', 'x', ''];
  });
  const env = { PATH: process.env.PATH, HOME: folder };
  execFileSync('git', ['fast-import', '--quiet'], { cwd: top, env, input: stream.join('\n') });
  return { top, ids };
}

/** Milliseconds, and how often the tests ran, until every branch has its fate. */
async function land(batch, red) {
  const { top, ids } = repositoryWith(red);
  const prefix = `bench-${number}`;
  const home = join(folder, `home-${number}`);
  const [tasks, landings] = [openQueue(redis, prefix), openLandingQueue(redis, prefix)];
  const test = `sleep ${TEST_MS / 1_000}; [ ! -e red ]`;
  const author = { name: 'b', email: 'b@c' };
  const plan = { setupMs: MINUTE_MS, testMs: MINUTE_MS, author, opencode: {}, landing: { returns: 0 } };
  for (const taskId of ids) {
    const commit = git(top, 'rev-parse', `cellpool/${taskId}`);
    const of = { taskId, enqueuedAt: 1, repository: top, branch: `cellpool/${taskId}`, commit, target: 'main' };
    const job = { version: 1, ...of, land: 'merge', test, plan, returns: 0 };
    await landings.add(LANDING_JOB, job, landingOptions(job));
  }
  const worker = { id: 'bench', ...identity };
  const registration = { cells: new CellRegistry(redis, { prefix, host: 'bench', home }), worker };
  const ports = new PortLeases(redis, { prefix, host: 'bench', range: { from: 9_000, to: 9_010 } });
  let tests = 0;
  const write = line => {
    tests += JSON.parse(line).testRuns ?? 0;
  };
  const [log, redactor] = [pino({ level: 'info' }, { write }), new Redactor()];
  let [landed, refused] = [0, 0];
  const lander = landerOf({
    settings: { ...DEFAULTS, home, host: 'bench', prefix, labels: [], landing: { ...DEFAULTS.landing, batch } },
    parts: { queue: tasks, landings, tally: new Tally(redis, { prefix }) },
    ...{ redis, registration, log, redactor },
    spawners: new SpawnerPool({ home, log, redactor }, ports, registration),
    onFate: (_, { kind }) => {
      if (kind === 'landed') landed += 1;
      else refused += 1;
    },
  });
  const began = performance.now();
  while (await lander.look());
  const ms = performance.now() - began;
  await lander.stop();
  await Promise.all([tasks.close(), landings.close()]);
  if (landed !== BRANCHES - red || refused !== red) throw new Error(`${landed} landed and ${refused} did not`);
  return { ms: round(ms), tests, perMinute: round((landed * MINUTE_MS) / ms, 1) };
}

async function bothWays(red) {
  const ways = { oneByOne: [], batched: [] };
  for (let at = 0; at < ROUNDS; at += 1) {
    ways.oneByOne.push(await land(1, red));
    ways.batched.push(await land(BATCH, red));
  }
  const [one, many] = [ways.oneByOne, ways.batched].map(all => round(median(all.map(({ perMinute }) => perMinute)), 1));
  const ratio = round(many / one, 2);
  const line = (name, value, all) =>
    `  ${name.padEnd(22)} ${String(value).padStart(7)} a minute, ${all[0].tests} test runs\n`;
  process.stdout.write(`${red === 0 ? 'all green' : `${red} of ${BRANCHES} red`}:\n`);
  process.stdout.write(line('one by one', one, ways.oneByOne));
  process.stdout.write(line(`in batches of ${BATCH}`, many, ways.batched));
  process.stdout.write(`  ratio ${ratio}\n`);
  return {
    red,
    oneByOne: { perMinute: one, rounds: ways.oneByOne },
    batched: { perMinute: many, rounds: ways.batched },
    ratio,
  };
}

try {
  process.stdout.write(`${BRANCHES} branches whose tests take ${TEST_MS} ms, batches of ${BATCH}\n`);
  const green = await bothWays(0);
  const withRed = await bothWays(RED);
  keep('landing', {
    ...{ setting, branches: BRANCHES, batch: BATCH, testMs: TEST_MS, rounds: ROUNDS },
    ...{ green, withRed },
  });
} finally {
  redis.disconnect();
  await server.close();
  rmSync(folder, { recursive: true, force: true });
}
