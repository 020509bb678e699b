/** Bare repositories of ours below the state folder: mirrors of sources, and caches of remotes. */
import { randomBytes } from 'node:crypto';
import { readdir, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { ownGitOk } from './git.ts';
import type { Source } from './source.ts';

/** Others borrow their objects, so none may be thrown away behind our back; git's own locks are waited for. */
const SETTINGS = ['gc.auto 0', 'core.packedRefsTimeout 20000', 'core.filesRefLockTimeout 20000'];
/** Refs as files, also where git would by now keep them in tables: `ref-files.ts` writes them. */
const FILES = { GIT_DEFAULT_REF_FORMAT: 'files' };
/** Older than the making of any may take, so that whoever began it is gone. */
const STALE_MS = 15 * 60_000;

/**
 * Makes one at `path`, whose folder is there. Safe to call from several processes at once: it is made under another
 * name and put in place in one step; who comes second uses the first one's. @throws {CellpoolError} GIT_FAILED
 */
export async function makeBare(path: string, format: Source['format']): Promise<void> {
  const folder = dirname(path);
  await removeOlder(folder, /^new-/, STALE_MS);
  const temporary = join(folder, `new-${basename(path)}-${randomBytes(6).toString('hex')}`);
  try {
    await ownGitOk(['init', '--quiet', '--bare', '--template=', `--object-format=${format}`, temporary], {
      env: FILES,
    });
    for (const setting of SETTINGS) await ownGitOk(['config', ...setting.split(' ')], { gitDir: temporary });
    await rename(temporary, path);
  } catch (error) {
    // Renaming onto a folder that is not empty fails: another process has put its own there.
    if (!(await isMade(path))) throw error;
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

/** Whether there is a repository at `path`. */
export function isMade(path: string): Promise<boolean> {
  return stat(join(path, 'HEAD')).then(
    () => true,
    () => false,
  );
}

/** Removes what has such a name and is older than that. Whoever else removes something meanwhile does the same. */
export async function removeOlder(folder: string, name: RegExp, ageMs: number): Promise<void> {
  for (const entry of (await readdir(folder).catch(() => [])).filter(one => name.test(one))) {
    const age = await stat(join(folder, entry)).then(
      found => Date.now() - found.mtimeMs,
      () => 0,
    );
    if (age > ageMs) await rm(join(folder, entry), { recursive: true, force: true });
  }
}
