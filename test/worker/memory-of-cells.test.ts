import { spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { cellMarker } from '../../src/cell/environment.ts';
import { readProcess } from '../../src/os/process-table.ts';
import { memoryOfCells } from '../../src/worker/memory-of-cells.ts';
import { hasProc } from '../os/support.ts';
import { tempFolder } from '../support/repository.ts';

const MIB = 1024 * 1024;
/** Holds so many MiB, has a child that does too if it is to, and waits. */
const HOLD = `
const { spawn } = require('node:child_process');
const [mib, below] = process.argv.slice(1).map(Number);
const held = Buffer.alloc(mib * 1048576, 1);
const child = below > 0 ? spawn(process.execPath, ['-e', process.env.HOLD, String(below), '0'], { stdio: 'inherit' }) : null;
if (child === null) console.log(held.length);
setInterval(() => held, 1e6);
`;

/** Processes of a group of their own; the innermost one says when all of it is held. */
async function hold(marker: string, mib: number, below = 0): Promise<{ pid: number; startTime: string }> {
  const [name = '', value] = marker.split('=');
  const child = spawn(process.execPath, ['-e', HOLD, String(mib), String(below)], {
    env: { PATH: process.env.PATH, HOLD, [name]: value },
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true,
  });
  const pid = child.pid ?? 0;
  const gone = new Promise(resolve => child.once('exit', resolve));
  onTestFinished(async () => {
    process.kill(-pid, 'SIGKILL');
    await gone;
  });
  await new Promise(resolve => child.stdout.once('data', resolve));
  return { pid, startTime: (await readProcess(pid))?.startTime ?? '' };
}

describe.skipIf(!hasProc)('the memory of cells without a control group', () => {
  test('is that of the server with all it started, and of the commands, each to its own cell', async () => {
    const server = await hold(cellMarker('a.00000001'), 50, 100);
    await hold(cellMarker('a.00000001/command'), 60);
    await hold(cellMarker('b.00000002/command'), 70);
    await hold(cellMarker('stranger.00000009'), 400);
    const found = await memoryOfCells([
      { cellId: 'a.00000001', server },
      { cellId: 'b.00000002', server: null },
      { cellId: 'c.00000003', server: null },
    ]);
    const mib = (id: string) => (found.get(id) ?? 0) / MIB;
    expect(mib('a.00000001')).toBeGreaterThan(210);
    expect(mib('a.00000001')).toBeLessThan(600);
    expect(mib('b.00000002')).toBeGreaterThan(70);
    expect(mib('b.00000002')).toBeLessThan(210);
    expect(found.get('c.00000003')).toBe(0);
  });

  test('is not that of a process which got the number of a server that has ended', async () => {
    const server = await hold('OTHER=1', 80);
    const found = await memoryOfCells([{ cellId: 'a.00000001', server: { ...server, startTime: '1' } }]);
    expect(found.get('a.00000001')).toBe(0);
  });
});

test('the memory of a cell in a control group is what that counts', async () => {
  const group = join(tempFolder('memory'), 'group');
  mkdirSync(group);
  // A file as the kernel shows it: not every machine lets us make groups.
  writeFileSync(join(group, 'memory.current'), '123456\n');
  const found = await memoryOfCells([{ cellId: 'a.00000001', server: null, groups: [group] }]);
  expect(found).toEqual(new Map([['a.00000001', 123_456]]));
});
