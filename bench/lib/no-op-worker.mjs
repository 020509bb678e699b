// A worker whose jobs do nothing: `pool` is the real pool with cells that have no agent, `bare` is BullMQ alone with
// the same settings. argv: side, Redis's socket, prefix, state folder, concurrency. Answers each message with its traffic
// and the processor time it has used so far.
import { trafficSoFar } from './redis-traffic.mjs';

const [side, path, prefix, home, concurrency] = process.argv.slice(2);
const { connectRedis } = await import('../../dist/redis/connection.js');
const redis = connectRedis({ path }, 'worker');
const worker = side === 'pool' ? await pool() : await bare();
process.on('message', async message => {
  if (message === 'stop') {
    await worker.stop();
    redis.disconnect();
    process.disconnect();
    return;
  }
  const { user, system } = process.cpuUsage();
  process.send({ ...trafficSoFar(), cpuMs: (user + system) / 1_000 });
});
// The bench was killed.
process.once('disconnect', () => process.exit());
process.send('ready');

async function pool() {
  const [{ loadSettings }, { silentLogger }, { Redactor }, { WorkerPool }, { NoOpSpawner }] = await Promise.all([
    import('../../dist/config.js'),
    import('../../dist/observe/logger.js'),
    import('../../dist/observe/redact.js'),
    import('../../dist/worker/worker.js'),
    import('./no-op-cell.mjs'),
  ]);
  const env = { CELLPOOL_HOME: home, CELLPOOL_HOST: 'bench', CELLPOOL_ISOLATION: 'process' };
  const own = { prefix, concurrency: Number(concurrency), reserve: { memoryMb: 0, diskMb: 0 } };
  // A worker knows a few: keys of providers, the password of Redis.
  const redactor = new Redactor(['sk-ant-0123456789abcdef0123456789', 'another-secret-of-the-worker']);
  return WorkerPool.start({
    settings: { ...loadSettings({ env }), ...own },
    redis,
    log: silentLogger,
    redactor,
    spawners: (ports, registry) => {
      const pooled = { spawner: new NoOpSpawner({ ports, registry, redactor, home }), site: { source: {} } };
      return { of: async () => pooled, opened: [] };
    },
  });
}

async function bare() {
  const [{ Worker }, { LOCK_MS, STALLED_MS }, { TASK_QUEUE }] = await Promise.all([
    import('bullmq'),
    import('../../dist/worker/job-queue.js'),
    import('../../dist/job/names.js'),
  ]);
  const bull = new Worker(TASK_QUEUE, async () => null, {
    ...{ connection: redis, prefix, concurrency: Number(concurrency) },
    ...{ lockDuration: LOCK_MS, stalledInterval: STALLED_MS },
  });
  bull.on('error', error => process.stderr.write(`${error.message}\n`));
  await bull.waitUntilReady();
  return { stop: () => bull.close() };
}
