import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { metricsText } from '../../src/board/metrics.ts';
import { OUTCOMES, type StageTime } from '../../src/job/outcome.ts';
import { CellMemory } from '../../src/redis/cell-memory.ts';
import type { CellRecord } from '../../src/redis/cell-record.ts';
import { Cooldowns } from '../../src/redis/cooldown.ts';
import { DiskUses } from '../../src/redis/disk-use.ts';
import { PortLeases } from '../../src/redis/port-lease.ts';
import { CellRegistry } from '../../src/redis/registry.ts';
import { Slots } from '../../src/redis/slots.ts';
import { Tally } from '../../src/redis/tally.ts';
import { WorkerList } from '../../src/redis/worker-list.ts';
import { addJob, jobOf, resultOf } from '../support/jobs.ts';
import { readPrometheus } from '../support/prometheus.ts';
import { type TestRedis, testRedis } from '../support/redis.ts';
import { tempFolder } from '../support/repository.ts';
import { addLanding, held, landingJobOf, noteTarget } from '../support/shown-landings.ts';
import { viewContext } from '../support/view.ts';

let server: TestRedis;
let redis: Redis;
beforeAll(async () => {
  server = await testRedis();
  redis = await server.connect('producer');
});
afterAll(() => server.close());

function pool() {
  const prefix = server.prefix();
  const context = viewContext(redis, prefix);
  const { queue, landing } = context;
  return { prefix, queue, landing, context, read: async () => readPrometheus((await metricsText(context)).text) };
}

type Read = Awaited<ReturnType<ReturnType<typeof pool>['read']>>;

/** The values of one metric by its labels. */
function values(read: Read, name: string): Record<string, number> {
  const samples = read.get(name)?.samples ?? expect.fail(`there is no metric ${name}`);
  return Object.fromEntries(samples.map(({ labels, value }) => [Object.values(labels).join(' '), value]));
}

/** A host with a worker and these cells, each with so many bytes. */
async function enterHost(prefix: string, host: string, cells: [string, CellRecord['stage'], number][]) {
  await new WorkerList(redis, { prefix }).beat({
    ...{ id: `${host}.1`, host, pid: 1, startTime: '1', bootId: 'b', startedAt: 1, concurrency: 5, draining: false },
    running: cells.map(([id]) => id.slice(0, -9)),
  });
  const registry = new CellRegistry(redis, { prefix, host, home: tempFolder('metrics') });
  const worker = { id: `${host}.1`, pid: 1, startTime: '1', bootId: 'b', pidNamespace: 'n' };
  for (const [cellId, stage] of cells) {
    await registry.register({
      ...{ version: 1, cellId, host, home: '/h', worker, taskId: cellId.slice(0, -9), attempt: 1, job: null, stage },
      ...{ repository: '/r', mirror: '/m', artifacts: '', isolation: 'process', workspace: '', port: null },
      ...{ server: null, abandoned: false, createdAt: 1 },
    });
  }
  await new CellMemory(redis, { prefix }).write(host, new Map(cells.map(([id, , bytes]) => [id, bytes])));
}

const stage = (name: StageTime['stage'], ms: number): StageTime => ({ stage: name, startedAt: 0, ms });

