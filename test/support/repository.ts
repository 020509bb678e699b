/** Small real git repositories in temp folders, with plain git commands to look at and change them. */
import { execFileSync } from 'node:child_process';
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { onTestFinished } from 'vitest';
import { makeWorkspace, type Workspace, type WorkspaceOptions } from '../../src/cell/workspace.ts';
import { openMirror, pinBase } from '../../src/git/mirror.ts';
import { openSource } from '../../src/git/source.ts';

/** A fresh folder that is gone when the test has ended. Call it within a test. */
export function tempFolder(name = 'repo'): string {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), `${name}-`)));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true, maxRetries: 3 }));
  return folder;
}

const ENVIRONMENT = {
  PATH: process.env.PATH ?? '',
  HOME: '/nonexistent',
  LC_ALL: 'C',
  GIT_CONFIG_GLOBAL: '/dev/null',
  GIT_CONFIG_NOSYSTEM: '1',
  GIT_AUTHOR_NAME: 'Test',
  GIT_AUTHOR_EMAIL: 'test@example.com',
  GIT_COMMITTER_NAME: 'Test',
  GIT_COMMITTER_EMAIL: 'test@example.com',
};

/** Runs git in `folder` and returns what it printed, without the last line break. Throws when git fails. */
export function git(folder: string, ...args: string[]): string {
  const options = { cwd: folder, env: ENVIRONMENT, encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 } as const;
  return execFileSync('git', args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] }).replace(/\n$/, '');
}

/** The same, for a command that reads `input`. */
export function gitWith(input: Buffer, folder: string, ...args: string[]): string {
  const options = { cwd: folder, env: ENVIRONMENT, encoding: 'utf8', input } as const;
  return execFileSync('git', args, { ...options, stdio: ['pipe', 'pipe', 'pipe'] }).replace(/\n$/, '');
}

export type Files = Record<string, string>;

export function writeFiles(folder: string, files: Files): void {
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), content);
  }
}

/** Commits everything in `folder` and returns the commit's id. */
export function commitAll(folder: string, message = 'change'): string {
  git(folder, 'add', '--all', '--force', '.');
  git(folder, 'commit', '--quiet', '--allow-empty', '-m', message);
  return git(folder, 'rev-parse', 'HEAD');
}

/** A repository in `folder` with one commit of `files` on branch `main`, which is checked out. */
export function makeRepository(folder: string, files: Files = { 'a.txt': 'a\n' }, ...init: string[]): string {
  mkdirSync(folder, { recursive: true });
  git(folder, 'init', '--quiet', '--template=', '-b', 'main', ...init);
  writeFiles(folder, files);
  commitAll(folder, 'first');
  return folder;
}

/** Every ref with the commit it names, one a line. */
export const refsOf = (folder: string) => git(folder, 'for-each-ref', '--format=%(refname) %(objectname)');

/** Every file, folder and link below `folder` with its kind, permissions and content: equal when nothing differs. */
export function pictureOf(folder: string, skip: readonly string[] = ['.git']): Record<string, string> {
  const picture: Record<string, string> = {};
  const walk = (path: string) => {
    for (const name of readdirSync(join(folder, path)).sort()) {
      const here = path === '' ? name : `${path}/${name}`;
      if (skip.includes(here)) continue;
      const full = join(folder, here);
      const found = lstatSync(full);
      const mode = (found.mode & 0o7777).toString(8);
      if (found.isSymbolicLink()) picture[here] = `link ${readlinkSync(full)}`;
      else if (found.isDirectory()) picture[here] = `folder ${mode}`;
      else picture[here] = `${mode} ${found.isFile() ? readFileSync(full, 'base64') : 'special'}`;
      if (found.isDirectory()) walk(here);
    }
  };
  walk('');
  return picture;
}

/**
 * A source, its mirror and workspaces on it, all in one temp folder. `make` gets that folder and returns the path of the source; or it is
 * just the files of a plain one.
 */
export async function prepareCells(make: Files | ((folder: string) => string)) {
  const folder = tempFolder('cells');
  const top = typeof make === 'function' ? make(folder) : makeRepository(join(folder, 'source'), make);
  const source = await openSource(top);
  const mirror = await openMirror(join(folder, 'home'), source);
  const spawn = async (id = 'cell-1', more: Partial<WorkspaceOptions> = {}): Promise<Workspace> => {
    const commit = await pinBase(mirror, source, 'main', id);
    const cellDir = join(folder, 'home', 'cells', id);
    return makeWorkspace({ mirror, commit, cellDir, branch: 'cellpool/fix-1', ...more });
  };
  return { folder, top, source, mirror, spawn };
}
