/** Real control groups, where this machine lets us make them. */
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { execa } from 'execa';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { killGroup, makeGroup, pidsIn, removeGroup } from '../../src/os/cgroup.ts';
import { candidates, cgroupMounts, groupFolder } from '../../src/os/cgroup-places.ts';
import { usableHierarchies } from '../../src/os/cgroup-probe.ts';
import { achievedLevels, Bounds, groupFolders, isGroupOf } from '../../src/os/resource-limits.ts';
import { compiledRooms } from '../support/compiled.ts';
import { noControlGroups } from '../support/control-groups.ts';
import { groupsLeft } from '../support/groups-left.ts';
import { BOUND, isAlive, own, PLAIN, program, tempFolder } from './support.ts';

const NO_LIMITS = { memoryMb: null, pids: null, cpus: null, diskMb: null };

/** Bounds of a cell whose state folder is a fresh one; gone after the test. */
async function bounds(limits: Partial<typeof NO_LIMITS> | Record<string, number>) {
  const home = tempFolder();
  const cellId = `task.${randomBytes(4).toString('hex')}`;
  const made = await Bounds.plan(home, cellId, { ...NO_LIMITS, ...limits });
  onTestFinished(async () => {
    await made.remove();
    expect(groupsLeft(home)).toEqual([]);
  });
  await made.make();
  return { home, cellId, made };
}

describe('where groups may be made', () => {
  const V1 = '35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory';
  const SHARED = '32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct';
  const NAMED = '40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd';
  const V2 = '30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate';
  const [v1] = cgroupMounts(V1);
  const [v2] = cgroupMounts(V2);
  if (v1 === undefined || v2 === undefined) throw new Error('the samples are not understood');

  test('mounts are read, with what they bound', () => {
    expect(cgroupMounts([V1, SHARED, NAMED, V2, ''].join('\n'))).toEqual([
      { version: 1, controllers: ['memory'], root: '/', folder: '/sys/fs/cgroup/memory' },
      { version: 1, controllers: ['cpu'], root: '/', folder: '/sys/fs/cgroup/cpu,cpuacct' },
      { version: 2, controllers: [], root: '/', folder: '/sys/fs/cgroup' },
    ]);
  });

  test.each([
    ['version 1: our own', v1, '4:memory:/a/b\n0::/x', ['/sys/fs/cgroup/memory/a/b']],
    ['version 1, at the top', v1, '4:memory:/\n', ['/sys/fs/cgroup/memory']],
    [
      'version 1, a container that sees its host by path',
      { ...v1, root: '/docker/1' },
      '4:memory:/docker/1',
      ['/sys/fs/cgroup/memory'],
    ],
    [
      'version 1, a group that is not shown',
      { ...v1, root: '/docker/1' },
      '4:memory:/docker/12',
      ['/sys/fs/cgroup/memory'],
    ],
    ['version 1, unknown', v1, '3:pids:/a', []],
    [
      'version 2: our own, then those above',
      v2,
      '0::/user.slice/a.service/worker',
      [
        '/sys/fs/cgroup/user.slice/a.service/worker',
        '/sys/fs/cgroup/user.slice/a.service',
        '/sys/fs/cgroup/user.slice',
        '/sys/fs/cgroup',
      ],
    ],
    ['version 2, at the top', v2, '0::/', ['/sys/fs/cgroup']],
  ])('%s', (_name, mount, selfCgroup, expected) => {
    expect(candidates(mount, selfCgroup)).toEqual(expected);
  });

  test('the folder of a state folder tells which one it is, and is none of another', () => {
    expect(groupFolder('/base', '/home/me/a state', '12345678')).toBe('/base/cellpool/-home-me-a-state-12345678');
    expect(groupFolder('/b', `/${'x'.repeat(300)}`, '1').length).toBeLessThan(150);
  });
});

const without = await noControlGroups('memory', 'pids', 'cpu');

