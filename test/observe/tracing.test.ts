/** A task through the queue, with a collector that takes what is told of it; whole attempts are traced in test/slow. */
import { chmodSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from 'vitest';
import { loadSettings } from '../../src/config.ts';
import { openQueue } from '../../src/job/queue.ts';
import { parseTask } from '../../src/job/task.ts';
import { silentLogger } from '../../src/observe/logger.ts';
import { openTracing, type Tracing } from '../../src/observe/tracing.ts';
import { Producer } from '../../src/producer/producer.ts';
import { WorkerPool } from '../../src/worker/worker.ts';
import { portRangeOfThisFile } from '../support/cell.ts';
import { lineage, nameCollector, startCollector } from '../support/collector.ts';
import { jobOf, untilState } from '../support/jobs.ts';
import { type TestRedis, testRedis } from '../support/redis.ts';
import { makeRepository, tempFolder } from '../support/repository.ts';

let server: TestRedis;
beforeAll(async () => {
  server = await testRedis();
});
afterAll(() => server.close());

const nobody = () => undefined;

async function open(onProblem: (message: string) => void = nobody): Promise<Tracing> {
  const tracing = await openTracing({ host: 'build-7', onProblem });
  if (tracing === null) expect.fail('tracing is off');
  onTestFinished(() => tracing.close());
  return tracing;
}

/** Enqueues a task whose server never starts, and works it to its end, with a producer and a worker. */
async function workOff(tracing: Tracing | null, attempts: number): Promise<void> {
  const folder = tempFolder('tracing');
  const opencodeBin = join(folder, 'opencode');
  writeFileSync(opencodeBin, '#!/bin/sh\n[ "$1" = --version ] && echo 1.0.0 && exit 0\nexit 7\n');
  chmodSync(opencodeBin, 0o755);
  const prefix = server.prefix();
  const redis = await server.connect('producer');
  const repository = makeRepository(join(folder, 'repository'));
  const { task } = parseTask({ id: 'a', prompt: 'do it', attempts }, 'a');
  if (task === null) expect.fail();
  const producer = new Producer({ redis, prefix, tracing });
  await producer.enqueue([{ task, where: 'a' }], { repository, plan: jobOf('a').plan });
  await producer.close();
  const env = { CELLPOOL_HOME: join(folder, 'home'), CELLPOOL_HOST: 'build-7', CELLPOOL_ISOLATION: 'process' };
  const settings = { ...loadSettings({ env }), prefix, opencodeBin, concurrency: 1, ports: portRangeOfThisFile() };
  const pool = await WorkerPool.start({
    ...{ settings, log: silentLogger, tracing },
    redis: await server.connect('worker'),
  });
  const queue = openQueue(redis, prefix);
  await untilState(queue, 'a', 'failed');
  await queue.close();
  await pool.stop();
}

test('a task is one trace, from its enqueuing through the stages of each attempt', async () => {
  const collector = await startCollector();
  nameCollector(collector.url);
  const tracing = await open();
  await workOff(tracing, 2);
  await tracing.close();

  const { spans } = collector;
  const of = (name: string) => spans.filter(one => one.name === name);
  expect(new Set(spans.map(({ traceId }) => traceId)).size).toBe(1);
  expect(of('enqueue')).toMatchObject([{ attributes: { 'cellpool.task': 'a' } }]);
  expect(of('enqueue')[0]?.parentSpanId).toBeFalsy();
  const attempts = of('attempt');
  expect(attempts.map(({ attributes }) => attributes['cellpool.attempt'])).toEqual([1, 2]);
  for (const attempt of attempts) {
    expect(attempt.attributes).toMatchObject({
      ...{ 'cellpool.task': 'a', 'cellpool.host': 'build-7', 'cellpool.outcome': 'failed', 'cellpool.tokens': 0 },
      'cellpool.error': 'SERVER_EXITED',
    });
    expect(attempt.status.code).toBe(2);
    const [root, ...others] = lineage(spans, attempt);
    expect(root).toBe('enqueue');
    expect(others.slice(-2)).toEqual(['process tasks', 'attempt']);
    const below = spans.filter(({ parentSpanId }) => parentSpanId === attempt.spanId);
    expect(below.map(({ name }) => name)).toEqual(['spawn', 'teardown']);
    for (const stage of below) {
      expect(stage.attributes).toMatchObject({ 'cellpool.task': 'a', 'cellpool.host': 'build-7' });
      expect(stage.startTimeUnixNano).toBeGreaterThanOrEqual(attempt.startTimeUnixNano);
      expect(stage.endTimeUnixNano).toBeLessThanOrEqual(attempt.endTimeUnixNano);
    }
  }
  expect(collector.resource).toMatchObject({ 'service.name': 'cellpool', 'host.name': 'build-7' });
  expect(collector.requests[0]).toMatchObject({ path: '/v1/traces' });
});

test('without a collector, or switched off, nothing is traced, and no job holds anything of it', async () => {
  nameCollector('');
  expect(await openTracing({ host: 'h', onProblem: nobody })).toBeNull();
  nameCollector('http://127.0.0.1:1');
  for (const [name, value] of [
    ['OTEL_SDK_DISABLED', 'true'],
    ['OTEL_TRACES_EXPORTER', 'none'],
  ] as const) {
    process.env[name] = value;
    expect(await openTracing({ host: 'h', onProblem: nobody })).toBeNull();
    delete process.env[name];
  }
  const prefix = server.prefix();
  const redis = await server.connect('producer');
  const producer = new Producer({ redis, prefix, tracing: null });
  const { task } = parseTask({ id: 'a', prompt: 'do it' }, 'a');
  if (task === null) expect.fail();
  await producer.enqueue([{ task, where: 'a' }], { repository: '/repo', plan: jobOf('a').plan });
  await producer.close();
  const queue = openQueue(redis, prefix);
  expect((await queue.getJob('a'))?.opts).not.toHaveProperty('telemetry');
  await queue.close();
});

test('a collector that is away, or refuses, hurts no task and is told once', async () => {
  const collector = await startCollector();
  collector.status = 400;
  nameCollector(collector.url);
  const told: string[] = [];
  const tracing = await open(message => void told.push(message));
  await workOff(tracing, 1);
  await tracing.close();
  expect(told).toHaveLength(1);
  expect(told[0]).toMatch(/^The collector of traces does not take them: /);
  expect(collector.requests.length).toBeGreaterThan(0);

  const away = await freePort();
  nameCollector(`http://127.0.0.1:${away}`);
  const toldOfAway: string[] = [];
  const second = await open(message => void toldOfAway.push(message));
  second.attempt({ task: 'a', attempt: 1, host: 'h' }).stage('spawn', null);
  await workOff(second, 1);
  await second.close();
  await vi.waitFor(() => expect(toldOfAway).toHaveLength(1), { timeout: 30_000 });
});

test('nonsense in the place of a trace harms nothing: the job is worked, in a trace of its own', async () => {
  const collector = await startCollector();
  nameCollector(collector.url);
  const tracing = await open();
  const { telemetry } = tracing;
  for (const metadata of ['no JSON', 'null', '5', '{"traceparent": 5}', '{"traceparent": "00-0-0-01"}', '[[]]', '']) {
    const active = telemetry.contextManager.active();
    const span = telemetry.tracer.startSpan(
      'process x',
      { kind: 1 },
      telemetry.contextManager.fromMetadata(active, metadata),
    );
    span.end();
  }
  await tracing.close();
  expect(collector.spans).toHaveLength(7);
  expect(collector.spans.filter(({ parentSpanId }) => (parentSpanId ?? '') !== '')).toEqual([]);
});

test('a job that was there before begins no trace', async () => {
  const collector = await startCollector();
  nameCollector(collector.url);
  const tracing = await open();
  const prefix = server.prefix();
  const redis = await server.connect('producer');
  const { task } = parseTask({ id: 'a', prompt: 'do it' }, 'a');
  if (task === null) expect.fail();
  for (let time = 0; time < 2; time++) {
    const producer = new Producer({ redis, prefix, tracing });
    await producer.enqueue([{ task, where: 'a' }], { repository: '/repo', plan: jobOf('a').plan });
    await producer.close();
  }
  await tracing.close();
  expect(collector.spans.map(({ name }) => name)).toEqual(['enqueue']);
});

async function freePort(): Promise<number> {
  const listener = createServer();
  await new Promise<void>(resolve => listener.listen(0, '127.0.0.1', resolve));
  const address = listener.address();
  await new Promise(resolve => listener.close(resolve));
  return typeof address === 'object' && address !== null ? address.port : 1;
}
