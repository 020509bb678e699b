/** Redis dies for good: whoever is told to stop then comes to its end by itself, with its exit code and last words. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type ScriptedModel, startScriptedModel } from '../../src/cli/demo/scripted-model.ts';
import { connectRedis } from '../../src/redis/connection.ts';
import { findRedisBinary, serverEnvironment } from '../../src/redis/redis-binary.ts';
import { CliHome, type Finished, Gate, type RunningCli, scripted } from '../support/cli.ts';
import { processesLeft } from '../support/leaks.ts';

/** Far above what it takes, and far below for ever. */
const BOUND_MS = 90_000;

let cli: CliHome;
let model: ScriptedModel;
let redis: ChildProcess;
let env: Record<string, string>;

beforeEach(async () => {
  cli = new CliHome();
  model = await startScriptedModel();
  const path = join(cli.folder, 'redis.sock');
  env = { REDIS_URL: `unix://${path}`, CELLPOOL_GRACE_MS: '1000' };
  const binary = await findRedisBinary();
  const files = ['--dir', cli.folder, '--appendonly', 'yes', '--save', ''];
  redis = spawn(binary.file, ['--port', '0', '--unixsocket', path, ...files], {
    env: serverEnvironment(binary),
    stdio: 'ignore',
  });
  const client = connectRedis({ path }, 'worker');
  // Waits for the server to listen.
  await client.ping().finally(() => client.disconnect());
});
afterEach(async () => {
  await lose('SIGKILL');
  await model.close();
  cli.remove();
});

async function lose(signal: 'SIGKILL' | 'SIGSTOP'): Promise<void> {
  if (redis.exitCode !== null || redis.signalCode !== null) return;
  const gone = once(redis, 'exit');
  redis.kill(signal);
  if (signal === 'SIGKILL') await gone;
}

/** Bounded by the support's own `afterAll` kill as well; what is awaited here is the process's own end. */
async function ended(command: RunningCli): Promise<Finished> {
  const late = AbortSignal.timeout(BOUND_MS);
  return Promise.race([
    command.ended,
    once(late, 'abort').then(() => {
      throw new Error('the process did not end by itself');
    }),
  ]);
}

test.each(['SIGKILL', 'SIGSTOP'] as const)('an idle worker, after %s for Redis', async signal => {
  const worker = cli.start(['worker', '--no-supervisor', '--concurrency', '1'], { env });
  await worker.says('Working with');
  await lose(signal);
  if (signal === 'SIGKILL') await worker.says('queue trouble');
  worker.signal('SIGTERM');
  const { exitCode, stderr } = await ended(worker);
  expect(exitCode).toBe(0);
  expect(stderr).toContain('Stopped: 0 attempts came to an end, 0 handed back.');
});

test.each(['SIGKILL', 'SIGSTOP'] as const)('a run with an agent at work, after %s for Redis', async signal => {
  const gate = new Gate(cli.folder, 'gate');
  const file = cli.tasksFile('tasks.jsonl', [scripted('a', [gate.step])]);
  const flags = ['--repo', cli.repository(), ...cli.modelFlags(model)];
  const run = cli.start(['run', file, ...flags, '--concurrency', '1'], { env });
  await gate.reached();
  await lose(signal);
  run.signal('SIGTERM');
  const { exitCode, stderr } = await ended(run);
  expect(exitCode).toBe(130);
  expect(stderr).toContain('still queued');
  expect(await processesLeft({ marker: `CELLPOOL_HOME=${cli.home}`, folder: cli.home })).toEqual([]);
});
