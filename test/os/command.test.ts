import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import { type CommandOptions, type CommandResult, runCommand } from '../../src/os/command.ts';
import { processesOf } from '../support/leaks.ts';
import { BOUND, fixture, hasProc, PLAIN, tempFolder } from './support.ts';

const MARKER = `CELL=of-command-${process.pid}`;

function options(more: Partial<CommandOptions> = {}): CommandOptions {
  const folder = more.cwd ?? tempFolder();
  const env = { ...PLAIN, CELL: MARKER.slice(5) };
  return { cwd: folder, env, logPath: join(folder, 'command.log'), timeoutMs: 30_000, marker: MARKER, ...more };
}

/** `"$NODE" "$FIXTURES/..."` in a command, without any quoting of ours. */
const withFixtures = { ...PLAIN, CELL: MARKER.slice(5), NODE: process.execPath, FIXTURES: fixture('') };

function sizeOf(path: string): number {
  return existsSync(path) ? statSync(path).size : 0;
}

/** Cancels the command as soon as it has said that it is ready. */
async function cancelWhenReady(command: string, cwd: string): Promise<CommandResult> {
  const cancel = new AbortController();
  const set = options({ cwd, env: withFixtures, signal: cancel.signal });
  const running = runCommand(command, set);
  await vi.waitFor(() => expect(readFileSync(set.logPath, 'utf8')).toContain('ready'), BOUND);
  cancel.abort();
  return running;
}

describe('a command', () => {
  test('is believed by its exit code', async () => {
    const passed = await runCommand('echo FAILED; true', options());
    expect(passed).toMatchObject({ exitCode: 0, signal: null, timedOut: false, tail: 'FAILED\n' });
    expect(await runCommand('echo all fine; exit 5', options())).toMatchObject({ exitCode: 5, tail: 'all fine\n' });
    expect((await runCommand('no-such-program-anywhere', options())).exitCode).toBe(127);
  });

  test('that a signal ended has no exit code', async () => {
    expect(await runCommand('kill -KILL $$', options())).toMatchObject({ exitCode: null, signal: 'SIGKILL' });
  });

  test('is read by a shell, in its folder, and keeps its log to the owner', async () => {
    const set = options();
    const result = await runCommand('X=1; cd . && pwd | cat; echo "x is $X" >&2', set);
    expect(result.tail).toBe(`${set.cwd}\nx is 1\n`);
    expect(readFileSync(set.logPath, 'utf8')).toBe(result.tail);
    expect(statSync(set.logPath).mode & 0o777).toBe(0o600);
  });

  test('sees the listed environment and what its shell adds', async () => {
    const { tail } = await runCommand('"$NODE" "$FIXTURES/prints-environment.mjs"', options({ env: withFixtures }));
    const { PWD, OLDPWD, SHLVL, _, __CF_USER_TEXT_ENCODING, ...seen } = JSON.parse(tail);
    expect(seen).toEqual(withFixtures);
  });

  test('whose folder is missing is refused, and no log file stays open', async () => {
    const folder = tempFolder();
    const set = options({ cwd: join(folder, 'nowhere'), logPath: join(folder, 'log') });
    await expect(runCommand('true', set)).rejects.toMatchObject({ code: 'ENOENT' });
  });

  test('runs on though its log cannot be written', async () => {
    expect(await runCommand('echo fine', options({ logPath: '/no/such/folder/log' }))).toMatchObject({
      exitCode: 0,
      tail: 'fine\n',
    });
  });

  test('that prints without end is bounded in its log', async () => {
    const cancel = new AbortController();
    const set = options({ env: withFixtures, signal: cancel.signal });
    const running = runCommand('exec "$NODE" "$FIXTURES/prints-forever.mjs"', set);
    const most = 8 * 1024 * 1024;
    await vi.waitFor(() => expect(sizeOf(set.logPath)).toBe(most), BOUND);
    cancel.abort();
    expect((await running).tail).toHaveLength(4_000);
    expect(sizeOf(set.logPath)).toBeLessThan(most + 70_000);
  });
});

describe('a command at its limit', () => {
  test('is ended with its children, and has not passed', async () => {
    const set = options({ timeoutMs: 3_000 });
    const result = await runCommand('trap "exit 0" TERM; sleep 1000 & echo "child $!"; wait', set);
    expect(result).toMatchObject({ exitCode: null, timedOut: true });
    expect(result.tail).toMatch(/child \d+/);
    expect(processesOf({ marker: MARKER, folder: set.cwd })).toEqual([]);
  });
});

describe('a cancelled command', () => {
  test('is ended, and neither passed nor ran out of time', async () => {
    const cancel = new AbortController();
    const set = options({ signal: cancel.signal });
    const running = runCommand('trap "exit 0" TERM; touch started; while :; do sleep 0.01; done', set);
    await vi.waitFor(() => expect(existsSync(join(set.cwd, 'started'))).toBe(true), BOUND);
    cancel.abort();
    expect(await running).toMatchObject({ exitCode: null, timedOut: false });
  });

  test('is killed when it ignores SIGTERM', async () => {
    const result = await cancelWhenReady('exec "$NODE" "$FIXTURES/ignores-sigterm.mjs"', tempFolder());
    expect(result).toMatchObject({ exitCode: null, signal: 'SIGKILL', timedOut: false });
  });

  test('has time to tidy up, though its shell goes at once', async () => {
    const folder = tempFolder();
    const result = await cancelWhenReady('"$NODE" "$FIXTURES/tidies-up.mjs" tidy; true', folder);
    expect(result.signal).toBe('SIGTERM');
    expect(readdirSync(folder).sort()).toEqual(['command.log', 'tidy']);
  });

  test('is not started when it was cancelled before', async () => {
    const set = options({ signal: AbortSignal.abort() });
    expect(await runCommand('touch started', set)).toMatchObject({ exitCode: null, timedOut: false, tail: '' });
    expect(readdirSync(set.cwd)).toEqual([]);
  });
});

describe.skipIf(!hasProc)('what a command leaves behind', () => {
  test('a background child and a daemon in a session of its own are gone when the answer is there', async () => {
    const set = options({ env: withFixtures });
    const command = `sleep 1000 & echo "child $!"; "$NODE" "$FIXTURES/forks-daemon.mjs" / ${MARKER}`;
    const result = await runCommand(command, set);
    expect(result.exitCode).toBe(0);
    const pids = [...result.tail.matchAll(/(?:child|daemon) (\d+)/g)].map(found => Number(found[1]));
    expect(pids).toHaveLength(2);
    expect(processesOf({ marker: MARKER, folder: set.cwd })).toEqual([]);
  });
});
