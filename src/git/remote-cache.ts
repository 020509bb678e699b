/**
 * The cache: one bare repository a host keeps for each address, `<home>/remotes/<mark of the address>`. It stands
 * where the user's own repository stands for tasks that name a path, and all that follows (mirror, workspaces, the
 * way home) knows no difference but this: its branches are moved by nothing but a fetch, so they never say more than
 * the remote has said.
 */
import { createHash } from 'node:crypto';
import { mkdir, readdir, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { CellpoolError } from '../errors.ts';
import { holdLock, type LockWords } from '../os/file-lock.ts';
import { whileWanted } from '../os/within.ts';
import { isMade, makeBare, removeOlder } from './bare.ts';
import { ownGitOk } from './git.ts';
import { askRemote, otherSide, remoteBranches, remoteFault } from './remote.ts';
import type { Source } from './source.ts';

/** Long enough for the first copy of a large history over a slow line; what stalls ends much sooner. */
const FETCH_MS = 60 * 60_000;
/** Another process of the host may be in the middle of its own. */
const LOCK_MS = FETCH_MS + 60_000;

/**
 * The cache of `url` below the state folder, made when it is not there yet, which asks the remote how it names
 * objects. It may be empty or old: see `refresh`.
 * @throws {CellpoolError} REMOTE_UNREACHABLE, REMOTE_REFUSED, NO_SUCH_REMOTE, NOT_A_REPOSITORY, UNKNOWN_BASE when it
 * has no branch at all, STATE_FOLDER, GIT_MISSING, GIT_FAILED. The signal's reason on abort.
 */
export async function openRemote(home: string, url: string, signal?: AbortSignal): Promise<Source> {
  const folder = join(home, 'remotes');
  await mkdir(folder, { recursive: true, mode: 0o700 }).catch(cause => {
    throw new CellpoolError('STATE_FOLDER', `${folder} cannot be made`, { cause, facts: { folder } });
  });
  const mark = createHash('sha256').update(url).digest('hex').slice(0, 24);
  const path = join(await realpath(folder), mark);
  if (!(await isMade(path))) await make(path, url, signal);
  const format = await ownGitOk(['rev-parse', '--show-object-format'], { gitDir: path });
  return { path, gitDir: path, bare: true, format: format.trim() === 'sha256' ? 'sha256' : 'sha1', remote: url };
}

/** Empty; how objects are named there tells the first branch. */
async function make(path: string, url: string, signal: AbortSignal | undefined): Promise<void> {
  const [first] = (await remoteBranches(url, { signal })).values();
  if (first === undefined) {
    throw new CellpoolError('UNKNOWN_BASE', `${url} has no branch yet`, {
      hint: 'Push a commit: an agent starts from one.',
      facts: { url },
    });
  }
  await makeBare(path, first.length === 64 ? 'sha256' : 'sha1');
}

/** Fetches that have not begun yet: who asks now joins one, for it will see all that is there now. */
const coming = new Map<string, Promise<void>>();
const last = new Map<string, Promise<void>>();

/**
 * Brings the branches of a cache to where those of its remote are now; nothing to do for the user's own repository.
 * Any number of calls at once may be made, by any number of processes: each gets a fetch that began after it was
 * asked for, one at a time. An abort ends the waiting, not a fetch that others share.
 * @throws {CellpoolError} REMOTE_UNREACHABLE (also when flock is missing), REMOTE_REFUSED, NO_SUCH_REMOTE,
 * NOT_A_REPOSITORY. The signal's reason on abort.
 */
export async function refresh(source: Source, signal?: AbortSignal): Promise<void> {
  const { remote, gitDir } = source;
  if (remote === undefined) return;
  signal?.throwIfAborted();
  await whileWanted(signal, coming.get(gitDir) ?? queueFetch(gitDir, remote));
}

function queueFetch(gitDir: string, url: string): Promise<void> {
  const before = last.get(gitDir) ?? Promise.resolve();
  const mine = before
    .catch(() => undefined)
    .then(() => {
      coming.delete(gitDir);
      return fetchAlone(gitDir, url);
    });
  coming.set(gitDir, mine);
  last.set(gitDir, mine);
  const forget = () => void (last.get(gitDir) === mine && last.delete(gitDir));
  mine.then(forget, forget);
  return mine;
}

const WORDS: LockWords = {
  code: 'REMOTE_UNREACHABLE',
  who: 'a repository named by URL',
  missing: 'Install util-linux.',
  stuck: 'Another worker of this host fetches from the same remote and gets no answer.',
};

/** In this process, and by the kernel's lock on the cache, among all of the host. */
async function fetchAlone(gitDir: string, url: string): Promise<void> {
  const release = await holdLock(gitDir, LOCK_MS, WORDS);
  try {
    await clearUp(gitDir);
    await fetchBranches(gitDir, url);
  } finally {
    await release();
  }
}

async function fetchBranches(gitDir: string, url: string): Promise<void> {
  const plain = ['--quiet', '--no-tags', '--prune', '--force', '--no-write-fetch-head', '--no-recurse-submodules'];
  const quick = ['--no-write-commit-graph', '--no-show-forced-updates', '--no-auto-maintenance', '--update-shallow'];
  const side = otherSide(url, 'upload-pack', 'upload-pack');
  const args = [
    'fetch',
    ...plain,
    ...quick,
    '--refmap=',
    ...side,
    '--end-of-options',
    url,
    '+refs/heads/*:refs/heads/*',
  ];
  const config = ['fetch.pruneTags=false', 'fetch.parallel=1', 'fetch.bundleURI='];
  const answer = await askRemote(args, { url, gitDir, config, timeoutMs: FETCH_MS });
  if (answer.exitCode !== 0) throw remoteFault(url, answer);
}

/** Longer than git holds any of its locks on a branch, also one that outlives a worker that was killed. */
const STALE_MS = 5_000;

/** What a fetch left that was killed: locks, and half a pack. */
async function clearUp(gitDir: string): Promise<void> {
  const heads = join(gitDir, 'refs', 'heads');
  const folders = await readdir(heads, { recursive: true, withFileTypes: true }).catch(() => []);
  const all = folders.filter(entry => entry.isDirectory()).map(entry => join(entry.parentPath, entry.name));
  for (const folder of [heads, ...all]) await removeOlder(folder, /\.lock$/, STALE_MS);
  // These take longer, and others write them too.
  await removeOlder(gitDir, /^(packed-refs|shallow)\.lock$/, 60_000);
  // Nobody else fetches from the remote meanwhile, and work is brought home within git's limit of 10 minutes.
  await removeOlder(join(gitDir, 'objects', 'pack'), /^tmp_/, 15 * 60_000);
}
