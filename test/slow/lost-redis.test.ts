/** Redis dies for good: whoever is told to stop then comes to its end by itself, with its exit code and last words. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type ScriptedModel, startScriptedModel } from '../../src/cli/demo/scripted-model.ts';
import { within } from '../../src/os/within.ts';
import { connectRedis } from '../../src/redis/connection.ts';
import { findRedisBinary, serverEnvironment } from '../../src/redis/redis-binary.ts';
import { CliHome, type Finished, Gate, type RunningCli, scripted } from '../support/cli.ts';
import { processesLeft } from '../support/leaks.ts';

/** A run that loses Redis waits for it at several places, 45 s in all; other tests may slow that down. */
const BOUND_MS = 180_000;

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

function ended(command: RunningCli): Promise<Finished> {
  return within(BOUND_MS, undefined, () => command.ended);
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
