import { mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { checkedOutAt, hasUncommittedEdits, openSource, tipOf } from '../../src/git/source.ts';
import { commitAll, git, makeRepository, tempFolder, writeFiles } from '../support/repository.ts';

describe('a source is found', () => {
  test('from its top folder, a folder below it and a symbolic link to it', async () => {
    const folder = tempFolder();
    const top = makeRepository(join(folder, 'my repo ü'), { 'sub/deep/a.txt': 'a\n' });
    symlinkSync(top, join(folder, 'link'));
    const expected = { path: top, gitDir: join(top, '.git'), bare: false, format: 'sha1' };
    for (const path of [top, join(top, 'sub/deep'), join(folder, 'link')]) {
      expect(await openSource(path)).toEqual(expected);
    }
  });

  test('from a linked worktree, whose refs are those of the main repository', async () => {
    const folder = tempFolder();
    const top = makeRepository(join(folder, 'main'));
    git(top, 'worktree', 'add', '--quiet', '-b', 'side', join(folder, 'linked'));
    expect(await openSource(join(folder, 'linked'))).toMatchObject({
      path: join(folder, 'linked'),
      gitDir: join(top, '.git'),
      bare: false,
    });
  });

  test('while somebody else makes a worktree, whose HEAD is no commit until it is done', async () => {
    const top = makeRepository(join(tempFolder(), 'main'));
    const being = join(top, '.git/worktrees/being-made');
    mkdirSync(being, { recursive: true });
    const files = { HEAD: `${'0'.repeat(40)}\n`, commondir: '../..\n', gitdir: '/elsewhere/.git\n' };
    writeFiles(being, files);
    expect((await openSource(top)).path).toBe(top);
  });

  test('from a bare repository, also when its HEAD names a branch that is not there', async () => {
    const folder = tempFolder();
    git(folder, 'clone', '--quiet', '--bare', makeRepository(join(folder, 'main')), 'x.git');
    git(join(folder, 'x.git'), 'symbolic-ref', 'HEAD', 'refs/heads/other');
    const bare = join(folder, 'x.git');
    expect(await openSource(bare)).toEqual({ path: bare, gitDir: bare, bare: true, format: 'sha1' });
  });

  test('whatever GIT_ variables the worker itself was started with', async () => {
    const folder = tempFolder();
    const top = makeRepository(join(folder, 'a'));
    process.env.GIT_DIR = makeRepository(join(folder, 'b'));
    onTestFinished(() => void delete process.env.GIT_DIR);
    expect((await openSource(top)).path).toBe(top);
  });
});

describe('a source is refused with a hint', () => {
  const cases: [string, (folder: string) => string, RegExp][] = [
    ['a folder that is missing', folder => join(folder, 'none'), /no such folder/],
    ['a file', folder => join(makeRepository(folder), 'a.txt'), /not a folder/],
    ['a folder that is no repository', folder => folder, /not a git repository/],
    ['a repository without commits', folder => join(folder, git(folder, 'init', '--quiet')), /no commit yet/],
    ['the inside of a .git folder', folder => join(makeRepository(folder), '.git', 'refs'), /inside a \.git/],
  ];
  test.each(cases)('%s', async (_name, make, message) => {
    const error = await openSource(make(tempFolder())).catch(one => one);
    expect(error).toMatchObject({ code: 'NOT_A_REPOSITORY', message: expect.stringMatching(message) });
    expect(error.hint).toBeTruthy();
  });

  test('any folder, when git is not installed', async () => {
    const { PATH } = process.env;
    process.env.PATH = tempFolder();
    onTestFinished(() => void Object.assign(process.env, { PATH }));
    await expect(openSource(tempFolder())).rejects.toMatchObject({ code: 'GIT_MISSING', exitCode: 3 });
  });
});

test('only the branch of exactly that name has a tip', async () => {
  const top = makeRepository(tempFolder());
  const head = git(top, 'rev-parse', 'HEAD');
  git(top, 'tag', 'v1');
  git(top, 'branch', 'dir/x');
  git(top, 'pack-refs', '--all');
  const source = await openSource(top);
  expect(await tipOf(source, 'main')).toBe(head);
  expect(await tipOf(source, 'dir/x')).toBe(head);
  for (const name of ['v1', head, 'dir', 'mai', 'main~0', 'main^{tree}', 'HEAD', '*', 'm?in', '', '-d', '../tags/v1']) {
    expect(await tipOf(source, name)).toBeNull();
  }
});

test('a branch is found checked out in whichever working copy has it, and not where the copy is gone', async () => {
  const folder = tempFolder();
  const top = makeRepository(join(folder, 'main'));
  const linked = join(folder, 'line\nbreak');
  git(top, 'worktree', 'add', '--quiet', '-b', 'side', linked);
  git(top, 'worktree', 'add', '--quiet', '-b', 'lost', join(folder, 'lost'));
  rmSync(join(folder, 'lost'), { recursive: true });
  const source = await openSource(linked);
  expect(await checkedOutAt(source, 'main')).toBe(top);
  expect(await checkedOutAt(source, 'side')).toBe(linked);
  expect(await checkedOutAt(source, 'lost')).toBeNull();
  expect(await checkedOutAt(source, 'none')).toBeNull();
});

describe('uncommitted edits', () => {
  test('are edits of tracked files, staged or not; a new file is none', async () => {
    const top = makeRepository(tempFolder(), { 'a.txt': 'a\n', 'b.txt': 'b\n' });
    const source = await openSource(top);
    writeFiles(top, { 'new.txt': 'n\n' });
    expect(await hasUncommittedEdits(source)).toBe(false);
    writeFiles(top, { 'a.txt': 'edited\n' });
    expect(await hasUncommittedEdits(source)).toBe(true);
    git(top, 'add', 'a.txt');
    expect(await hasUncommittedEdits(source)).toBe(true);
    commitAll(top);
    expect(await hasUncommittedEdits(source)).toBe(false);
  });

  test('are looked for without changing the index', async () => {
    const top = makeRepository(tempFolder());
    writeFiles(top, { 'a.txt': 'a\n' });
    const before = readFileSync(join(top, '.git/index'));
    await hasUncommittedEdits(await openSource(top));
    expect(readFileSync(join(top, '.git/index')).equals(before)).toBe(true);
    expect(readdirSync(top).sort()).toEqual(['.git', 'a.txt']);
  });

  test('a bare repository has none', async () => {
    const folder = tempFolder();
    mkdirSync(join(folder, 'x'));
    git(folder, 'clone', '--quiet', '--bare', makeRepository(join(folder, 'main')), 'x/y.git');
    expect(await hasUncommittedEdits(await openSource(join(folder, 'x/y.git')))).toBe(false);
  });
});
