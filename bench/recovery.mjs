// A worker is killed with SIGKILL while it works on a job: how long until the job is active again on another worker?
// (a) the other stands on another host, and the lock has to run out; (b) it stands on the same host, where the reaper
// proves the death; (c) only the pool process died, and its supervisor lives. Beside them a bare BullMQ worker with
// its default settings. Run `npm run bench:recovery`, or with KILLS=3. Takes a quarter of an hour.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Queue } from 'bullmq';
import { makeSampleRepository } from '../dist/cli/demo/sample-repository.js';
import { script } from '../dist/cli/demo/script.js';
import { SCRIPTED_MODEL, startScriptedModel } from '../dist/cli/demo/scripted-model.js';
import { openQueue } from '../dist/job/queue.js';
import { checkRedis, connectRedis } from '../dist/redis/connection.js';
import { openRedis } from '../dist/redis/open-redis.js';
import { CellRegistry } from '../dist/redis/registry.js';
import { cellFolders } from './lib/cell-folders.mjs';
import { keep, machine, median, percentile, round } from './lib/figures.mjs';
import { processesOf } from './lib/processes.mjs';
import { bareWorker, CLI, cellpoolWorker, killPid, until } from './lib/victims.mjs';

const KILLS = Number(process.env.KILLS ?? 20);
/** Each takes the better part of a minute. */
const BARE_KILLS = Math.min(2, KILLS);
const BARS = { p50Ms: 10_000, worstMs: 20_000 };

const HOSTS = {
  one: { name: 'one', ports: '24000-24099' },
  two: { name: 'two', ports: '24100-24199' },
};
const WAYS = [
  { way: 'other host', hosts: [HOSTS.one, HOSTS.two], kills: 'all', says: 'the lock runs out' },
  { way: 'same host', hosts: [HOSTS.one, HOSTS.one], kills: 'all', says: 'the reaper proves the death' },
  { way: 'pool only', hosts: [HOSTS.one, HOSTS.one], kills: 'pool', says: 'the supervisor hands back' },
];

