import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import getPort from 'get-port';
import { describe, expect, test } from 'vitest';
import { bootServer, opencodeConfig } from '../../src/cell/server.ts';
import { silentLogger } from '../../src/observe/logger.ts';
import { Redactor } from '../../src/observe/redact.ts';
import { chooseIsolation } from '../../src/os/isolation.ts';
import { processesOf } from '../support/leaks.ts';
import { tempFolder, writeFiles } from '../support/repository.ts';

describe('the config of a server', () => {
  test('refuses files outside the workspace where nothing else does', () => {
    const config = opencodeConfig({ workspacePath: '/nonexistent', isolation: 'process' });
    expect(config.permission).toEqual({ '*': 'allow', external_directory: 'deny' });
  });

  test('asks nobody, shares nothing, does not update itself and keeps no copies of the workspace', () => {
    expect(opencodeConfig({ workspacePath: '/nonexistent', isolation: 'sandbox' })).toEqual({
      permission: { '*': 'allow' },
      share: 'disabled',
      autoupdate: false,
      snapshot: false,
      instructions: [],
    });
  });

  test("names the task's model", () => {
    expect(opencodeConfig({ workspacePath: '/nonexistent', model: 'p/m', isolation: 'strict' })).toMatchObject({
      model: 'p/m',
    });
  });

  test('lets the operator have the last word, key by key, and a later section before an earlier one', () => {
    const first = { permission: { bash: 'deny' }, provider: { one: { options: { a: 1 } } }, share: 'manual' };
    const second = { provider: { one: { options: { b: 2 } }, two: {} } };
    expect(opencodeConfig({ workspacePath: '/nonexistent', isolation: 'sandbox' }, first, second)).toMatchObject({
      permission: { '*': 'allow', bash: 'deny' },
      provider: { one: { options: { a: 1, b: 2 } }, two: {} },
      share: 'manual',
      autoupdate: false,
    });
    expect(first.provider).toEqual({ one: { options: { a: 1 } } });
  });

  test('names the rules that the repository keeps for agents: AGENTS.md before CLAUDE.md', () => {
    const workspace = tempFolder('workspace');
    writeFiles(workspace, { 'CLAUDE.md': 'c' });
    expect(opencodeConfig({ workspacePath: workspace, isolation: 'sandbox' }).instructions).toEqual([
      join(workspace, 'CLAUDE.md'),
    ]);
    writeFiles(workspace, { 'AGENTS.md': 'a' });
    expect(opencodeConfig({ workspacePath: workspace, isolation: 'sandbox' }).instructions).toEqual([
      join(workspace, 'AGENTS.md'),
    ]);
  });

  test('reads relative instructions from the workspace and leaves other places as they are', () => {
    const instructions = ['docs/*.md', '/etc/rules.md', '~/rules.md', 'https://example.com/rules.md'];
    expect(
      opencodeConfig({ workspacePath: '/work space', isolation: 'sandbox' }, { instructions }).instructions,
    ).toEqual(['/work space/docs/*.md', '/etc/rules.md', '~/rules.md', 'https://example.com/rules.md']);
  });
});

describe('a server that does not come up', () => {
  async function boot(binary: string, bootMs: number) {
    const folder = tempFolder('boot');
    writeFiles(folder, { 'workspace/a': '', 'artifacts/a': '' });
    const booting = bootServer({
      binary,
      port: await getPort({ host: '127.0.0.1' }),
      workspacePath: join(folder, 'workspace'),
      env: { PATH: process.env.PATH ?? '' },
      password: 'ours',
      artifacts: join(folder, 'artifacts'),
      redactor: new Redactor(),
      bootMs,
      grounds: { isolation: await chooseIsolation('process'), hidden: [], readable: [], standIns: '' },
      cell: { cellId: 'boot', dir: folder, folders: { home: folder, temp: folder }, allowed: [] },
      log: silentLogger,
    });
    const error: unknown = await booting.then(
      () => new Error('it came up'),
      reason => reason,
    );
    const left = processesOf({ marker: 'CELLPOOL_TEST_CELLS=none', folder });
    return { error, left, log: () => readFileSync(join(folder, 'artifacts', 'server.log'), 'utf8') };
  }
  const fake = (name: string) => fileURLToPath(new URL(`../fixtures/servers/${name}.mjs`, import.meta.url));

  test('is stopped before the error is thrown, and its whole output is kept', async () => {
    const { error, left, log } = await boot(fake('dies-at-once'), 30_000);
    expect(error).toMatchObject({ code: 'SERVER_EXITED', facts: { exitCode: 3 } });
    expect(log()).toMatch(/^starting starting .*cannot go on: no such thing as a plugin\n$/s);
    expect(left).toEqual([]);
  });

  test('is stopped when its time is over', async () => {
    const { error, left } = await boot(fake('never-answers'), 1);
    expect(error).toMatchObject({ code: 'SPAWN_FAILED', hint: expect.stringContaining('bootMs') });
    expect(left).toEqual([]);
  });

  test('is an error also when it cannot be started at all', async () => {
    const { error, left, log } = await boot('/nonexistent/opencode', 30_000);
    expect(error).toMatchObject({ code: 'ENOENT' });
    expect(left).toEqual([]);
    expect(log()).toBe('');
  });
});
