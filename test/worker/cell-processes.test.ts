/** Which processes count as those of a dead worker's cell, and which are somebody else's. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, onTestFinished, test } from 'vitest';
import { listProcesses, type ProcessEntry, readProcess } from '../../src/os/process-table.ts';
import { findCellProcesses, killCellProcesses, withDescendants } from '../../src/worker/cell-processes.ts';
import { hasProc, isAlive, leaveDaemon } from '../os/support.ts';
import { tempFolder } from '../support/repository.ts';

const CELL = 'fix-a.0000000a';

function cellHome(): string {
  const home = tempFolder('processes');
  mkdirSync(join(home, 'cells', CELL, 'workspace'), { recursive: true });
  return home;
}

/** Runs a shell as leader of a group of its own, waits for its end and tells its identity and the group's members. */
async function leaveGroup(script: string, env: Record<string, string> = {}) {
  const child = spawn('/bin/sh', ['-c', `${script}; read line; true`], {
    cwd: '/',
    env: { PATH: process.env.PATH ?? '', ...env },
    detached: true,
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  const pid = child.pid ?? 0;
  await once(child.stdout, 'data');
  const leader = { pid, startTime: (await readProcess(pid))?.startTime ?? '' };
  child.stdin.end('\n');
  await once(child, 'exit');
  const members = (await listProcesses()).filter(({ group }) => group === pid).map(one => one.pid);
  onTestFinished(() => {
    for (const one of members.filter(isAlive)) process.kill(one, 'SIGKILL');
  });
  return { leader, members };
}

const BARE = 'env -i /bin/sleep 1000 & ';

describe.skipIf(!hasProc)('the processes of a cell', () => {
  test('include a bare member of the group whose leader has ended, when another member is proven', async () => {
    const home = cellHome();
    const marker = { CELLPOOL_CELL: CELL };
    const { leader, members } = await leaveGroup(`sleep 1000 & ${BARE} echo ready`, marker);
    expect(members).toHaveLength(2);
    expect(await killCellProcesses({ cellId: CELL, home, server: leader })).toBe(2);
    expect(members.map(isAlive)).toEqual([false, false]);
  });

  test('include no member of a group without its leader that nothing proves', async () => {
    const home = cellHome();
    const { leader, members } = await leaveGroup(`${BARE} echo ready`);
    expect(members).toHaveLength(1);
    expect(await killCellProcesses({ cellId: CELL, home, server: leader })).toBe(0);
    expect(members.map(isAlive)).toEqual([true]);
  });

  test('include no stranger that has the pid of the server by now', async () => {
    const stranger = leaveDaemon('/', {});
    const server = { pid: stranger, startTime: '1' };
    expect(await killCellProcesses({ cellId: CELL, home: cellHome(), server })).toBe(0);
    expect(isAlive(stranger)).toBe(true);
  });

  test('include neither process 1, nor us, nor who started us, even when the server is said to be that', async () => {
    const home = cellHome();
    for (const pid of [1, process.pid, process.ppid]) {
      const server = { pid, startTime: (await readProcess(pid))?.startTime ?? '' };
      const { entries, group } = await findCellProcesses({ cellId: CELL, home, server });
      const found = entries.map(one => one.pid);
      for (const spared of [1, process.pid, process.ppid]) expect(found).not.toContain(spared);
      if (group !== null) expect((await readProcess(process.pid))?.group).not.toBe(group);
    }
  });
});

const entry = fc.record({
  pid: fc.integer({ min: 1, max: 40 }),
  parent: fc.integer({ min: 0, max: 40 }),
  group: fc.integer({ min: 1, max: 40 }),
  startTime: fc.integer({ min: 0, max: 20 }).map(String),
  zombie: fc.boolean(),
  terminal: fc.boolean(),
  kernel: fc.constant(false),
});
const anyTable: fc.Arbitrary<ProcessEntry[]> = fc.uniqueArray(entry, { selector: one => one.pid });

describe('descendants', () => {
  test('are reached by parents from the roots alone, in any table, and never through process 1', () => {
    fc.assert(
      fc.property(anyTable, fc.integer({ min: 0, max: 5 }), (table, count) => {
        const roots = table.slice(0, count);
        const found = withDescendants(roots, table);
        const pids = new Set(found.map(({ pid }) => pid));
        expect(pids.size).toBe(found.length);
        for (const one of found.filter(each => !roots.includes(each))) {
          const parent = found.find(({ pid }) => pid === one.parent);
          expect(parent).toBeDefined();
          expect(parent?.pid).not.toBe(1);
          expect(Number(one.startTime)).toBeGreaterThanOrEqual(Number(parent?.startTime));
        }
        for (const parent of found.filter(({ pid }) => pid > 1)) {
          const children = table.filter(
            one => one.parent === parent.pid && Number(one.startTime) >= Number(parent.startTime),
          );
          for (const child of children) expect(pids.has(child.pid)).toBe(true);
        }
      }),
    );
  });
});
