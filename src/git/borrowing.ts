/**
 * Fresh repositories that borrow a mirror's objects: an agent's, and the record of its work. Git makes the first of
 * each kind; what it wrote is then written again without it, since starting git costs more than what it would do.
 */
import { copyFile, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { CellpoolError } from '../errors.ts';
import { allEnded } from '../os/all-ended.ts';
import { ownGitOk } from './git.ts';
import type { Mirror } from './mirror.ts';

export interface BorrowingOptions {
  mirror: Mirror;
  /** Absolute; nothing may stand there. One that is not bare is the `.git` of the folder it lies in. */
  gitDir: string;
  /** Short name of the branch it is on, and the full id that the branch points to; null: a bare one without a branch. */
  on: { branch: string; commit: string } | null;
}

/** What git found out of the file system that the cells of a mirror lie on, and its name for the first branch. */
interface Pattern {
  config: string;
  head: string;
}

const patterns = new Map<string, Pattern>();

/** What `branchOf` may give, and nothing that leads out of the folder of branches. */
const BRANCH = /^(?:[A-Za-z0-9][\w.-]*\/)*[A-Za-z0-9][\w.-]*$/;

/** @throws {CellpoolError} SPAWN_FAILED; the file system's error. */
export async function initBorrowing({ mirror, gitDir, on }: BorrowingOptions): Promise<void> {
  if (on !== null) demandBranch(on.branch);
  const kind = `${mirror.path}\0${on === null ? 'bare' : 'with files'}`;
  const pattern = patterns.get(kind) ?? (await initByGit(mirror, gitDir, on === null));
  patterns.set(kind, pattern);
  const ref = on === null ? null : `refs/heads/${on.branch}`;
  const folders = ['info', 'objects/info', 'objects/pack', 'refs/tags', dirname(ref ?? 'refs/heads/any')];
  await allEnded(folders.map(folder => mkdir(join(gitDir, folder), { recursive: true })));
  const files = {
    config: pattern.config,
    HEAD: ref === null ? pattern.head : `ref: ${ref}\n`,
    'objects/info/alternates': `${mirror.objects}\n`,
    // Without a log of the branch, which would hold the time and so differ after a revert.
    ...(on === null ? {} : { [`refs/heads/${on.branch}`]: `${on.commit}\n` }),
  };
  const written = Object.entries(files).map(([name, text]) => writeFile(join(gitDir, name), text));
  await allEnded([...written, copyShallow(mirror, gitDir)]);
}

/**
 * Has a repository that `initBorrowing` made, and in which nothing was done since, stand on another branch than
 * `before`, as if it had been made so. @throws {CellpoolError} SPAWN_FAILED; the file system's error.
 */
export async function moveBranch(
  gitDir: string,
  before: string,
  { branch, commit }: { branch: string; commit: string },
): Promise<void> {
  demandBranch(branch);
  const ref = `refs/heads/${branch}`;
  if (before !== branch) await rm(join(gitDir, 'refs', 'heads', before));
  await mkdir(dirname(join(gitDir, ref)), { recursive: true });
  await allEnded([writeFile(join(gitDir, ref), `${commit}\n`), writeFile(join(gitDir, 'HEAD'), `ref: ${ref}\n`)]);
}

function demandBranch(branch: string): void {
  if (BRANCH.test(branch) && !/\.\.|\.(?:\/|$)|\.lock(?:\/|$)/.test(branch)) return;
  throw new CellpoolError('SPAWN_FAILED', `no branch can be named ${JSON.stringify(branch)}`);
}

/** Where the source's history was cut off, the borrowed history ends too. */
async function copyShallow(mirror: Mirror, gitDir: string): Promise<void> {
  await copyFile(join(mirror.path, 'shallow'), join(gitDir, 'shallow')).catch(error => {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  });
}

async function initByGit(mirror: Mirror, gitDir: string, bare: boolean): Promise<Pattern> {
  const args = ['init', '--quiet', '--template=', `--object-format=${mirror.format}`];
  // Refs as files, also where git would by now keep them in tables.
  const env = { GIT_DEFAULT_REF_FORMAT: 'files' };
  const place = bare ? ['--bare', gitDir] : [dirname(gitDir)];
  await ownGitOk([...args, ...place], { env }, 'SPAWN_FAILED');
  const [config, head] = await Promise.all(['config', 'HEAD'].map(name => readFile(join(gitDir, name), 'utf8')));
  return { config: config ?? '', head: head ?? '' };
}
