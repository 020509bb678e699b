import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { DiskWatch, type DiskWatchOptions } from '../../src/os/disk-watch.ts';
import { folderSize } from '../../src/os/folder-size.ts';
import { mountSmallDisk, noSmallDisk } from '../support/small-disk.ts';
import { BOUND, tempFolder } from './support.ts';

const MIB = 1024 * 1024;

function fill(folder: string, name: string, megabytes: number): void {
  writeFileSync(join(folder, name), Buffer.alloc(megabytes * MIB, 1));
}

describe('the size of a folder', () => {
  test('counts what is below it once, and follows no link', async () => {
    const folder = tempFolder();
    const other = tempFolder();
    fill(folder, 'a', 3);
    fill(other, 'b', 5);
    await execa('ln', [join(folder, 'a'), join(folder, 'again')]);
    await execa('ln', ['-s', other, join(folder, 'elsewhere')]);
    const size = (await folderSize(folder)) ?? 0;
    expect(Math.round(size / MIB)).toBe(3);
  });

  test('is nothing of one that is not there', async () => {
    expect(await folderSize('/no/such/folder')).toBe(0);
  });

  test('is not known when nobody has measured it', async () => {
    expect(await folderSize(tempFolder(), AbortSignal.abort())).toBeNull();
    expect(await folderSize(join(import.meta.filename, 'below'))).toBeNull();
  });
});

describe.skipIf(noSmallDisk() !== null)('a watch', () => {
  /** On a disk of its own, where nobody else takes or frees any space. */
  function watchOn(options: DiskWatchOptions = {}) {
    const disk = mountSmallDisk('64m');
    onTestFinished(() => disk.remove());
    const watch = new DiskWatch({ everyMs: 10, ...options });
    return { folder: disk.folder, watch };
  }

  test('tells of a folder that has outgrown its limit, once it has', async () => {
    const { folder, watch } = watchOn();
    const watched = watch.watch(folder, 10);
    const free = watch.watch(folder, null);
    fill(folder, 'a', 7);
    fill(folder, 'b', 7);
    await vi.waitFor(() => expect(watched.over.aborted).toBe(true), BOUND);
    expect(watched.over.reason).toMatchObject({ code: 'DISK_LIMIT', facts: { limitMb: 10 } });
    expect(free.over.aborted).toBe(false);
    watched.stop();
  });

  test('does not measure what cannot have reached its limit, however many there are', async () => {
    const { folder, watch } = watchOn();
    const many = Array.from({ length: 50 }, () => watch.watch(folder, 40));
    const small = watch.watch(folder, 8);
    fill(folder, 'a', 9);
    await vi.waitFor(() => expect(small.over.aborted).toBe(true), BOUND);
    expect(watch.measurements).toBe(1);
    for (const one of [...many, small]) one.stop();
  });

  test('measures now and then all the same: others may free what one takes', async () => {
    const { folder, watch } = watchOn({ measureMs: 1 });
    fill(folder, 'there before', 9);
    const watched = watch.watch(folder, 8);
    await vi.waitFor(() => expect(watched.over.aborted).toBe(true), BOUND);
  });

  test('that was stopped says nothing any more', async () => {
    const { folder, watch } = watchOn({ measureMs: 1 });
    fill(folder, 'too much', 9);
    const stopped = watch.watch(folder, 8);
    stopped.stop();
    const other = watch.watch(folder, 8);
    await vi.waitFor(() => expect(other.over.aborted).toBe(true), BOUND);
    expect(stopped.over.aborted).toBe(false);
  });
});
