/**
 * Linked worktrees of the user's repository, for who wants agents to work in those. Git keeps of each a registration,
 * `<git folder>/worktrees/<id>`; ours has the cell's id, which nobody else gives one, so it is found again by its name
 * and by nothing that stands in it: an agent may have written that.
 */
import { lstat, readdir, readFile, rename, rmdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import pLimit, { type LimitFunction } from 'p-limit';
import { CellpoolError } from '../errors.ts';
import { holdLock, type LockWords } from '../os/file-lock.ts';
import type { Argv } from '../os/leash.ts';
import { runOk } from '../os/run.ts';
import { ownGitOk } from './git.ts';
import type { Source } from './source.ts';

export interface NewWorktree {
  source: Source;
  /** Absolute; does not exist yet, and its last part is the name of the registration. */
  path: string;
  /** Full id. */
  commit: string;
  /** An entry of the environment by which a git that outlives us is found. */
  marker: string;
}

/** Half a hundred cells that are made at once wait for one another. */
const LOCK_MS = 60_000;
/** For a folder that nobody misses. */
const TIDY_MS = 5_000;
const SCRIPT_MS = 30_000;

const WORDS: LockWords = {
  code: 'SPAWN_FAILED',
  who: 'workspace: worktree',
  missing: 'Install util-linux, or do without --workspace worktree.',
  stuck: 'Another process holds the lock on this folder, perhaps an agent: stop that one.',
};

/**
 * Makes a worktree at `commit`, on no branch and without files. Git makes two at once badly (each reads what the other
 * has half written), so they are made one after another: in this process, and by the kernel's lock on the git folder,
 * which leaves no file there, among all. @throws {CellpoolError} SPAWN_FAILED, STATE_FOLDER
 */
export async function addWorktree({ source, path, commit, marker }: NewWorktree): Promise<void> {
  const { gitDir, enclose } = source;
  const folder = join(path, '..');
  const reason = `an agent of cellpool works in it: ${basename(path)}`;
  const [name = '', value = ''] = marker.split(/=(.*)/s);
  await alone(gitDir, LOCK_MS, () =>
    // Locked, because git in another cell, which cannot see this one's files, would take it for a leftover.
    ownGitOk(
      ['worktree', 'add', '--quiet', '--no-checkout', '--detach', '--lock', '--reason', reason, path, commit],
      {
        gitDir,
        env: { [name]: value },
        config: ['core.logAllRefUpdates=false'],
        ...(enclose === undefined ? {} : { wrap: argv => enclose(argv, { writable: [folder] }) }),
      },
      'SPAWN_FAILED',
    ),
  );
  const said = await readFile(join(path, '.git'), 'utf8');
  if (said === linkText(gitDir, basename(path))) return;
  throw new CellpoolError('SPAWN_FAILED', `git registered the worktree elsewhere: ${said.trim()}`, {
    hint: `Remove what stands in ${registrationOf(gitDir, basename(path))}.`,
  });
}

const registrationOf = (gitDir: string, id: string) => join(gitDir, 'worktrees', id);

/** What the `.git` of a worktree holds. */
const linkText = (gitDir: string, id: string) => `gitdir: ${registrationOf(gitDir, id)}\n`;

/** Tells the registration where the worktree's `.git` is now. @throws {CellpoolError} SPAWN_FAILED */
export async function movedWorktree(source: Source, id: string, link: string): Promise<void> {
  const script = 'printf "%s\\n" "$1" >"$2/gitdir"';
  await inGitDir(source, ['sh', '-c', script, 'sh', link, registrationOf(source.gitDir, id)], []);
}

/** Gives the worktree this index. @throws {CellpoolError} SPAWN_FAILED */
export async function giveWorktreeIndex(source: Source, id: string, index: string): Promise<void> {
  await inGitDir(source, ['cp', '--', index, join(registrationOf(source.gitDir, id), 'index')], [index]);
}

/** Agents may put links in the way at any moment, so that is done where these lead nowhere. */
async function inGitDir({ enclose }: Source, argv: Argv, readable: readonly string[]): Promise<void> {
  const env = { PATH: process.env.PATH ?? '', LC_ALL: 'C' };
  await runOk(enclose?.(argv, { readable }) ?? argv, { cwd: '/', env, timeoutMs: SCRIPT_MS }, 'SPAWN_FAILED');
}

/**
 * Removes the registration of this name, whatever has become of it, and nothing else; false when there is none. Call
 * it when the cell's processes have ended. @throws {CellpoolError} GIT_FAILED, or the file system's error
 */
export async function removeRegistration(gitDir: string, id: string, dryRun = false): Promise<boolean> {
  const above = join(gitDir, 'worktrees');
  // Set aside first, so that no git reads the half of it.
  const aside = join(gitDir, `cellpool-gone-${id}`);
  // A link there leads to where no worktree of ours is.
  const isFolder = await lstat(above).then(found => found.isDirectory(), absent);
  const there = [isFolder && (await isThere(registrationOf(gitDir, id))), await isThere(aside)];
  if (!there.includes(true)) return false;
  if (dryRun) return true;
  await removeAll(aside);
  if (there[0]) await rename(registrationOf(gitDir, id), aside);
  await removeAll(aside);
  await tidy(gitDir, above);
  return true;
}

/** Not by Node: agents of other cells may change what is in there, and `rm` alone follows no link that comes up. */
async function removeAll(path: string): Promise<void> {
  await runOk(['rm', '-rf', '--', path], { cwd: '/', env: { PATH: process.env.PATH ?? '' } }, 'GIT_FAILED');
}

/** As git does with the last one: the folder above goes too. */
async function tidy(gitDir: string, above: string): Promise<void> {
  const isEmpty = async () => (await readdir(above).catch(() => ['?'])).length === 0;
  if (!(await isEmpty())) return;
  try {
    // Alone, or it would vanish from under a git that is about to make the next one in it.
    await alone(gitDir, TIDY_MS, async () => void ((await isEmpty()) && (await rmdir(above))));
  } catch (error) {
    if (!(error instanceof CellpoolError)) throw error;
    // Somebody keeps the lock. An empty folder harms nobody, and goes with the next worktree.
  }
}

const turns = new Map<string, LimitFunction>();

/** Does `work` while nobody else of us, in whatever process, does such work on this repository. */
function alone<T>(gitDir: string, timeoutMs: number, work: () => Promise<T>): Promise<T> {
  const turn = turns.get(gitDir) ?? pLimit(1);
  turns.set(gitDir, turn);
  return turn(async () => {
    const release = await holdLock(gitDir, timeoutMs, WORDS);
    return await work().finally(release);
  });
}

const isThere = (path: string) => lstat(path).then(() => true, absent);

function absent(error: NodeJS.ErrnoException): false {
  if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return false;
  throw error;
}
