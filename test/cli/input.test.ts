import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CliHome } from '../support/cli.ts';
import { git, makeRepository } from '../support/repository.ts';

const cli = new CliHome();
let repository: string;

beforeAll(() => {
  repository = cli.repository();
});
afterAll(() => cli.remove());

/** Refused before anything else: no Redis was started, nothing stands on stdout. */
async function refused(command: string, args: string[], env: Record<string, string> = {}, stdin?: string) {
  const options = { cwd: cli.folder, env, ...(stdin === undefined ? {} : { stdin }) };
  const { exitCode, stdout, stderr } = await cli.run([command, ...args], options);
  expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: '' });
  expect(existsSync(join(cli.home, 'redis'))).toBe(false);
  expect(stderr).not.toMatch(/^ +at /m);
  return stderr.trimEnd().split('\n');
}

const inRepository = () => ['--repo', repository];

describe('bad tasks are refused before anything is queued', () => {
  test.each(['run', 'enqueue'])('by %s, which lists every fault with its line', async command => {
    const file = cli.file(
      'bad.jsonl',
      [
        '{"id": "one", "prompt": "do it"}',
        '{"id": "two", "promt": "do it"}',
        '{"id": "three", "prompt": "  "}',
        '{"id": "four", "prompt": "do it", "attempts": "many"}',
        '{"id": "one", "prompt": "do it again"}',
        '{"id": "a:b", "prompt": "do it"}',
        'not json',
      ].join('\n'),
    );
    const lines = await refused(command, [file, ...inRepository()]);
    const faultsOf = (line: number) => lines.filter(one => one.includes(`bad.jsonl:${line}:`)).join('\n');
    expect(faultsOf(1)).toBe('');
    expect(faultsOf(2)).toContain('"promt" is not known');
    expect(faultsOf(2)).toContain('"prompt" is missing');
    expect(faultsOf(3)).toContain('"prompt" may not be empty');
    expect(faultsOf(4)).toContain('"attempts" must be a number');
    expect(faultsOf(5)).toContain('"one" stands twice');
    expect(faultsOf(6)).toContain('"id"');
    expect(faultsOf(7)).not.toBe('');
    for (const line of lines) expect(line).toMatch(/bad\.jsonl:\d+: /);
  });

  test('base branches that are not there, each with its line', async () => {
    const tasks = [
      { id: 'one', prompt: 'do it', base: 'nope' },
      { id: 'two', prompt: 'do it', base: 'neither' },
      { id: 'three', prompt: 'do it', base: 'main' },
    ];
    const lines = await refused('run', [cli.tasksFile('bases.jsonl', tasks), ...inRepository()]);
    expect(lines).toHaveLength(2);
    expect(lines[0]).toMatch(/bases\.jsonl:1: .*"nope"/);
    expect(lines[1]).toMatch(/bases\.jsonl:2: .*"neither"/);
  });

  test('a file that is not there', async () => {
    expect((await refused('run', ['missing.jsonl', ...inRepository()])).join()).toContain('missing.jsonl');
  });

  test('a task without a model, which opencode would choose by itself', async () => {
    const { exitCode, stdout, stderr } = await cli.run(
      ['run', '--id', 'a', '--prompt', 'do it', '--repo', repository],
      {
        env: { CELLPOOL_MODEL: '' },
      },
    );
    expect([exitCode, stdout]).toEqual([2, '']);
    expect(stderr).toContain('--id: names no model: give --model provider/model');
  });

  test('a folder that is no repository', async () => {
    const folder = join(cli.folder, 'plain');
    mkdirSync(folder, { recursive: true });
    const file = cli.tasksFile('one.jsonl', [{ id: 'one', prompt: 'do it' }]);
    expect((await refused('run', [file, '--repo', folder])).join('\n')).toContain(folder);
  });

  test('a repository without commits', async () => {
    const folder = join(cli.folder, 'empty');
    mkdirSync(folder, { recursive: true });
    git(folder, 'init', '--quiet', '-b', 'main');
    const file = cli.tasksFile('one.jsonl', [{ id: 'one', prompt: 'do it' }]);
    expect((await refused('run', [file, '--repo', folder])).join('\n')).toMatch(/commit|branch/);
  });

  test.each([
    ['--id without --prompt', ['--id', 'one'], '--prompt: is missing'],
    ['--prompt without --id', ['--prompt', 'do it'], '--id: is missing'],
    ['--id beside a file', ['one.jsonl', '--id', 'one', '--prompt', 'do it'], '--id: goes without a file'],
    ['no tasks at all', [], 'name a file of tasks'],
    ['an id that cannot be a branch', ['--id', 'a..b', '--prompt', 'do it'], '".."'],
    ['an empty prompt', ['--id', 'one', '--prompt', ' '], '"prompt" may not be empty'],
    [
      'a base that is not there',
      ['--id', 'one', '--prompt', 'do it', '--base', 'nope'],
      'base branch "nope" is not in',
    ],
  ])('%s', async (_, args, said) => {
    expect((await refused('run', [...args, ...inRepository()])).join('\n')).toContain(said);
  });

  test('standard input that holds no task', async () => {
    await refused('run', ['-', ...inRepository()], {}, '');
  });
});

describe('settings are refused before anything else happens', () => {
  const task = ['--id', 'one', '--prompt', 'do it'];

  test.each([
    ['more cells than fifty', ['run', ...task, '--concurrency', '51'], '--concurrency: may be at most 50'],
    ['a worker of more cells than fifty', ['worker', '--concurrency', '51'], '--concurrency: may be at most 50'],
    ['no cells at all', ['worker', '--concurrency', '0'], '--concurrency: must be at least 1'],
    ['a model without its provider', ['run', ...task, '--model', 'gpt-5'], '--model: is written provider/model'],
    ['ports in the range of the kernel', ['worker', '--ports', '40000-50000'], '--ports'],
  ])('%s', async (_, [command = '', ...args], said) => {
    const repo = command === 'worker' ? [] : inRepository();
    expect((await refused(command, [...args, ...repo])).join('\n')).toContain(said);
  });

  test('those of the environment too, named by their variable', async () => {
    const lines = await refused('worker', [], { CELLPOOL_CONCURRENCY: '51', CELLPOOL_TIMEOUT_MS: 'soon' });
    expect(lines.join('\n')).toContain('CELLPOOL_CONCURRENCY: may be at most 50');
    expect(lines.join('\n')).toContain('CELLPOOL_TIMEOUT_MS');
  });

  test('those of cellpool.yaml too, named by line and key', async () => {
    const folder = makeRepository(join(cli.folder, 'with-yaml'), { 'cellpool.yaml': 'limits:\n  attempts: many\n' });
    const lines = await refused('run', [...task, '--repo', folder]);
    expect(lines.join('\n')).toContain('cellpool.yaml:2: "limits.attempts" must be a number');
  });
});
