/**
 * Branches on which somebody works though no HEAD is on them: git takes HEAD off a branch while it rebases it, and while
 * it bisects, and at the end comes back to it. A branch that was moved meanwhile makes that end fail. Only files below the
 * git folder are read, as git itself does before it moves a branch; a list of worktrees says nothing of it.
 */
import { constants } from 'node:fs';
import { open, readdir } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';

/** Of a state that git is in, by the name that tells of it in the folder of a worktree: files that hold branches. */
const STATES = new Map([
  ['rebase-merge', ['rebase-merge/head-name', 'rebase-merge/update-refs']],
  ['rebase-apply', ['rebase-apply/head-name']],
  ['BISECT_START', ['BISECT_START']],
]);

/** Bytes; what is longer holds no name of a branch. */
const MOST = 64 * 1024;
/** What opening a file says that is not there, or is no plain one. */
const NONE: ReadonlySet<string | undefined> = new Set(['ENOENT', 'ENOTDIR', 'ELOOP', 'ENXIO']);

/**
 * Folders of the working copies, main or linked, in which `branch` is being rebased or bisected; null stands for the main
 * one. Those that are gone count too, as long as git has not forgotten them. @throws the file system's error
 */
export async function underWayAt(
  { gitDir, bare }: { gitDir: string; bare: boolean },
  branch: string,
): Promise<(string | null)[]> {
  const linked = (await namesIn(join(gitDir, 'worktrees'))).map(name => join(gitDir, 'worktrees', name));
  const found: (string | null)[] = [];
  for (const folder of [...(bare ? [] : [gitDir]), ...linked]) {
    if (!(await branchesIn(folder)).includes(branch)) continue;
    found.push(folder === gitDir ? null : dirname(resolve(folder, (await textOf(join(folder, 'gitdir'))).trimEnd())));
  }
  return found;
}

/** Short names, and other lines that are none. */
async function branchesIn(folder: string): Promise<string[]> {
  const files = (await namesIn(folder)).flatMap(name => STATES.get(name) ?? []);
  const texts = await Promise.all(files.map(file => textOf(join(folder, file))));
  return texts.flatMap(text => text.split('\n').map(line => line.replace(/^refs\/heads\//, '')));
}

async function namesIn(folder: string): Promise<string[]> {
  return readdir(folder).catch(error => {
    if (NONE.has(error.code)) return [];
    throw error;
  });
}

/** Empty where there is no such file, or where it is none of git's: an agent that may write there waits for nobody. */
async function textOf(path: string): Promise<string> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK).catch(error => {
    if (NONE.has(error.code)) return null;
    throw error;
  });
  if (file === null) return '';
  try {
    const { size } = await file.stat().then(found => (found.isFile() ? found : { size: 0 }));
    if (size === 0 || size > MOST) return '';
    const { buffer, bytesRead } = await file.read(Buffer.alloc(size), 0, size, 0);
    return buffer.toString('utf8', 0, bytesRead);
  } finally {
    await file.close();
  }
}
