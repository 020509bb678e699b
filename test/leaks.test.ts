/** The leak checks must be able to fail: small runs of vitest over a file that leaves something behind. */
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { describe, expect, test } from 'vitest';
import { canListProcesses, expectNoKeys, processesOf, ROOT_VARIABLE } from './support/leaks.ts';

const vitest = fileURLToPath(new URL('../node_modules/vitest/vitest.mjs', import.meta.url));
const config = fileURLToPath(new URL('./fixtures/leaks/vitest.config.ts', import.meta.url));

async function runSuite(leak: string, env: Record<string, string> = {}) {
  const temp = mkdtempSync(join(tmpdir(), 'inner-'));
  const { exitCode, all } = await execa(process.execPath, [vitest, 'run', '--config', config], {
    env: { ...env, LEAK: leak, LEAK_ID: temp, TMPDIR: temp, NO_COLOR: '1' },
    reject: false,
    all: true,
  });
  const left = { files: readdirSync(temp), processes: processesOf({ marker: `LEAK_ID=${temp}`, folder: temp }) };
  rmSync(temp, { recursive: true });
  return { exitCode, output: all, left };
}

const nothing = { files: [], processes: [] };

describe.concurrent.each([
  ['the check of each file', {}, 'leaks.leak.ts left something behind'],
  ['the check of the whole run', { WITHOUT_FILE_CHECK: '1' }, 'LEAK: this run left something behind'],
])('%s', (_name, env, heading) => {
  test('passes when nothing is left', async () => {
    const { exitCode, output, left } = await runSuite('nothing', env);
    expect(output).not.toContain('left something behind');
    expect(exitCode).toBe(0);
    expect(left).toEqual(nothing);
  });

  test('passes when all tests of a file are skipped, so that nothing of it is run', async () => {
    const { exitCode, output, left } = await runSuite('all skipped', env);
    expect(output).not.toContain('left something behind');
    expect(exitCode).toBe(0);
    expect(left).toEqual(nothing);
  });

  test('fails on a folder that is left, though it is empty', async () => {
    const { exitCode, output, left } = await runSuite('empty folder', env);
    expect(output).toContain(heading);
    expect(output).toMatch(/1 file\(s\).*\n.*\/forgotten\//);
    expect(exitCode).toBe(1);
    expect(left).toEqual(nothing);
  });

  test('fails on a file that is left, names it and removes it', async () => {
    const { exitCode, output, left } = await runSuite('file', env);
    expect(output).toContain(heading);
    expect(output).toMatch(/1 file\(s\).*\n.*\/workspace\/forgotten\.txt/);
    expect(exitCode).toBe(1);
    expect(left).toEqual(nothing);
  });

  test.skipIf(!canListProcesses)('fails on a process that is left, names it and ends it', async () => {
    const { exitCode, output, left } = await runSuite('process', env);
    expect(output).toContain(heading);
    expect(output).toMatch(/pid \d+: .*setTimeout.*\n.*known by: environment/);
    expect(exitCode).toBe(1);
    expect(left).toEqual(nothing);
  });

  test.skipIf(!canListProcesses)('finds a process without our environment by its folder', async () => {
    const { exitCode, output, left } = await runSuite('server', env);
    expect(output).toContain(heading);
    expect(output).toMatch(/known by: works in .*\/cp-/);
    expect(exitCode).toBe(1);
    expect(left).toEqual(nothing);
  });
});

test('a test sees a temp folder and a HOME of the run alone', () => {
  const root = process.env[ROOT_VARIABLE] ?? '';
  expect(existsSync(root)).toBe(true);
  expect(tmpdir().startsWith(root + sep)).toBe(true);
  expect(homedir()).toBe(join(root, 'home'));
});

test('a marker that every process has is refused', () => {
  expect(() => processesOf({ marker: '', folder: tmpdir() })).toThrow('NAME=value');
  expect(() => processesOf({ marker: 'A=', folder: tmpdir() })).toThrow('NAME=value');
});

describe('expectNoKeys', () => {
  /** Answers in two pages, as a real scan over many keys does. */
  const holding = (pages: Record<string, [string, string[]]>) => ({
    scan: async (cursor: string | number) => pages[cursor] ?? ['0', []],
    type: async () => 'zset',
  });

  test('passes when no key matches', async () => {
    const redis = holding({ 0: ['0', []] }) as unknown as Parameters<typeof expectNoKeys>[0];
    await expectNoKeys(redis, 'x:*');
  });

  test('names the keys that are left, from every page', async () => {
    const redis = holding({ 0: ['7', ['x:b']], 7: ['0', ['x:a']] }) as unknown as Parameters<typeof expectNoKeys>[0];
    await expect(expectNoKeys(redis, 'x:*')).rejects.toThrow('like x:*:\n  x:a (zset)\n  x:b (zset)');
  });
});
