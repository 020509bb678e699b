/** Control groups that a dead worker has left: with what hides in them, and without. */

import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { pidsIn } from '../../src/os/cgroup.ts';
import { Bounds } from '../../src/os/resource-limits.ts';
import { BOUND, isAlive } from '../os/support.ts';
import { noControlGroups } from '../support/control-groups.ts';
import { groupsLeft } from '../support/groups-left.ts';
import { type TestRedis, testRedis } from '../support/redis.ts';
import { entryPath, prepare, type Setting } from './reaper-setting.ts';

let server: TestRedis;
let setting: Setting;

beforeAll(async () => {
  server = await testRedis();
});
afterAll(() => server.close());
beforeEach(async () => {
  setting = await prepare(server);
});

/** A group of this state folder, and a process in it that nothing else shows to be the cell's. */
async function hiding(taskId: string) {
  const cellId = `${taskId}.${randomBytes(4).toString('hex')}`;
  const bounds = await Bounds.plan(setting.home, cellId, { memoryMb: 512, pids: 50, cpus: null, diskMb: null });
  onTestFinished(() => bounds.remove());
  await bounds.make();
  const [file, ...args] = bounds.ofCommand(['/bin/sleep', '1000']);
  const child = spawn(file, args, { cwd: '/', env: {}, detached: true, stdio: 'ignore' });
  const ended = once(child, 'exit');
  onTestFinished(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  await vi.waitFor(async () => expect(await pidsIn(bounds.groups)).toContain(child.pid), BOUND);
  return { cellId, groups: [...bounds.groups], pid: child.pid ?? 0, ended };
}

describe.skipIf((await noControlGroups('pids')) !== null)('a control group', () => {
  test('of a dead cell goes with all that is in it; that of another cell stays', async () => {
    const [dead, other] = [await hiding('fix-a'), await hiding('fix-b')];
    const record = setting.record(dead.cellId, { groups: dead.groups });
    writeFileSync(entryPath(setting, `${dead.cellId}.json`), JSON.stringify(record));
    const dry = await (await setting.reaper()).run({ dryRun: true });
    expect(dry.reaped).toMatchObject([{ name: dead.cellId }]);
    expect(dry.reaped[0]?.removed).toContain('control group');
    expect(isAlive(dead.pid)).toBe(true);

    const { reaped, faults } = await (await setting.reaper()).run();
    expect(faults).toEqual([]);
    expect(reaped).toMatchObject([{ name: dead.cellId }]);
    expect(reaped[0]?.removed).toContain('control group');
    await dead.ended;
    expect(isAlive(other.pid)).toBe(true);
    expect(groupsLeft(setting.home).sort()).toEqual([...other.groups].sort());
    expect(await setting.registry.list()).toEqual([]);
  });

  test('that a record names but that is of another cell is not touched', async () => {
    const other = await hiding('fix-b');
    const record = setting.record('fix-a.0000000a', { groups: other.groups });
    writeFileSync(entryPath(setting, 'fix-a.0000000a.json'), JSON.stringify(record));
    const { reaped } = await (await setting.reaper()).run();
    expect(reaped.flatMap(({ removed }) => removed)).not.toContain('control group');
    expect(isAlive(other.pid)).toBe(true);
  });

  test('that no entry names is removed when it is empty and its cell has no folder', async () => {
    const used = await hiding('fix-b');
    const empty = await Bounds.plan(setting.home, 'fix-a.0000000a', {
      memoryMb: 512,
      pids: 50,
      cpus: null,
      diskMb: null,
    });
    onTestFinished(() => empty.remove());
    await empty.make();
    const folder = join(setting.home, 'cells', 'fix-a.0000000a');
    mkdirSync(folder, { recursive: true });
    const first = await (await setting.reaper()).run();
    expect(first.reaped).toEqual([]);
    expect(first.left.map(({ kind, why }) => `${kind}: ${why}`)).toEqual(
      expect.arrayContaining(['group: the folder of its cell is there', `group: processes are in it: ${used.pid}`]),
    );
  });

  test('without any trace of its cell is removed', async () => {
    const empty = await Bounds.plan(setting.home, 'fix-a.0000000a', {
      memoryMb: 512,
      pids: 50,
      cpus: null,
      diskMb: null,
    });
    onTestFinished(() => empty.remove());
    await empty.make();
    const { reaped, faults } = await (await setting.reaper()).run();
    expect(faults).toEqual([]);
    expect(reaped.map(({ kind, name }) => [kind, name]).sort()).toEqual(empty.groups.map(one => ['group', one]).sort());
    expect(groupsLeft(setting.home)).toEqual([]);
  });
});
