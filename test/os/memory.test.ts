import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  availableMemory,
  CELL_MEMORY_BYTES,
  cellsThatFit,
  cgroupFolders,
  cgroupRoom,
  memAvailable,
  RESERVE_BYTES,
} from '../../src/os/memory.ts';

describe('what is available', () => {
  test('the machine tells it in /proc/meminfo', () => {
    const text =
      'MemTotal:       24000000 kB\nMemFree:          100000 kB\nMemAvailable:   12345678 kB\nSwapTotal: 0 kB\n';
    expect(memAvailable(text)).toBe(12_345_678 * 1024);
    expect(memAvailable('MemTotal: 1 kB\nXMemAvailable: 5 kB\n')).toBeNull();
    expect(memAvailable('')).toBeNull();
  });

  test('below a cgroup limit there is the limit less the use, and the cache it gives back', () => {
    expect(cgroupRoom('1000\n', '600\n', 'anon 1\ninactive_file 100\nactive_file 50\n')).toBe(500);
    expect(cgroupRoom('1000\n', '600\n', 'inactive_file 7\ntotal_inactive_file 100\n')).toBe(500);
    expect(cgroupRoom('1000\n', '1200\n', '')).toBe(-200);
  });

  test.each([
    ['max\n', '600\n'],
    ['', ''],
    ['1000\n', ''],
  ])('a limit of %j with %j used is none', (limit, usage) => {
    expect(cgroupRoom(limit, usage, '')).toBe(Number.POSITIVE_INFINITY);
  });

  test('a limit may stand at our cgroup or at any above it, in both versions', () => {
    expect(cgroupFolders('0::/system.slice/cellpool.service\n')).toEqual([
      '/sys/fs/cgroup',
      '/sys/fs/cgroup/memory',
      '/sys/fs/cgroup/system.slice/cellpool.service',
      '/sys/fs/cgroup/system.slice',
    ]);
    expect(cgroupFolders('5:cpu,cpuacct:/a\n4:memory:/docker/b\n1:name=systemd:/c\n')).toEqual([
      '/sys/fs/cgroup',
      '/sys/fs/cgroup/memory',
      '/sys/fs/cgroup/memory/docker/b',
      '/sys/fs/cgroup/memory/docker',
    ]);
    expect(cgroupFolders('0::/\n')).toEqual(['/sys/fs/cgroup', '/sys/fs/cgroup/memory']);
    expect(cgroupFolders('')).toEqual(['/sys/fs/cgroup', '/sys/fs/cgroup/memory']);
    expect(cgroupFolders('0::/../../outside\n')).toEqual(['/sys/fs/cgroup', '/sys/fs/cgroup/memory']);
  });

  test('on this machine it is a number of bytes', async () => {
    expect(await availableMemory()).toBeGreaterThan(1024 * 1024);
  });
});

const PROFILES = ['fast', 'dense'] as const;

test('at least one cell fits, and never one more than there is room for', () => {
  for (const profile of PROFILES) {
    expect(cellsThatFit(RESERVE_BYTES + 3 * CELL_MEMORY_BYTES[profile], profile)).toBe(3);
    expect(cellsThatFit(RESERVE_BYTES + 3 * CELL_MEMORY_BYTES[profile] - 1, profile)).toBe(2);
  }
  fc.assert(
    fc.property(
      fc.double({ min: -1e12, max: 1e15, noNaN: true }),
      fc.constantFrom(...PROFILES),
      (available, profile) => {
        const cells = cellsThatFit(available, profile);
        expect(Number.isInteger(cells)).toBe(true);
        expect(cells).toBeGreaterThanOrEqual(1);
        if (cells > 1) expect(RESERVE_BYTES + cells * CELL_MEMORY_BYTES[profile]).toBeLessThanOrEqual(available);
      },
    ),
  );
});
