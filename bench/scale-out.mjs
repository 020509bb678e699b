// Two workers on two hosts against one, where the model's latency is the bottleneck: the same backlog, the same number
// of cells a host. The hosts are network namespaces with addresses of their own where that works (root and iproute2),
// else two host names on this machine. Run `npm run bench:scale-out`, or with TASKS=8 CELLS=2 THINK_MS=45000.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import getPort from 'get-port';
import { makeSampleRepository } from '../dist/cli/demo/sample-repository.js';
import { script } from '../dist/cli/demo/script.js';
import { SCRIPTED_MODEL, startScriptedModel } from '../dist/cli/demo/scripted-model.js';
import { openQueue } from '../dist/job/queue.js';
import { checkRedis, connectRedis } from '../dist/redis/connection.js';
import { findRedisBinary, serverEnvironment } from '../dist/redis/redis-binary.js';
import { keep, machine, round } from './lib/figures.mjs';
import { NetworkHosts, whyNoHosts } from './lib/hosts.mjs';
import { CLI, until } from './lib/victims.mjs';

const TASKS = Number(process.env.TASKS ?? 8);
const CELLS = Number(process.env.CELLS ?? 2);
const THINK_MS = Number(process.env.THINK_MS ?? 45_000);
const BAR = 1.9;

const setting = machine();
const noHosts = whyNoHosts();
const folder = realpathSync(mkdtempSync(join(tmpdir(), 'cellpool-out-')));
const address = noHosts === null ? NetworkHosts.middle : '127.0.0.1';
const port = await getPort();
let hosts = null;
let model = null;
let redisServer = null;
try {
  if (noHosts === null) hosts = new NetworkHosts();
  model = await startScriptedModel();
  redisServer = await startRedis();
  const repository = join(folder, 'repository');
  await makeSampleRepository(repository);
  const modelPort = Number(new URL(model.baseURL).port);
  const reached = hosts === null ? modelPort : await hosts.forward(modelPort);
  const config = JSON.stringify(model.opencodeConfig()).replace(/127\.0\.0\.1:\d+/g, `${address}:${reached}`);
  writeFileSync(join(folder, 'opencode.json'), config);
  const places = ['one', 'two'].map(name => ({ name, before: hosts?.add(name) ?? [] }));

  const one = await workOff(repository, places.slice(0, 1));
  const two = await workOff(repository, places);
  const ratio = round(one.wallMs / two.wallMs, 3);
  const result = {
    setting: {
      ...setting,
      tasks: TASKS,
      cellsPerHost: CELLS,
      thinkMs: THINK_MS,
      hosts: noHosts ?? 'network namespaces',
    },
    one,
    two,
    ratio,
    bar: { ratio: BAR, reached: ratio >= BAR },
  };
  keep('scale-out', result);
  for (const [name, { wallMs, thinkingShare, byHost }] of Object.entries({ 'one host ': one, 'two hosts': two })) {
    process.stdout.write(
      `${name}  ${round(wallMs / 1_000, 1)} s for ${TASKS} tasks, ${round(thinkingShare * 100)} % of it thinking  ${JSON.stringify(byHost)}\n`,
    );
  }
  process.stdout.write(`ratio ${ratio}, bar ${BAR} ${ratio >= BAR ? 'reached' : 'missed'}\n`);
} finally {
  if (redisServer?.exitCode === null) {
    redisServer.kill('SIGTERM');
    await once(redisServer, 'exit');
  }
  await model?.close();
  hosts?.remove();
  rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
}

/** From the moment the backlog is queued, with the workers ready, until the last task has ended. */
async function workOff(repository, places) {
  const prefix = `out-${places.length}`;
  const env = { ...process.env, REDIS_URL: `redis://${address}:${port}`, CELLPOOL_PREFIX: prefix };
  const workers = places.map(({ name, before }) => {
    const argv = [...before, process.execPath, CLI, 'worker', '--concurrency', String(CELLS), '--json'];
    const own = { CELLPOOL_HOME: join(folder, name), CELLPOOL_HOST: name };
    const child = spawn(argv[0], argv.slice(1), { env: { ...env, ...own }, stdio: ['ignore', 'pipe', 'pipe'] });
    let said = '';
    child.stderr.on('data', chunk => {
      said += chunk;
    });
    child.stdout.resume();
    return { child, ready: () => said.includes('worker started') || said.includes('Working with') };
  });
  const redis = connectRedis({ url: env.REDIS_URL }, 'worker');
  await checkRedis(redis);
  const queue = openQueue(redis, prefix);
  try {
    await until('the workers', () => workers.every(({ ready }) => ready()));
    const ids = Array.from({ length: TASKS }, (_, at) => `${prefix}-${at + 1}`);
    const file = join(folder, `${prefix}.jsonl`);
    writeFileSync(file, ids.map(id => JSON.stringify(taskOf(id))).join('\n'));
    const site = ['--repo', repository, '--opencode-config', join(folder, 'opencode.json'), '--model', SCRIPTED_MODEL];
    const enqueue = spawn(process.execPath, [CLI, 'enqueue', file, ...site], { env, stdio: 'ignore' });
    const [code] = await once(enqueue, 'exit');
    if (code !== 0) throw new Error(`cellpool enqueue ended with ${code}`);
    const began = performance.now();
    while ((await queue.getJobCountByTypes('completed', 'failed')) < TASKS)
      await new Promise(done => setTimeout(done, 100));
    const wallMs = round(performance.now() - began);
    const jobs = await queue.getJobs(['completed', 'failed']);
    const byHost = {};
    for (const { returnvalue } of jobs) {
      if (returnvalue?.outcome !== 'committed') throw new Error(`a task ended ${returnvalue?.outcome ?? 'badly'}`);
      byHost[returnvalue.host] = (byHost[returnvalue.host] ?? 0) + 1;
    }
    // The rest is what a host does: where it is much, latency is not the bottleneck, and the bar says nothing.
    const thinkingShare = round((Math.ceil(TASKS / (places.length * CELLS)) * THINK_MS) / wallMs, 3);
    return { wallMs, thinkingShare, byHost };
  } finally {
    for (const { child } of workers) child.kill('SIGTERM');
    for (const { child } of workers) if (child.exitCode === null) await once(child, 'exit');
    await queue.close();
    redis.disconnect();
  }
}

function taskOf(id) {
  const steps = [{ think: THINK_MS }, { write: { [`${id}.txt`]: 'x\n' } }];
  return { id, prompt: `Go.\n\n${script(steps)}`, test: `test -s ${id}.txt` };
}

async function startRedis() {
  const binary = await findRedisBinary();
  const saved = ['--dir', folder, '--appendonly', 'yes', '--save', '', '--maxmemory-policy', 'noeviction'];
  // Only what is on the bridge, or on this machine, reaches the address.
  const argv = ['--port', String(port), '--bind', address, '--protected-mode', 'no', ...saved];
  const child = spawn(binary.file, argv, { env: serverEnvironment(binary), stdio: ['ignore', 'pipe', 'ignore'] });
  let said = '';
  child.stdout.on('data', chunk => {
    said += chunk;
  });
  const client = connectRedis({ url: `redis://${address}:${port}` }, 'worker');
  try {
    await until('Redis', () => said.includes('Ready to accept connections'));
    await checkRedis(client);
  } catch (error) {
    child.kill('SIGKILL');
    throw error;
  } finally {
    client.disconnect();
  }
  return child;
}
