/** The user's repository: what it is, and questions about it. Nothing here changes it. */
import { realpath, stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { CellpoolError } from '../errors.ts';
import type { Argv } from '../os/leash.ts';
import type { RunResult } from '../os/run.ts';
import { parseWorktrees, splitNul } from './commands.ts';
import { accept, type GitCall, ownGit, ownGitOk, refused, userGit } from './git.ts';
import { underWayAt } from './under-way.ts';

export interface Source {
  /** Top folder of the working copy, or the bare repository itself; absolute, without symbolic links. */
  path: string;
  /** Where refs and objects are: for a linked worktree that of the main repository. */
  gitDir: string;
  bare: boolean;
  /** How objects are named. */
  format: 'sha1' | 'sha256';
  /**
   * The address of the repository that this one is the cache of. Its branches are what the remote said when it was
   * asked last: nothing but a fetch moves them. Left out: it is the user's repository itself.
   */
  remote?: string;
  /**
   * Where agents may write to the git folder: starts a program that changes it, or that reads all of it, inside a
   * place where nothing else may be written. Left out: nothing is to be feared, or nothing can be done.
   */
  enclose?: (argv: Argv, open?: { readable?: readonly string[]; writable?: readonly string[] }) => Argv;
}

/** How messages name it. */
export const nameOf = ({ remote, path }: Source): string => remote ?? path;

/** How git is called to change the source. */
export function enclosedIn({ gitDir, enclose }: Source, readable: readonly string[] = []): GitCall {
  return { gitDir, ...(enclose === undefined ? {} : { wrap: argv => enclose(argv, { readable }) }) };
}

/**
 * Finds the repository that `path` is, or lies in. This is the one place where git decides whether the repository's
 * owner is to be trusted (`safe.directory`); every later call names the git folder outright.
 * @throws {CellpoolError} NOT_A_REPOSITORY when it is none, is missing, is refused by git or has no commit;
 * GIT_MISSING.
 */
export async function openSource(path: string): Promise<Source> {
  const folder = await stat(path).catch(() => null);
  if (!folder?.isDirectory()) {
    const what = folder === null ? 'there is no such folder' : 'this is not a folder';
    throw notARepository(path, what, 'Name the folder of a git repository.');
  }
  const asked = ['rev-parse', '--is-bare-repository', '--is-inside-git-dir', '--show-object-format'];
  const found = await userGit([...asked, '--git-common-dir'], { cwd: path });
  if (found.exitCode !== 0) {
    // Git's own sentence tells a missing repository from one whose owner it does not trust.
    throw notARepository(path, found.stderr.trim(), 'Name the folder of a git repository, or run `git init` there.');
  }
  const [bareWord, insideWord, format, commonDir] = found.stdout.split('\n');
  const bare = bareWord === 'true';
  if (insideWord === 'true' && !bare) {
    throw notARepository(path, 'it lies inside a .git folder', 'Name the top folder of the working copy.');
  }
  const gitDir = await realpath(resolve(path, commonDir ?? ''));
  const top = bare ? gitDir : await topOf(path);
  const source: Source = { path: top, gitDir, bare, format: format === 'sha256' ? 'sha256' : 'sha1' };
  // Not `--all`: that reads the HEAD of every worktree too, and one that is just being made has none that holds.
  const first = await ownGitOk(['rev-list', '--glob=refs/*', '--max-count=1'], { gitDir });
  const head = first === '' ? await ownGit(['rev-parse', '--quiet', '--verify', 'HEAD^{commit}'], { gitDir }) : null;
  if (head !== null && head.exitCode !== 0) {
    throw notARepository(path, 'it has no commit yet', 'Commit something: an agent starts from a commit.');
  }
  return source;
}

async function topOf(path: string): Promise<string> {
  const args = ['rev-parse', '--show-toplevel'];
  const top = accept(await userGit(args, { cwd: path }), args, 'NOT_A_REPOSITORY');
  return realpath(top.replace(/\n$/, ''));
}

function notARepository(path: string, what: string, hint: string): CellpoolError {
  return new CellpoolError('NOT_A_REPOSITORY', `${path}: ${what}`, { hint, facts: { path } });
}

/** The full id of the commit a branch points to, or null when there is no such branch. Tags and ids do not count. */
export async function tipOf(source: Source, branch: string): Promise<string | null> {
  const ref = `refs/heads/${branch}`;
  // The pattern also finds branches below that name; a name with wildcards is none that git allows, so never found.
  const found = await ownGitOk(['for-each-ref', '--format=%(objectname) %(refname)', ref], { gitDir: source.gitDir });
  const line = found.split('\n').find(one => one.slice(one.indexOf(' ') + 1) === ref);
  return line === undefined ? null : line.slice(0, line.indexOf(' '));
}

/** The branch that is checked out in the working copy; null when it is detached, or there is no working copy. */
export async function currentBranch(source: Source): Promise<string | null> {
  if (source.bare) return null;
  const { exitCode, stdout } = await userGit(['symbolic-ref', '--quiet', '--short', 'HEAD'], { cwd: source.path });
  return exitCode === 0 ? stdout.trim() : null;
}

/** At most `limit` names of branches, for telling what there is. */
export async function someBranches(source: Source, limit = 5): Promise<string[]> {
  const args = ['for-each-ref', `--count=${limit}`, '--format=%(refname:lstrip=2)', 'refs/heads/'];
  return (await ownGitOk(args, { gitDir: source.gitDir })).split('\n').filter(name => name !== '');
}

/**
 * Whether tracked files of the working copy differ from its last commit: edits that no agent will see. Untracked
 * files do not count, a file of tasks lying there is no edit. A bare repository has none.
 */
export async function hasUncommittedEdits(source: Source): Promise<boolean> {
  if (source.bare) return false;
  const args = ['status', '--porcelain', '-z', '--untracked-files=no', '--ignore-submodules=dirty', '--no-renames'];
  const env = await withoutFilters(source);
  return env !== null && accept(await userGit(args, { cwd: source.path, env }), args) !== '';
}

/**
 * Variables that take their programs from the filters which the repository's own config names: an agent may have
 * written that. Filters of the user's own config stay. Null when one cannot be named.
 */
async function withoutFilters(source: Source): Promise<Record<string, string> | null> {
  const args = ['config', '--show-scope', '--name-only', '-z', '--get-regexp', '^filter\\.'];
  const found = await userGit(args, { cwd: source.path });
  // Exit code 1: there are none.
  const fields = found.exitCode === 1 ? [] : splitNul(accept(found, args));
  const keys = fields.flatMap((key, at) => (/^(local|worktree)$/.test(fields[at - 1] ?? '') ? [key] : []));
  if (keys.some(key => key.includes('\uFFFD'))) return null;
  const filters = new Set(keys.map(key => key.slice(0, key.lastIndexOf('.'))));
  const entries = [...filters].flatMap(name => [`${name}.clean`, `${name}.process`, `${name}.required`]);
  return Object.fromEntries([
    ['GIT_CONFIG_COUNT', String(entries.length)],
    ...entries.flatMap((key, at) => [
      [`GIT_CONFIG_KEY_${at}`, key],
      [`GIT_CONFIG_VALUE_${at}`, ''],
    ]),
  ]);
}

/**
 * The folder of the working copy, main or linked, that has `branch` checked out, or in which it is being rebased or
 * bisected; null when none has.
 */
export async function checkedOutAt(source: Source, branch: string): Promise<string | null> {
  const args = ['worktree', 'list', '--porcelain'];
  const exact = await listed(source, [...args, '-z']);
  // Exit code 129 is git's for an option it does not know: `-z` came with 2.36.
  const all =
    exact.exitCode === 129
      ? parseWorktrees(accept(await listed(source, args), args), '\n')
      : parseWorktrees(accept(exact, args), '\0');
  const there = all.find(one => one.branch === branch && !one.prunable);
  if (there !== undefined) return there.path;
  // The first one is the main one.
  const underWay = (await underWayAt(source, branch)).map(path => path ?? all[0]?.path ?? source.path);
  return underWay.find(path => all.find(one => one.path === path)?.prunable !== true) ?? null;
}

/** For a moment git cannot read a worktree that is just being made. */
const LIST_TRIES = 3;

async function listed({ gitDir }: Source, args: readonly string[]): Promise<RunResult> {
  for (let tries = 1; ; tries++) {
    const found = await ownGit(args, { gitDir });
    if (found.exitCode !== 128 || tries === LIST_TRIES) return found;
  }
}

/** Whether the commit is there: a repository may have lost it, or never had it. */
export async function hasCommit({ gitDir }: Pick<Source, 'gitDir'>, commit: string): Promise<boolean> {
  return (await ownGit(['cat-file', '-e', `${commit}^{commit}`], { gitDir })).exitCode === 0;
}

/** Whether `ancestor` is part of the history of `commit`, both of which the repository must hold. */
export async function isAncestor(source: Pick<Source, 'gitDir'>, ancestor: string, commit: string): Promise<boolean> {
  const args = ['merge-base', '--is-ancestor', ancestor, commit];
  const answer = await ownGit(args, { gitDir: source.gitDir });
  if (answer.exitCode === 0 || answer.exitCode === 1) return answer.exitCode === 0;
  throw refused(answer, args, 'GIT_FAILED');
}
