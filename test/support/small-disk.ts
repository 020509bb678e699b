/** A small file system of its own, for tests that fill it. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface SmallDisk {
  readonly folder: string;
  /** Unmounts it; whatever still uses it keeps no one from that. */
  remove(): void;
}

/** Why there can be none here, or null. */
export function noSmallDisk(): string | null {
  if (process.platform !== 'linux') return 'a small file system is only made on Linux';
  if (process.getuid?.() !== 0) return 'only root may mount a small file system';
  const probe = spawnSync('unshare', ['--mount', 'mount', '-t', 'tmpfs', '-o', 'size=64k', 'cellpool-test', '/mnt']);
  return probe.status === 0 ? null : `nothing can be mounted here: ${String(probe.stderr).trim()}`;
}

/** `size` as mount(8) reads it: `16m`. */
export function mountSmallDisk(size: string): SmallDisk {
  const folder = mkdtempSync(join(tmpdir(), 'disk-'));
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size},mode=0700`, 'cellpool-test', folder]);
  return {
    folder,
    remove() {
      execFileSync('umount', ['--lazy', folder]);
      rmSync(folder, { recursive: true });
    },
  };
}