describe('the text for Prometheus', () => {
  test('is what Prometheus reads, also of a pool in which nothing ever was', async () => {
    const { contentType, text } = await metricsText(pool().context);
    expect(contentType).toMatch(/^text\/plain; version=0\.0\.4/);
    const read = readPrometheus(text);
    expect(values(read, 'cellpool_attempts_total')).toEqual(Object.fromEntries(OUTCOMES.map(one => [one, 0])));
    expect(read.get('cellpool_cells')?.samples).toEqual([]);
    expect(values(read, 'cellpool_stage_duration_seconds')).toMatchObject({ 'total +Inf': 0 });
  });

  test('names every metric after the pool, with its unit, and no label that grows without bound', async () => {
    const { prefix, queue, read } = pool();
    await enterHost(prefix, 'one', [['fix-login.00000001', 'execute', 5]]);
    await addJob(queue, jobOf('fix-login'));
    await new Cooldowns(redis, { prefix }).report('secret-provider/model-7', { kind: 'busy', reason: 'x' });
    const found = await read();
    const known = new Set(['host', 'stage', 'queue', 'state', 'kind', 'outcome', 'fate', 'le']);
    for (const [name, { type, samples }] of found) {
      expect(name).toMatch(/^cellpool_[a-z0-9_]+$/);
      expect(name).not.toMatch(/(_ms|_mb|_milliseconds|_kb)(_|$)/);
      if (type === 'counter') expect(name).toMatch(/_total$/);
      if (name.startsWith('cellpool_board_')) continue;
      for (const { labels } of samples) expect(Object.keys(labels).filter(one => !known.has(one))).toEqual([]);
      expect(JSON.stringify(samples)).not.toMatch(/fix-login|model-7|secret-provider/);
    }
  });

  test('tells of the cells, slots and memory of all hosts, of a host without cells too', async () => {
    const { prefix, read } = pool();
    await enterHost(prefix, 'one', [
      ['a.00000001', 'execute', 100],
      ['b.00000002', 'execute', 50],
      ['c.00000003', 'teardown', 1],
    ]);
    await enterHost(prefix, 'two', []);
    const found = await read();
    expect(values(found, 'cellpool_cells')).toMatchObject({ 'one execute': 2, 'one teardown': 1, 'two execute': 0 });
    expect(values(found, 'cellpool_cell_memory_bytes')).toEqual({ one: 151, two: 0 });
    expect(values(found, 'cellpool_workers')).toEqual({ one: 1, two: 1 });
    expect(values(found, 'cellpool_slots')).toEqual({ one: 5, two: 5 });
    expect(values(found, 'cellpool_slots_used')).toEqual({ one: 3, two: 0 });
    expect(values(found, 'cellpool_cells_abandoned')).toEqual({ one: 0, two: 0 });
  });

  test('tells of the queue, of cool-downs, ports and disk', async () => {
    const { prefix, queue, read } = pool();
    await enterHost(prefix, 'one', []);
    await addJob(queue, jobOf('a'));
    await addJob(queue, jobOf('b', { priority: 3 }));
    await addJob(queue, jobOf('c'), 600_000);
    await queue.pause();
    const cooldowns = new Cooldowns(redis, { prefix });
    await cooldowns.report('p/m', { kind: 'busy', reason: 'too many' });
    await cooldowns.report('q/m', { kind: 'refused', reason: 'no key' });
    const ports = new PortLeases(redis, { prefix, host: 'one', range: { from: 9_000, to: 9_009 } });
    await ports.acquire('a', 60_000);
    await new DiskUses(redis, { prefix }).write('one', {
      ...{ artifactsBytes: 7, mirrorsBytes: 8, cellsBytes: 9, cachesBytes: 10, redisBytes: 11 },
      at: Date.now(),
    });
    const found = await read();
    expect(values(found, 'cellpool_queue_jobs')).toMatchObject({ 'tasks waiting': 2, 'tasks delayed': 1 });
    expect(values(found, 'cellpool_queue_paused')).toEqual({ tasks: 1, landing: 0 });
    expect(values(found, 'cellpool_cooldowns')).toEqual({ busy: 1, refused: 1 });
    expect(values(found, 'cellpool_ports')).toEqual({ 'one leased': 1, 'one free': 9 });
    expect(values(found, 'cellpool_disk_bytes')).toEqual({
      ...{ 'one artifacts': 7, 'one mirrors': 8, 'one cells': 9, 'one caches': 10, 'one redis': 11 },
    });
    const [measured] = Object.values(values(found, 'cellpool_disk_measured_timestamp_seconds'));
    expect(Math.abs(Number(measured) - Date.now() / 1_000)).toBeLessThan(60);
    expect(values(found, 'cellpool_redis_roundtrip_seconds')['']).toBeGreaterThan(0);
  });

  test('tells of landings: how many stand where, what became of the others, and on how many branches none lands', async () => {
    const { prefix, landing, read } = pool();
    for (const id of ['a', 'b']) await addLanding(landing, landingJobOf(id));
    await noteTarget(redis, prefix);
    await noteTarget(redis, prefix, { target: 'dev', held: held('not now') });
    const tally = new Tally(redis, { prefix });
    await tally.addLanding('landed', 'c');
    await tally.addLanding('refused', 'd');
    const found = await read();
    expect(values(found, 'cellpool_queue_jobs')).toMatchObject({ 'landing waiting': 2, 'tasks waiting': 0 });
    expect(values(found, 'cellpool_landing_held')).toEqual({ '': 1 });
    expect(values(found, 'cellpool_landings_total')).toEqual({ landed: 1, returned: 0, refused: 1 });
  });

  test('tells of what all workers have done so far', async () => {
    const { prefix, read } = pool();
    const tally = new Tally(redis, { prefix });
    const metrics = { spawnMs: 0, executionMs: 0, teardownMs: 0, totalMs: 8_000_000 };
    const stages = [stage('spawn', 700), stage('execute', 90_000)];
    await tally.add({ ...resultOf('a', 'committed'), tokensUsed: 500, costUsd: 0.25, metrics, stages });
    await tally.add({ ...resultOf('b', 'reverted'), tokensUsed: 11 });
    await tally.addReaped(['cell', 'lease', 'cell']);
    const found = await read();
    expect(values(found, 'cellpool_attempts_total')).toMatchObject({ committed: 1, reverted: 1, failed: 0 });
    expect(values(found, 'cellpool_tokens_total')).toEqual({ '': 511 });
    expect(values(found, 'cellpool_cost_usd_total')).toEqual({ '': 0.25 });
    expect(values(found, 'cellpool_reaped_total')).toMatchObject({ cell: 2, lease: 1, pin: 0 });
    const durations = found.get('cellpool_stage_duration_seconds');
    const of = (name: string, labels: Record<string, string>) =>
      durations?.samples.find(one => {
        return one.name.endsWith(name) && Object.entries(labels).every(([key, value]) => one.labels[key] === value);
      })?.value;
    expect(of('_bucket', { stage: 'spawn', le: '0.5' })).toBe(0);
    expect(of('_bucket', { stage: 'spawn', le: '1' })).toBe(1);
    expect(of('_sum', { stage: 'execute' })).toBe(90);
    // Longer than the longest bucket.
    expect(of('_bucket', { stage: 'total', le: '7200' })).toBe(0);
    expect(of('_count', { stage: 'total' })).toBe(1);
  });

  test('names as many hosts as fit in a graph, and the others as one', async () => {
    const { prefix, read } = pool();
    const disk = new DiskUses(redis, { prefix });
    const use = { artifactsBytes: 1, mirrorsBytes: 0, cellsBytes: 0, at: Date.now() };
    for (let number = 0; number < 230; number++) await disk.write(`host-${1_000 + number}`, use);
    await disk.write('a "quoted" \\ host\nwith a line', use);
    const found = await read();
    const artifacts = values(found, 'cellpool_disk_bytes');
    expect(artifacts['host-1000 artifacts']).toBe(1);
    expect(artifacts['a "quoted" \\ host\nwith a line artifacts']).toBe(1);
    expect(artifacts['others artifacts']).toBe(31);
    // Workers of before did not measure these.
    expect(artifacts).not.toHaveProperty(['host-1000 caches']);
    expect(found.get('cellpool_workers')?.samples).toHaveLength(201);
  });

  test('tells of the process of the board, and does so again', async () => {
    const { read } = pool();
    await read();
    const found = await read();
    expect(values(found, 'cellpool_board_process_resident_memory_bytes')['']).toBeGreaterThan(1_000_000);
    expect(values(found, 'cellpool_board_process_cpu_seconds_total')['']).toBeGreaterThan(0);
    expect(found.has('cellpool_board_nodejs_eventloop_lag_p99_seconds')).toBe(true);
  });

  test('cannot be told while Redis is away', async () => {
    const { context } = pool();
    const away = await server.connect('producer');
    away.disconnect();
    await expect(metricsText({ ...context, redis: away })).rejects.toThrow();
  });
});

