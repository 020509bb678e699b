/** Control groups that a test has left behind. */
import { type Dirent, readdirSync, readFileSync, rmdirSync } from 'node:fs';
import { dirname, join } from 'node:path';

/**
 * Groups of cells whose state folder is below `folder`, with those above them. The kernel's own folders are walked,
 * not those that the project knows: what it overlooks is what has to be found.
 */
export function groupsLeft(folder: string): string[] {
  const told = folder.replace(/[^A-Za-z0-9._]+/g, '-');
  return groupMounts().flatMap(mount => below(mount, told));
}

function groupMounts(): string[] {
  try {
    const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
    return mounts.filter(line => / - cgroup2? /.test(line)).map(line => line.split(' ')[4] ?? '');
  } catch {
    // Not Linux.
    return [];
  }
}

function below(folder: string, told: string): string[] {
  let entries: Dirent[];
  try {
    entries = readdirSync(folder, { withFileTypes: true });
  } catch {
    // Removed while we looked.
    return [];
  }
  return entries
    .filter(entry => entry.isDirectory())
    .flatMap(({ name }) => {
      const path = join(folder, name);
      const inside = below(path, told);
      return inside.length > 0 ? inside : path.includes(told) ? [path] : [];
    });
}

/** Removes what has no process in it any more, and what is empty then above it. */
export function removeGroups(folders: readonly string[]): void {
  for (const folder of folders) {
    try {
      for (const path of [folder, dirname(folder), dirname(dirname(folder))]) rmdirSync(path);
    } catch {
      // In use, perhaps by somebody else.
    }
  }
}
