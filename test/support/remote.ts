/** Remotes for tests: a bare repository that is fetched from and pushed to, and somebody else who does so, too. */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { vi } from 'vitest';
import { commitAll, type Files, git, makeRepository, writeFiles } from './repository.ts';

export interface TestRemote {
  /** Folder of bare repositories, for a server. */
  readonly root: string;
  readonly bare: string;
  /** `file://` of it. */
  readonly url: string;
  /** Somebody's working copy, whose `origin` it is. */
  readonly theirs: string;
  /** Commits files on a branch of the remote, which begins at main when it is new; returns the commit. */
  push(branch: string, files: Files, message?: string): string;
  tip(branch: string): string;
}

/** Below `folder`: `app.git` with one commit on main. */
export function makeRemote(folder: string, files: Files = { 'a.txt': 'a\n' }, ...init: string[]): TestRemote {
  const theirs = makeRepository(join(folder, 'theirs'), files, ...init);
  const root = join(folder, 'served');
  const bare = join(root, 'app.git');
  git(folder, 'clone', '--quiet', '--bare', '--template=', theirs, bare);
  git(theirs, 'remote', 'add', 'origin', bare);
  return {
    ...{ root, bare, theirs, url: `file://${bare}` },
    push(branch, changed, message) {
      git(theirs, 'fetch', '--quiet', 'origin');
      const begin = git(theirs, 'branch', '-r', '--list', `origin/${branch}`) === '' ? 'main' : `origin/${branch}`;
      git(theirs, 'checkout', '--quiet', '-B', 'now', begin);
      writeFiles(theirs, changed);
      const commit = commitAll(theirs, message);
      git(theirs, 'push', '--quiet', 'origin', `now:refs/heads/${branch}`);
      return commit;
    },
    tip: branch => git(bare, 'rev-parse', `refs/heads/${branch}`),
  };
}

/** Gives git, as the user runs it, a config of its own until the test has ended. Call it within a test. */
export function useGitConfig(folder: string, text: string): void {
  const file = join(folder, 'gitconfig');
  writeFileSync(file, text);
  vi.stubEnv('GIT_CONFIG_GLOBAL', file);
  vi.stubEnv('GIT_CONFIG_NOSYSTEM', '1');
}

/** Runs git with the config that `useGitConfig` gives it and nothing of ours; returns how it ended. */
export function plainGit(folder: string, ...args: string[]): number | null {
  const { PATH = '', GIT_CONFIG_GLOBAL = '' } = process.env;
  const env = { PATH, GIT_CONFIG_GLOBAL, GIT_CONFIG_NOSYSTEM: '1', HOME: '/nonexistent' };
  return spawnSync('git', args, { cwd: folder, env, stdio: 'ignore' }).status;
}

/**
 * A program that stands in for ssh, as there is no server for it here: what it is to run elsewhere it runs on this
 * machine. Git speaks to it as to the real one.
 */
export function localSsh(folder: string): string {
  const file = join(folder, 'ssh');
  writeFileSync(file, '#!/bin/sh\nfor last; do :; done\nexec sh -c "$last"\n', { mode: 0o755 });
  return file;
}

/** A credential helper that knows one user. */
export const helperOf = (user: string, password: string): string =>
  `[credential]\n\thelper = "!f() { test \\"$1\\" = get && printf 'username=${user}\\\\npassword=${password}\\\\n'; }; f"\n`;
