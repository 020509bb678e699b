import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import { beforeEach, expect, test, vi } from 'vitest';
import { addFlags, type FlagName, SITE_FLAGS, TASK_FLAGS, WORKER_FLAGS } from '../../src/cli/options.ts';
import { settingsOf } from '../../src/cli/settings-of.ts';
import { tempFolder } from '../support/repository.ts';

let folder: string;

beforeEach(() => {
  folder = tempFolder('options');
  return () => {
    vi.unstubAllEnvs();
  };
});

function project(yaml: string): string {
  writeFileSync(join(folder, 'cellpool.yaml'), yaml);
  return folder;
}

test('a flag outranks the environment, that cellpool.yaml, that the default', () => {
  const repository = project('test: from-yaml\nmodel: yaml/model\nsetup: from-yaml\n');
  vi.stubEnv('CELLPOOL_TEST', 'from-env');
  vi.stubEnv('CELLPOOL_MODEL', 'env/model');
  const settings = settingsOf({ test: 'from-flag' }, repository);
  expect(settings.test).toBe('from-flag');
  expect(settings.model).toBe('env/model');
  expect(settings.setup).toBe('from-yaml');
  expect(settings.limits.attempts).toBe(3);
});

test('without a repository no cellpool.yaml is read', () => {
  project('test: from-yaml\n');
  expect(settingsOf({}).test).toBeUndefined();
});

test('--opencode-config is merged over the opencode section of cellpool.yaml', () => {
  const repository = project('opencode:\n  share: manual\n  provider:\n    one:\n      name: One\n');
  const file = join(folder, 'more.json');
  writeFileSync(file, '{ "share": "auto", "provider": { "two": { "name": "Two" } } }');
  expect(settingsOf({ opencodeConfig: file }, repository).opencode).toEqual({
    share: 'auto',
    provider: { one: { name: 'One' }, two: { name: 'Two' } },
  });
});

test('every flag sets its setting when it is typed', () => {
  // Labels of tasks are typed as those of workers are: which are meant depends on the command.
  const typed: Record<Exclude<FlagName, 'taskLabels'>, [string, string]> = {
    home: ['--home', '/tmp/home'],
    redis: ['--redis', 'redis://127.0.0.1:1'],
    concurrency: ['--concurrency', '7'],
    warm: ['--warm', '3'],
    ports: ['--ports', '9100-9200'],
    model: ['--model', 'a/b'],
    agent: ['--agent', 'build'],
    test: ['--test', 'npm test'],
    setup: ['--setup', 'npm ci'],
    timeoutMs: ['--timeout-ms', '1000'],
    tokenBudget: ['--token-budget', '2000'],
    costBudgetUsd: ['--cost-budget-usd', '1.25'],
    stallMs: ['--stall-ms', '6000'],
    attempts: ['--attempts', '4'],
    totalTimeoutMs: ['--total-timeout-ms', '3000'],
    totalTokenBudget: ['--total-token-budget', '5000'],
    hostConcurrency: ['--host-concurrency', '9'],
    labels: ['--labels', 'gpu, eu'],
    grace: ['--grace', '90'],
    memoryMb: ['--memory-mb', '2048'],
    pids: ['--pids', '0'],
    cpus: ['--cpus', '1.5'],
    diskMb: ['--disk-mb', '4096'],
    isolation: ['--isolation', 'sandbox'],
    workspace: ['--workspace', 'worktree'],
    profile: ['--profile', 'dense'],
    land: ['--land', 'merge'],
    landOn: ['--land-on', 'release'],
    batch: ['--batch', '8'],
    artifactDays: ['--artifact-days', '7'],
    artifactsMb: ['--artifacts-mb', '0'],
    logLevel: ['--log-level', 'debug'],
  };
  const command = addFlags(new Command(), [...SITE_FLAGS, ...TASK_FLAGS, ...WORKER_FLAGS]);
  command.parse(Object.values(typed).flat(), { from: 'user' });
  expect(settingsOf(command.opts())).toMatchObject({
    home: '/tmp/home',
    redisUrl: 'redis://127.0.0.1:1',
    concurrency: 7,
    ports: { from: 9100, to: 9200 },
    isolation: { level: 'sandbox' },
    workspace: 'worktree',
    profile: 'dense',
    warm: 3,
    model: 'a/b',
    agent: 'build',
    test: 'npm test',
    setup: 'npm ci',
    limits: {
      timeoutMs: 1000,
      tokenBudget: 2000,
      costBudgetUsd: 1.25,
      stallMs: 6000,
      attempts: 4,
      totalTimeoutMs: 3000,
      totalTokenBudget: 5000,
      memoryMb: 2048,
      pids: null,
      cpus: 1.5,
      diskMb: 4096,
    },
    hostConcurrency: 9,
    land: 'merge',
    landOn: 'release',
    landing: { batch: 8, remote: 'origin', returns: 2, removeBranch: false },
    labels: ['eu', 'gpu'],
    graceMs: 90_000,
    retention: { artifactDays: 7, artifactsMb: null },
    logLevel: 'debug',
  });
});

test.each([
  ['a part of a second', '0.5', 500],
  ['none at all', '0', 0],
])('the grace period is given in seconds: %s', (_, value, graceMs) => {
  expect(settingsOf({ grace: value }).graceMs).toBe(graceMs);
});

test.each([
  ['soon', '--grace: must be a number, not "soon"'],
  ['-1', '--grace: must be a number, not "-1"'],
  ['999999', '--grace (in ms): may be at most 86400000'],
])('a grace period of %s is refused under the name of its flag', (value, fault) => {
  expect(() => settingsOf({ grace: value })).toThrow(fault);
});
