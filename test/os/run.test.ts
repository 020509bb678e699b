import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { killStrays } from '../../src/os/process.ts';
import { run, runOk } from '../../src/os/run.ts';
import { BOUND, hasProc, isAlive, PLAIN, program, tempFolder } from './support.ts';

const env = PLAIN;
const shell = (text: string): [string, ...string[]] => ['/bin/sh', '-c', text];

describe('how it ended', () => {
  test('what it printed is told as it is, last line breaks included', async () => {
    const result = await run(shell('printf "out\\n\\n"; printf err >&2'), { env });
    expect(result).toEqual({ stdout: 'out\n\n', stderr: 'err', exitCode: 0, problem: null });
  });

  test('a non-zero exit code is an answer', async () => {
    expect(await run(shell('echo no; exit 3'), { env })).toMatchObject({ exitCode: 3, stdout: 'no\n', problem: null });
  });

  test('a signal leaves no exit code', async () => {
    const result = await run(shell('kill -TERM $$'), { env });
    expect(result).toMatchObject({ exitCode: null, problem: expect.stringContaining('SIGTERM') });
  });

  test.each<[string, [string, ...string[]], string]>([
    ['a missing program', ['no-such-program-anywhere'], '/'],
    ['a missing folder', ['/bin/echo'], '/no/such/folder'],
  ])('%s is told in words', async (_name, argv, cwd) => {
    const result = await run(argv, { env, cwd });
    expect(result).toMatchObject({ exitCode: null, stdout: '', problem: expect.stringContaining('ENOENT') });
  });

  test('runOk returns the output, and throws the given code with what was said', async () => {
    expect(await runOk(shell('echo fine'), { env }, 'GIT_FAILED')).toBe('fine\n');
    const failing = runOk(shell('echo the reason >&2; exit 4'), { env }, 'GIT_FAILED');
    await expect(failing).rejects.toMatchObject({ code: 'GIT_FAILED', facts: { exitCode: 4 } });
    await expect(failing).rejects.toThrow('the reason');
    await expect(runOk(['no-such-program-anywhere'], { env }, 'GIT_MISSING')).rejects.toMatchObject({
      code: 'GIT_MISSING',
      facts: { exitCode: null },
    });
  });
});

describe('what it sees', () => {
  test('its arguments as they are: no shell reads them', async () => {
    const odd = ['two words', '$(touch x)', '; exit 1', '*', '', '--', "'"];
    const { stdout } = await run(program('prints-arguments.mjs', ...odd), { env });
    expect(JSON.parse(stdout)).toEqual(odd);
  });

  test('exactly the listed environment', async () => {
    const listed = { PATH: '/usr/bin:/bin', ONLY: 'this' };
    const { stdout } = await run(program('prints-environment.mjs'), { env: listed });
    const { __CF_USER_TEXT_ENCODING: _ofMacOs, ...seen } = JSON.parse(stdout);
    expect(seen).toEqual(listed);
  });

  test('the folder it was given', async () => {
    const cwd = tempFolder();
    expect((await run(['/bin/pwd'], { env, cwd })).stdout).toBe(`${cwd}\n`);
  });

  test('the input, and its end; without one the input is empty', async () => {
    const input = 'ä line\n'.repeat(100_000);
    expect((await run(['/bin/cat'], { env, input })).stdout).toBe(input);
    expect((await run(['/bin/cat'], { env })).stdout).toBe('');
  });

  test('input that nobody reads is no failure', async () => {
    expect(await run(['/bin/true'], { env, input: 'x'.repeat(1_000_000) })).toMatchObject({ exitCode: 0 });
  });
});

describe('its limits', () => {
  test('at the time limit it is killed, though it ignores SIGTERM', async () => {
    const result = await run(program('ignores-sigterm.mjs'), { env, timeoutMs: 200 });
    expect(result).toMatchObject({ exitCode: null, problem: expect.stringContaining('timed out') });
  });

  test('the time limit holds for its children too', async () => {
    const result = await run(shell('sleep 1000 & echo "child $!"; wait'), { env, timeoutMs: 1_000 });
    expect(result.exitCode).toBeNull();
    const child = Number(/child (\d+)/.exec(result.stdout)?.[1]);
    expect(child).toBeGreaterThan(0);
    await vi.waitFor(() => expect(isAlive(child)).toBe(false), BOUND);
  });

  test('children that it leaves behind end with it, and do not make it last', async () => {
    const result = await run(shell('sleep 1000 & echo "child $!"'), { env });
    expect(result).toMatchObject({ exitCode: 0, problem: null });
    const child = Number(/child (\d+)/.exec(result.stdout)?.[1]);
    await vi.waitFor(() => expect(isAlive(child)).toBe(false), BOUND);
  });

  test.skipIf(!hasProc)('a daemon that keeps its outputs open does not make it last', async () => {
    const marker = `DAEMON=of-run-${process.pid}`;
    onTestFinished(async () => {
      expect(await killStrays(marker, null)).toBe(1);
    });
    const result = await run(program('forks-daemon.mjs', tempFolder(), marker), { env });
    expect(result).toMatchObject({ exitCode: 0, problem: null, stdout: expect.stringMatching(/^daemon \d+\n$/) });
  });

  test('output over the limit is a failure, whatever the exit code', async () => {
    const result = await run(shell('printf 0123456789; exit 0'), { env, maxOutput: 5 });
    expect(result).toMatchObject({
      exitCode: null,
      stdout: '01234',
      problem: expect.stringContaining('larger than 5'),
    });
    await expect(runOk(shell('printf 0123456789'), { env, maxOutput: 5 }, 'GIT_FAILED')).rejects.toThrow('larger');
    expect(await run(shell('printf 0123456789'), { env, maxOutput: 10 })).toMatchObject({ exitCode: 0 });
  });

  test('a program that prints for ever is ended by the limit on its output', async () => {
    const result = await run(program('prints-forever.mjs'), { env, maxOutput: 100_000 });
    expect(result).toMatchObject({ exitCode: null, problem: expect.stringContaining('larger') });
    expect(result.stdout).toHaveLength(100_000);
  });

  test('a large output arrives whole', async () => {
    const result = await run(shell('head -c 20000000 /dev/zero; echo END'), { env });
    expect(result.exitCode).toBe(0);
    expect(result.stdout).toHaveLength(20_000_004);
  });

  test('a cancelled one is killed', async () => {
    const folder = tempFolder();
    const cancel = new AbortController();
    const running = run(shell('touch started; sleep 1000'), { env, cwd: folder, signal: cancel.signal });
    await vi.waitFor(() => expect(existsSync(join(folder, 'started'))).toBe(true), BOUND);
    cancel.abort();
    expect(await running).toMatchObject({ exitCode: null, problem: expect.stringContaining('cancel') });
  });

  test('one that was cancelled before is not started', async () => {
    const folder = tempFolder();
    const result = await run(shell('touch started'), { env, cwd: folder, signal: AbortSignal.abort() });
    expect(result).toMatchObject({ exitCode: null, problem: expect.stringContaining('cancelled') });
    expect(existsSync(join(folder, 'started'))).toBe(false);
  });
});