describe('the dashboard for Grafana', () => {
  const dashboard = JSON.parse(
    readFileSync(fileURLToPath(new URL('../../examples/grafana/cellpool.json', import.meta.url)), 'utf8'),
  ) as { panels: { id: number; title: string; targets?: { expr: string }[] }[]; templating: unknown };

  test('asks only for metrics and labels that there are', async () => {
    const { prefix, read } = pool();
    await enterHost(prefix, 'one', []);
    const use = { artifactsBytes: 1, mirrorsBytes: 1, cellsBytes: 1, at: Date.now() };
    await new DiskUses(redis, { prefix }).write('one', use);
    await new Slots(redis, { prefix }).set({ cells: 9, hostCells: 9 });
    const found = await read();
    const series = new Map<string, Set<string>>();
    for (const { samples } of found.values()) {
      for (const { name, labels } of samples) {
        series.set(name, new Set([...(series.get(name) ?? []), ...Object.keys(labels)]));
      }
    }
    const queries = dashboard.panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));
    expect(queries.length).toBeGreaterThan(20);
    const asked = [...queries, JSON.stringify(dashboard.templating)].flatMap(query => [
      ...query.matchAll(/\b(cellpool_\w+)(?:\{([^}]*)\})?/g),
    ]);
    for (const [whole, name = '', selector = ''] of asked) {
      expect(series.has(name), `${name} is no metric: ${whole}`).toBe(true);
      for (const [, label = ''] of selector.matchAll(/(\w+)(?:=|!)/g)) {
        expect(series.get(name), `${name} has no label ${label}`).toContain(label);
      }
    }
    for (const query of queries) {
      for (const [, labels = ''] of query.matchAll(/by \(([^)]*)\)/g)) {
        const known = [...query.matchAll(/\b(cellpool_\w+)/g)].flatMap(([, name = '']) => [
          ...(series.get(name) ?? []),
        ]);
        for (const label of labels.split(/,\s*/)) expect(known).toContain(label);
      }
    }
  });

  test("shows each of the pool's metrics, and has no number twice", async () => {
    const { read } = pool();
    const text = JSON.stringify(dashboard);
    const own = [...(await read()).keys()].filter(name => !name.startsWith('cellpool_board_'));
    expect(own.filter(name => !text.includes(name))).toEqual([]);
    const ids = dashboard.panels.map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
  });
});
