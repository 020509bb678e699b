/** What a killed worker left of cells that worked in worktrees of the user's repository. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, beforeEach, expect, onTestFinished, test } from 'vitest';
import { type TestRedis, testRedis } from '../support/redis.ts';
import { git, refsOf, tempFolder, writeFiles } from '../support/repository.ts';
import { registrations } from '../support/worktree.ts';
import { HOST, NOTHING, prepare, type Setting } from './reaper-setting.ts';

const compiled = fileURLToPath(new URL('../../dist', import.meta.url));
const maker = fileURLToPath(new URL('../fixtures/makes-worktrees.mjs', import.meta.url));
const [A, B] = ['fix-a.0000000a', 'fix-b.0000000b'];

let server: TestRedis;
let setting: Setting;
let repository: string;
let gitDir: string;

beforeAll(async () => {
  server = await testRedis();
});
afterAll(() => server.close());
beforeEach(async () => {
  setting = await prepare(server);
  ({ repository } = setting.record(A));
  gitDir = join(repository, '.git');
});

/** A worker that has made worktrees for these cells, and is dead. */
async function deadWorker(cells: string[], more: { dies?: boolean } = {}): Promise<void> {
  const socket = 'path' in server.address ? server.address.path : '';
  const registry = { socket, prefix: setting.prefix, host: HOST };
  const json = JSON.stringify({ repository, home: setting.home, cells, registry, ...more });
  const child = spawn(process.execPath, [maker, compiled, json], { stdio: ['ignore', 'pipe', 'inherit'] });
  onTestFinished(() => void child.kill('SIGKILL'));
  const exited = once(child, 'exit');
  if (more.dies !== true) {
    await once(child.stdout, 'data');
    child.kill('SIGKILL');
  }
  expect((await exited)[1]).toBe('SIGKILL');
}

test('registrations, folders, pins and entries go, and the worktrees of the user stay', async () => {
  git(repository, 'worktree', 'add', '--quiet', '-b', 'side', join(tempFolder(), 'linked'));
  const refs = refsOf(repository);
  await deadWorker([A, B]);
  expect(registrations(gitDir)).toEqual([A, B, 'linked']);
  const reaper = await setting.reaper();
  const told = await reaper.run({ dryRun: true });
  expect(told.reaped.map(({ name }) => name).sort()).toEqual([A, B]);
  expect(registrations(gitDir)).toEqual([A, B, 'linked']);

  const { reaped, faults } = await reaper.run();
  expect(faults).toEqual([]);
  for (const { removed } of reaped) expect(removed).toEqual(expect.arrayContaining(['worktree', 'folder', 'base pin']));
  expect(registrations(gitDir)).toEqual(['linked']);
  expect(await setting.things()).toEqual(NOTHING);
  expect(refsOf(repository)).toBe(refs);
});

test('nothing is left of a worker that died between registering the worktree and the rest', async () => {
  await deadWorker([A], { dies: true });
  expect(registrations(gitDir)).toEqual([A]);
  expect(existsSync(join(setting.home, 'cells', A, 'workspace'))).toBe(false);
  const { reaped, faults } = await (await setting.reaper()).run();
  expect(faults).toEqual([]);
  expect(reaped).toMatchObject([{ name: A, removed: ['worktree', 'folder', 'base pin', 'registry entry'] }]);
  expect(registrations(gitDir)).toEqual([]);
  expect(await setting.things()).toEqual(NOTHING);
});

test('a removal that was cut short is gone on with', async () => {
  writeFiles(gitDir, { [`cellpool-gone-${A}/HEAD`]: 'x' });
  await setting.registry.register(setting.record(A, { worktree: gitDir }));
  expect((await (await setting.reaper()).run()).reaped).toMatchObject([{ removed: ['worktree', 'registry entry'] }]);
  expect(registrations(gitDir)).toEqual([]);
});

test('of a record that names a repository which is gone, or never was one, nothing is taken', async () => {
  const folder = tempFolder();
  writeFiles(folder, { 'worktrees/other/precious': 'p', [`${B}/precious`]: 'p' });
  await setting.registry.register(setting.record(A, { worktree: folder }));
  await setting.registry.register(setting.record(B, { worktree: '/nonexistent/.git' }));
  const { reaped, faults } = await (await setting.reaper()).run();
  expect(faults).toEqual([]);
  for (const { removed } of reaped) expect(removed).toEqual(['registry entry']);
  expect(registrations(folder)).toEqual(['other']);
  expect(existsSync(join(folder, B, 'precious'))).toBe(true);
});
