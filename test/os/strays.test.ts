import { mkdirSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { killStrays } from '../../src/os/process.ts';
import { fixture, hasProc, isAlive, leaveDaemon, own, tempFolder, WITHOUT_LEASH } from './support.ts';

describe.skipIf(!hasProc)('what left its group', () => {
  const MARKER = 'CELL=cell-1';

  /** A cell's folder, and one whose path begins the same. */
  function folders() {
    const top = tempFolder();
    const [cell, neighbour] = [join(top, 'cell-1'), join(top, 'cell-10')];
    mkdirSync(join(cell, 'deep'), { recursive: true });
    mkdirSync(neighbour);
    return { top, cell, neighbour };
  }

  test('a daemon is killed by its marker, wherever it works', async () => {
    const { top } = folders();
    const starter = await own([process.execPath, fixture('forks-daemon.mjs'), top, MARKER], WITHOUT_LEASH);
    const daemon = Number(await starter.says(/daemon (\d+)/));
    await starter.exited;
    await starter.stop(0);
    expect(isAlive(daemon)).toBe(true);
    expect(await killStrays(MARKER, null)).toBe(1);
    expect(isAlive(daemon)).toBe(false);
    expect(await killStrays(MARKER, null)).toBe(0);
  });

  test('a daemon without our environment is killed by the folder it works in', async () => {
    const { cell } = folders();
    const daemons = [leaveDaemon(cell, {}), leaveDaemon(join(cell, 'deep'), { OTHER: 'x' })];
    expect(await killStrays(MARKER, cell)).toBe(2);
    expect(daemons.map(isAlive)).toEqual([false, false]);
  });

  test('the folder is known by a symbolic link as well', async () => {
    const { top, cell } = folders();
    symlinkSync(cell, join(top, 'link'));
    const daemon = leaveDaemon(join(cell, 'deep'), {});
    expect(await killStrays(MARKER, join(top, 'link'))).toBe(1);
    expect(isAlive(daemon)).toBe(false);
  });

  test('a folder that was removed under the daemon is still its folder', async () => {
    const { cell } = folders();
    const daemons = [leaveDaemon(cell, {}), leaveDaemon(join(cell, 'deep'), {})];
    rmSync(cell, { recursive: true });
    expect(await killStrays(MARKER, cell)).toBe(2);
    expect(daemons.map(isAlive)).toEqual([false, false]);
  });

  test('nothing else is touched: other cells, longer names, this process', async () => {
    const { top, cell, neighbour } = folders();
    const bystanders = [
      leaveDaemon(neighbour, { CELL: 'cell-10' }),
      leaveDaemon(top, { XCELL: 'cell-1', OTHER: MARKER }),
    ];
    const before = process.cwd();
    onTestFinished(() => process.chdir(before));
    process.chdir(cell);
    expect(await killStrays(MARKER, cell)).toBe(0);
    expect(bystanders.map(isAlive)).toEqual([true, true]);
  });

  test.each<[string, string | null]>([
    ['', null],
    ['CELL=', null],
    ['CELL', null],
    [MARKER, '/'],
    [MARKER, ''],
    [MARKER, 'cells/1'],
  ])('the marker %j with the folder %j, which might fit everything, is refused', async (marker, folder) => {
    await expect(killStrays(marker, folder)).rejects.toThrow("no way to know a cell's processes");
  });
});