async function openSite() {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'cellpool-recovery-')));
  const repository = join(folder, 'repository');
  await makeSampleRepository(repository);
  const model = await startScriptedModel();
  writeFileSync(join(folder, 'opencode.json'), JSON.stringify(model.opencodeConfig()));
  const server = await openRedis({ home: join(folder, 'state'), say: text => process.stderr.write(`${text}\n`) });
  const redis = connectRedis(server.address, 'producer');
  await checkRedis(redis);
  const site = { folder, repository, prefix: 'recovery', socket: server.address.path, redis };
  const registries = Object.values(HOSTS).map(
    ({ name }) => new CellRegistry(redis, { prefix: site.prefix, host: name, home: join(folder, name) }),
  );
  return {
    ...site,
    /** The pid of the pool that has this task's cell, once there is one. */
    async poolOf(taskId) {
      const entries = (await Promise.all(registries.map(one => one.list()))).flat();
      return entries.find(({ record }) => record?.taskId === taskId)?.record.worker.pid;
    },
    async close() {
      redis.disconnect();
      await server.close();
      await model.close();
      // What was left is told by then; it must not outlive the measurement all the same.
      for (const pid of processesOf(-1, folder)) if (pid > 0) killPid(pid);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Milliseconds from `killedAt` until the job is active again, by the queue's own events. */
async function untilActiveAgain({ redis, prefix }, queue, id, killedAt) {
  const stream = `${prefix}:${queue}:events`;
  return until(`job ${id} is active again`, async () => {
    for (const [at, fields] of await redis.xrange(stream, killedAt, '+')) {
      const event = Object.fromEntries(fields.flatMap((key, place) => (place % 2 ? [] : [[key, fields[place + 1]]])));
      if (event.event === 'active' && event.jobId === id) return Number(at.split('-')[0]) - killedAt;
    }
    return null;
  });
}

function enqueue(site, id) {
  const [reached, open] = ['reached', 'open'].map(name => join(site.folder, `${id}-${name}`));
  const steps = [{ run: `: >'${reached}'; until [ -e '${open}' ]; do sleep 0.1; done; echo done > done.txt` }];
  const file = join(site.folder, `${id}.json`);
  writeFileSync(file, JSON.stringify([{ id, prompt: script(steps), timeoutMs: 600_000 }]));
  const flags = ['--repo', site.repository, '--opencode-config', join(site.folder, 'opencode.json')];
  const env = { ...process.env, REDIS_URL: `unix://${site.socket}`, CELLPOOL_PREFIX: site.prefix };
  execFileSync(process.execPath, [CLI, 'enqueue', file, ...flags, '--model', SCRIPTED_MODEL], { env, stdio: 'ignore' });
  return { reached, open };
}

async function measure(site, queue, { way, hosts, kills }) {
  const workers = hosts.map(host => cellpoolWorker(site, host));
  for (const worker of workers) worker.start();
  const times = [];
  try {
    for (let turn = 1; turn <= KILLS; turn += 1) {
      const id = `${way.replace(' ', '-')}-${turn}`;
      const { reached, open } = enqueue(site, id);
      await until(`the agent of ${id} works`, () => existsSync(reached));
      const pool = await site.poolOf(id);
      const victim = workers.find(worker => worker.has(pool));
      const killedAt = Date.now();
      if (kills === 'pool') killPid(pool);
      else await victim.killAll(pool);
      const ms = await untilActiveAgain(site, 'tasks', id, killedAt);
      times.push(ms);
      process.stderr.write(`${way}, kill ${turn}: ${ms} ms\n`);
      // Not before: a worker that starts looks for what the one before it left.
      if (kills === 'all') victim.start();
      writeFileSync(open, '');
      await until(`${id} has ended`, async () => ['completed', 'failed'].includes(await queue.getJobState(id)));
    }
  } finally {
    await Promise.all(workers.map(worker => worker.stop()));
  }
  return times;
}

/** On a queue and with two workers of its own, because the job it leaves never ends. */
async function measureBare(site, turn) {
  const name = `bare-${turn}`;
  const queue = new Queue(name, { connection: site.redis, prefix: site.prefix, skipWaitingForReady: true });
  const workers = [bareWorker(site, name), bareWorker(site, name)];
  for (const worker of workers) worker.start();
  try {
    await queue.add('bare', {}, { jobId: name });
    const pid = await until(`${name} is worked on`, async () => (await queue.getJob(name)).progress || null);
    const killedAt = Date.now();
    await workers.find(worker => worker.has(pid)).killAll(pid);
    const ms = await untilActiveAgain(site, name, name, killedAt);
    process.stderr.write(`bare BullMQ, kill ${turn}: ${ms} ms\n`);
    return ms;
  } finally {
    await Promise.all(workers.map(worker => worker.stop()));
    await queue.close();
  }
}

const figures = times => ({ kills: times.length, p50Ms: round(median(times)), worstMs: round(percentile(times, 1)) });

const setting = machine();
const site = await openSite();
const queue = openQueue(site.redis, site.prefix);
try {
  const bareTimes = Promise.all(Array.from({ length: BARE_KILLS }, (_, at) => measureBare(site, at + 1)));
  // Heard later; a rejection that comes before must not end the process.
  bareTimes.catch(() => undefined);
  const ways = {};
  for (const one of WAYS) ways[one.way] = figures(await measure(site, queue, one));
  const bare = figures(await bareTimes);
  const cells = Object.values(HOSTS).flatMap(({ name }) => cellFolders(join(site.folder, name)));
  const ofHost = ({ name }) => processesOf(-1, join(site.folder, name)).length - 1;
  const reached = Object.values(ways).every(({ p50Ms, worstMs }) => p50Ms <= BARS.p50Ms && worstMs <= BARS.worstMs);
  for (const one of Object.values(ways)) one.ratioToBare = round(one.p50Ms / bare.p50Ms, 4);
  const left = { cells: cells.length, processes: Object.values(HOSTS).reduce((sum, host) => sum + ofHost(host), 0) };
  keep('recovery', { setting: { ...setting, kills: KILLS }, ways, bare, bars: BARS, reached, left });
  const line = (name, { p50Ms, worstMs, kills }, more) =>
    `${name.padEnd(24)} ${String(p50Ms).padStart(6)} ms p50 ${String(worstMs).padStart(6)} ms worst of ${kills}  ${more}\n`;
  for (const { way, says } of WAYS) {
    process.stdout.write(line(way, ways[way], `ratio ${ways[way].ratioToBare}  (${says})`));
  }
  process.stdout.write(line('bare BullMQ, other host', bare, ''));
  process.stdout.write(
    `bar of ${BARS.p50Ms} ms p50 and ${BARS.worstMs} ms worst ${reached ? 'reached' : 'missed'}; ` +
      `left behind: ${left.cells} cells, ${left.processes} processes\n`,
  );
} finally {
  await queue.close();
  await site.close();
}
