import { existsSync, mkdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { initBorrowing, moveBranch } from '../../src/git/borrowing.ts';
import { pinBase } from '../../src/git/mirror.ts';
import { git, pictureOf, prepareCells } from '../support/repository.ts';

const FILES = { 'a.txt': 'a\n' };

async function prepare() {
  const { mirror, source, folder } = await prepareCells(FILES);
  return { mirror, folder, commit: await pinBase(mirror, source, 'main', 'cell-1') };
}

/** As it lies there, folders that are empty included. */
const layoutOf = (folder: string) => ({
  files: pictureOf(folder),
  folders: ['objects/info', 'objects/pack', 'refs/heads', 'refs/tags', 'info'].map(name => {
    const found = statSync(join(folder, name));
    return [name, found.isDirectory(), found.mode];
  }),
});

describe('a repository that borrows', () => {
  test('is the same whether git has made it or what git made was written again', async () => {
    const { mirror, commit, folder } = await prepare();
    for (const on of [null, { branch: 'cellpool/fix-1', commit }]) {
      const made: ReturnType<typeof layoutOf>[] = [];
      for (const name of ['first', 'second', 'third']) {
        const parent = join(folder, `${name}-${on === null}`);
        mkdirSync(parent);
        await initBorrowing({ mirror, gitDir: join(parent, '.git'), on });
        made.push(layoutOf(join(parent, '.git')));
      }
      expect(made[1]).toEqual(made[0]);
      expect(made[2]).toEqual(made[0]);
    }
  });

  test('is on its branch, whole in the eyes of git, and without a log', async () => {
    const { mirror, commit, folder } = await prepare();
    for (const name of ['first', 'second']) {
      const parent = join(folder, name);
      mkdirSync(parent);
      const gitDir = join(parent, '.git');
      await initBorrowing({ mirror, gitDir, on: { branch: 'cellpool/fix-1', commit } });
      expect(git(parent, 'symbolic-ref', 'HEAD')).toBe('refs/heads/cellpool/fix-1');
      expect(git(parent, 'rev-parse', 'HEAD')).toBe(commit);
      expect(git(parent, 'rev-parse', '--is-bare-repository', '--show-toplevel')).toBe(`false\n${parent}`);
      git(parent, 'fsck', '--full', '--strict');
      expect(existsSync(join(gitDir, 'logs'))).toBe(false);
      expect(readFileSync(join(gitDir, 'config'), 'utf8')).not.toMatch(/worktree/);
    }
  });

  test('is the same after it was moved to a branch as if it had been made on it', async () => {
    const { mirror, commit, folder } = await prepare();
    const on = { branch: 'cellpool/fix-1', commit };
    const layouts: ReturnType<typeof layoutOf>[] = [];
    for (const before of ['ahead', 'cellpool/fix-1']) {
      const gitDir = join(folder, before.replace('/', '-'), '.git');
      mkdirSync(dirname(gitDir));
      await initBorrowing({ mirror, gitDir, on: { branch: before, commit } });
      await moveBranch(gitDir, before, on);
      await expect(moveBranch(gitDir, on.branch, { ...on, branch: '../x' })).rejects.toThrow('no branch');
      layouts.push(layoutOf(gitDir));
    }
    expect(layouts[0]).toEqual(layouts[1]);
  });

  test.each(['../../config', 'a/../b', '/a', 'a/', 'a..b', 'a.lock', 'a.lock/b', '-a', 'a b', 'a.', ''])(
    'is refused a branch that is none, or leads elsewhere: %j',
    async branch => {
      const { mirror, commit, folder } = await prepare();
      const gitDir = join(folder, 'refused', '.git');
      await expect(initBorrowing({ mirror, gitDir, on: { branch, commit } })).rejects.toMatchObject({
        code: 'SPAWN_FAILED',
      });
      expect(existsSync(gitDir)).toBe(false);
    },
  );
});