describe.skipIf(without !== null)('a group', () => {
  test('what starts in it is in it, with all its children, environment and arguments as they were', async () => {
    const { made } = await bounds({ pids: 100, memoryMb: 256, cpus: 0.5, diskMb: 1 });
    const env = { ...PLAIN, ONLY: 'this\nand that' };
    const script = 'setsid sh -c "echo child; exec sleep 1000" & echo "args $1 $ONLY"; wait';
    const owned = await own(['/bin/sh', '-c', script, 'sh', 'two  words'], { env, limits: made.ofCommand });
    await owned.says(/child/);
    await owned.says(/args two {2}words this\nand that/);
    const pids = await pidsIn(made.groups);
    expect(pids).toContain(owned.pid);
    for (const folder of made.groups) expect((await pidsIn([folder])).sort()).toEqual(pids.sort());
    expect(pids.length).toBeGreaterThanOrEqual(3);
    await owned.stop(0);
    await vi.waitFor(async () => expect(await pidsIn(made.groups)).toEqual([]), BOUND);
  });

  test('a fork bomb stays within its number of processes, and ends with its group', async () => {
    const { made } = await bounds({ pids: 40 });
    const bomb = 'bomb() { bomb | bomb & }; bomb 2>/dev/null; exec sleep 1000';
    const owned = await own(['/bin/sh', '-c', bomb], { limits: made.ofCommand });
    const most = made.groups.map(folder => join(folder, 'pids.events')).filter(existsSync);
    // The kernel counts the forks that it has refused.
    await vi.waitFor(() => expect(most.map(path => readFileSync(path, 'utf8')).join()).toMatch(/max [1-9]/), BOUND);
    // Its own count: a list of them is not made in one moment, and a bomb changes meanwhile.
    const counts = made.groups.map(folder => join(folder, 'pids.current')).filter(existsSync);
    expect(counts).toHaveLength(1);
    expect(Number(readFileSync(counts[0] ?? '', 'utf8'))).toBeLessThanOrEqual(40);
    // Others still get processes.
    expect((await own(['/bin/true'])).pid).toBeGreaterThan(1);
    await made.kill();
    expect(await pidsIn(made.groups)).toEqual([]);
    await owned.exited;
    // It can be used again: a cell's tests follow its agent.
    const next = await own(['/bin/sh', '-c', 'true | true; exit 3'], { limits: made.ofCommand });
    expect(await next.exited).toEqual({ exitCode: 3, signal: null });
  });

  test('eating 8 GB is ended and told, and nobody else is', async () => {
    const { made } = await bounds({ memoryMb: 256 });
    const other = await bounds({ memoryMb: 256 });
    const neighbour = await own(['/bin/sleep', '1000'], { limits: other.made.ofCommand });
    const eater = [process.execPath, '-e', 'const all = []; for (;;) all.push(Buffer.alloc(64 << 20, 1))'] as const;
    const owned = await own([...eater], { limits: made.ofCommand });
    expect(await owned.exited).toMatchObject({ signal: 'SIGKILL' });
    expect(await made.memoryKills()).toBe(1);
    expect(await made.outOfMemorySince(1)).toBeNull();
    const told = await made.outOfMemorySince(0);
    expect(told).toMatchObject({ code: 'OUT_OF_MEMORY', message: 'the cell used more than 256 MB of memory' });
    expect(await other.made.outOfMemorySince(0)).toBeNull();
    expect(isAlive(neighbour.pid)).toBe(true);
  });

  test('limits are what was asked; without them there is a group all the same', async () => {
    const { made, home, cellId } = await bounds({ pids: 77, memoryMb: 300, cpus: 1.5 });
    const read = (name: string) =>
      made.groups
        .map(folder => join(folder, name))
        .filter(existsSync)
        .map(path => readFileSync(path, 'utf8').trim());
    expect(read('pids.max')).toContain('77');
    expect([...read('memory.limit_in_bytes'), ...read('memory.max')]).toContain(String(300 * 1024 * 1024));
    expect([...read('cpu.cfs_quota_us'), ...read('cpu.max')].join()).toContain('150000');
    expect(made.levels).toEqual({ memory: 'cgroup', pids: 'cgroup', cpu: 'cgroup', disk: 'off' });
    expect(await Promise.all(made.groups.map(folder => isGroupOf(folder, home, cellId)))).not.toContain(false);
    expect(await groupFolders(home)).toEqual(made.groups.map(dirname));

    const free = await bounds({});
    expect(free.made.levels).toEqual({ memory: 'off', pids: 'off', cpu: 'off', disk: 'off' });
    expect(free.made.groups.map(folder => existsSync(folder))).not.toContain(false);
  });

  test('only the group of the cell itself passes for it', async () => {
    const { made, home, cellId } = await bounds({});
    const [folder = ''] = made.groups;
    expect(await isGroupOf(folder, home, 'task.00000000')).toBe(false);
    expect(await isGroupOf(folder, `${home}x`, cellId)).toBe(false);
    expect(await isGroupOf(dirname(folder), home, cellId)).toBe(false);
    // A folder of that name outside of the kernel's, with a pid in it that is not to be killed.
    const planted = join(tempFolder(), ...folder.split('/').slice(-3));
    mkdirSync(planted, { recursive: true });
    writeFileSync(join(planted, 'cgroup.procs'), `${process.pid}\n`);
    expect(await isGroupOf(planted, home, cellId)).toBe(false);
  });

  test('one that cannot be made in full leaves nothing, and removing twice is harmless', async () => {
    const { made } = await bounds({});
    const [hierarchy] = await usableHierarchies();
    if (hierarchy === undefined) throw new Error('there was one before');
    const folder = join(dirname(made.groups[0] ?? ''), 'task.11111111');
    const nowhere = { hierarchy, folder: '/proc/no/cgroup/here' };
    await expect(makeGroup([{ hierarchy, folder }, nowhere], NO_LIMITS)).rejects.toThrow();
    expect(existsSync(folder)).toBe(false);
    await made.remove();
    await made.remove();
    expect(await killGroup(made.groups)).toBe(0);
    await removeGroup([]);
  });
});

test('what this machine does not offer is said, not claimed', async () => {
  const levels = await achievedLevels({ memoryMb: 1, pids: 1, cpus: 1, diskMb: 1 });
  const ways = without === null ? ['cgroup'] : ['cgroup', 'prlimit', 'absent'];
  expect([levels.memory, levels.pids, levels.cpu].filter(way => !ways.includes(way))).toEqual([]);
  expect(levels.disk).toBe('watched');
});

const WITHOUT = ['--mount', '/bin/sh', '-c', 'umount -R -l /sys/fs/cgroup && exec "$@"', 'sh'] as const;
const cannotHide = spawnSync('unshare', [...WITHOUT, 'prlimit', '--version']).status !== 0;

test.skipIf(cannotHide)('without groups memory is bounded a process, and the rest is said to be absent', async () => {
  const compiled = await compiledRooms('os', 'observe');
  onTestFinished(() => rmSync(compiled, { recursive: true }));
  const told = await execa('unshare', [...WITHOUT, ...program('without-groups.mjs', compiled)]);
  expect(JSON.parse(told.stdout)).toEqual({
    levels: { memory: 'prlimit', pids: 'absent', cpu: 'absent', disk: 'watched' },
    groups: [],
    status: 1,
    stderr: expect.stringMatching(/memory exhausted/),
    outOfMemory: null,
  });
});
