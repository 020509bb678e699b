/** What a collector is told of tasks that the built command works with real servers, from two processes. */
import { expect, onTestFinished, test } from 'vitest';
import { startScriptedModel } from '../../src/cli/demo/scripted-model.ts';
import { CliHome, scripted } from '../support/cli.ts';
import { lineage, startCollector } from '../support/collector.ts';

const MINUTE = 60_000;

test('one trace a task, from enqueue through every stage of every attempt, with what it used', {
  timeout: 8 * MINUTE,
}, async () => {
  const cli = new CliHome();
  const model = await startScriptedModel();
  onTestFinished(async () => {
    await model.close();
    cli.remove();
  });
  const collector = await startCollector();
  const env = {
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
    OTEL_RESOURCE_ATTRIBUTES: 'team=blue',
    // Attempts that fail because the machine is busy would be spans too.
    CELLPOOL_BOOT_MS: '180000',
  };
  const repository = cli.repository({ 'main.txt': 'main\n' });
  const tasks = [
    scripted('good', [{ tokens: { input: 100, output: 20 } }, { write: { 'good.txt': 'x\n' } }], { test: 'true' }),
    scripted('bad', [{ write: { 'bad.txt': 'x\n' } }], { test: 'false', attempts: 2 }),
  ];
  const file = cli.tasksFile('tasks.jsonl', tasks);
  const common = ['--repo', repository, ...cli.modelFlags(model)];
  const enqueued = await cli.start(['enqueue', file, ...common], { env }).ended;
  expect(enqueued.exitCode, enqueued.stderr).toBe(0);
  const ran = await cli.start(['run', file, ...common, '--concurrency', '1', '--json'], { env }).ended;
  expect(ran.exitCode, ran.stderr).toBe(1);

  const { spans } = collector;
  const attempts = spans.filter(({ name }) => name === 'attempt');
  const of = (task: string) => attempts.filter(one => one.attributes['cellpool.task'] === task);
  expect(of('good').map(({ attributes }) => attributes)).toMatchObject([
    { 'cellpool.attempt': 1, 'cellpool.outcome': 'committed', 'cellpool.tokens': expect.any(Number) },
  ]);
  expect(Number(of('good')[0]?.attributes['cellpool.tokens'])).toBeGreaterThan(100);
  expect(of('bad').map(({ attributes }) => attributes)).toMatchObject([
    { 'cellpool.attempt': 1, 'cellpool.outcome': 'reverted', 'cellpool.error': 'TESTS_FAILED' },
    { 'cellpool.attempt': 2, 'cellpool.outcome': 'reverted' },
  ]);
  for (const attempt of attempts) {
    const stages = spans.filter(one => one.parentSpanId === attempt.spanId);
    expect(stages.map(({ name }) => name)).toEqual(['spawn', 'execute', 'test', 'settle', 'teardown']);
    const [, ...afterSpawn] = stages;
    for (const { attributes } of afterSpawn) {
      expect(attributes['cellpool.cell']).toMatch(new RegExp(`^${attempt.attributes['cellpool.task']}\\.[0-9a-f]{8}$`));
    }
    expect(lineage(spans, attempt)[0]).toBe('enqueue');
  }
  const traces = new Map(['good', 'bad'].map(task => [task, new Set(of(task).map(({ traceId }) => traceId))]));
  for (const ids of traces.values()) expect(ids.size).toBe(1);
  expect(new Set([...traces.values()].flatMap(ids => [...ids])).size).toBe(2);
  expect(collector.resource).toMatchObject({ team: 'blue', 'service.name': 'cellpool' });
  // Nothing of what was said or written is sent along.
  expect(JSON.stringify(spans.map(({ attributes }) => attributes))).not.toContain('good.txt');
});
