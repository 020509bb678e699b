import { spawn, spawnSync } from 'node:child_process';
import { readlinkSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import {
  groupIsAlive,
  killEntry,
  listProcesses,
  readProcess,
  readProcesses,
  signalGroup,
} from '../../src/os/process-table.ts';
import { compiledRooms } from '../support/compiled.ts';
import { BOUND, fixture, hasProc, isAlive, leaveDaemon, tempFolder } from './support.ts';

let compiled = '';
beforeAll(async () => {
  compiled = await compiledRooms('os', 'observe');
});
afterAll(() => rmSync(compiled, { recursive: true }));

/** A pid that was given once and belongs to nobody now. */
function deadPid(): number {
  return spawnSync('/bin/true').pid;
}

/** Only root may ask that of others; whoever may not is told that there is one. */
function runsProgram(pid: number): boolean {
  try {
    return readlinkSync(`/proc/${pid}/exe`) !== '';
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ENOENT';
  }
}

describe.skipIf(!hasProc)('the table', () => {
  test('a process is told with its parent and group, and that it has no terminal', async () => {
    const pid = leaveDaemon(tempFolder(), {});
    expect(await readProcess(pid)).toEqual({
      pid,
      parent: process.pid,
      group: pid,
      startTime: expect.stringMatching(/^\d+$/),
      zombie: false,
      terminal: false,
      kernel: false,
    });
    expect((await listProcesses()).map(entry => entry.pid)).toEqual(expect.arrayContaining([pid, process.pid]));
  });

  test('nothing that runs a program is taken for a process of the kernel', async () => {
    const ofKernel = (await listProcesses()).filter(entry => entry.kernel);
    expect(ofKernel.filter(({ pid }) => runsProgram(pid))).toEqual([]);
  });

  test.each(['two words', ') R 1 1 1', '((', 'a) Z 1 (b', '\n) S'])('the name %j misleads nobody', async name => {
    const folder = tempFolder();
    symlinkSync('/bin/sleep', join(folder, name));
    const child = spawn(join(folder, name), ['1000'], { env: {}, stdio: 'ignore' });
    const gone = new Promise(resolve => child.once('exit', resolve));
    onTestFinished(async () => {
      child.kill('SIGKILL');
      await gone;
    });
    const own = await readProcess(process.pid);
    expect(await readProcess(child.pid ?? 0)).toMatchObject({ parent: process.pid, group: own?.group, zombie: false });
  });

  test('a long table is read with pauses in which whatever else waits has its turn', async () => {
    let turns = 0;
    const count = () => {
      turns += 1;
      waiting = setImmediate(count);
    };
    let waiting = setImmediate(count);
    onTestFinished(() => clearImmediate(waiting));
    expect(await readProcesses(Array(1_000).fill(process.pid))).toHaveLength(1_000);
    expect(turns).toBeGreaterThanOrEqual(7);
  });

  test('a process that is gone is null', async () => {
    expect(await readProcess(deadPid())).toBeNull();
  });

  test('without a file handle left nothing is taken for gone', async () => {
    const argv = ['-c', 'ulimit -n 60; exec "$@"', 'sh', process.execPath, fixture('without-handles.mjs'), compiled];
    const { stdout } = await execa('/bin/sh', argv, { reject: false, timeout: 50_000 });
    expect(stdout).toBe('EMFILE EMFILE');
  });
});

describe('killing', () => {
  test.skipIf(!hasProc)('a process that got the pid of another is left alone', async () => {
    const pid = leaveDaemon(tempFolder(), {});
    const entry = await readProcess(pid);
    if (entry === null) throw new Error('the daemon is not there');
    await killEntry({ ...entry, startTime: String(Number(entry.startTime) - 1) });
    await killEntry({ ...entry, startTime: '' });
    expect(isAlive(pid)).toBe(true);
    await killEntry(entry);
    await vi.waitFor(() => expect(isAlive(pid)).toBe(false), BOUND);
    await killEntry(entry);
  });

  test('a group that is not there is neither alive nor signalled', async () => {
    const group = deadPid();
    expect(signalGroup(group, 0)).toBe(false);
    expect(signalGroup(group, 'SIGKILL')).toBe(false);
    expect(await groupIsAlive(group)).toBe(false);
  });

  test('a group that runs is alive', async () => {
    expect(await groupIsAlive(leaveDaemon(tempFolder(), {}))).toBe(true);
  });
});
