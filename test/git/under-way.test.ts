/** A branch that git has put aside for a rebase or a bisection is somebody's, as one that is checked out is. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { checkedOutAt, openSource, type Source } from '../../src/git/source.ts';
import { plainGit } from '../support/remote.ts';
import { commitAll, git, makeRepository, tempFolder, writeFiles } from '../support/repository.ts';

let top: string;
let linked: string;
let source: Source;
/** `topic`, on which `below` is the commit before the last, contradicts `main`; nobody has one of them checked out. */
beforeEach(async () => {
  const folder = tempFolder('under-way');
  top = makeRepository(join(folder, 'main'));
  git(top, 'config', 'user.name', 'Test');
  git(top, 'config', 'user.email', 'test@example.com');
  git(top, 'switch', '--quiet', '-c', 'topic');
  for (const name of ['1', '2']) {
    writeFiles(top, { 'a.txt': `topic ${name}\n` });
    commitAll(top, name);
  }
  git(top, 'branch', 'below', 'topic~1');
  git(top, 'switch', '--quiet', 'main');
  writeFiles(top, { 'a.txt': 'main\n' });
  commitAll(top);
  git(top, 'switch', '--quiet', '--detach');
  linked = join(folder, 'line\nbreak');
  git(top, 'worktree', 'add', '--quiet', '--detach', linked);
  source = await openSource(top);
});

const places: [string, () => string][] = [
  ['the main working copy', () => top],
  ['a linked worktree', () => linked],
];

describe.each(places)('in %s', (_name, placeOf) => {
  const ways: [string, string[], string[]][] = [
    ['rebased', ['rebase', 'main', 'topic'], ['rebase', '--abort']],
    ['rebased by patches', ['rebase', '--apply', 'main', 'topic'], ['rebase', '--abort']],
  ];
  test.each(ways)(
    'a branch is taken while it is being %s, and free again when that has ended',
    async (_how, begin, end) => {
      const place = placeOf();
      expect(plainGit(place, ...begin)).not.toBe(0);
      expect(git(place, 'branch', '--show-current')).toBe('');
      expect(await checkedOutAt(source, 'topic')).toBe(place);
      for (const other of ['main', 'below', 'topi', 'topic2']) expect(await checkedOutAt(source, other)).toBeNull();
      git(place, ...end);
      git(place, 'switch', '--quiet', '--detach');
      expect(await checkedOutAt(source, 'topic')).toBeNull();
    },
  );

  test('a branch is taken while git bisects from it', async () => {
    const place = placeOf();
    git(place, 'switch', '--quiet', 'topic');
    for (const args of [['start'], ['bad'], ['good', 'main~1']]) git(place, 'bisect', ...args);
    expect(git(place, 'branch', '--show-current')).toBe('');
    expect(await checkedOutAt(source, 'topic')).toBe(place);
    expect(await checkedOutAt(source, 'main')).toBeNull();
    git(place, 'bisect', 'reset');
    git(place, 'switch', '--quiet', '--detach');
    expect(await checkedOutAt(source, 'topic')).toBeNull();
  });

  test('branches are taken that a rebase is to move along with the one on top of them', async () => {
    const place = placeOf();
    expect(plainGit(place, 'rebase', '--update-refs', 'main', 'topic')).not.toBe(0);
    expect(await checkedOutAt(source, 'below')).toBe(place);
    expect(await checkedOutAt(source, 'topic')).toBe(place);
    expect(await checkedOutAt(source, 'main')).toBeNull();
  });

  test('no branch is taken by a rebase of a commit that is on none', async () => {
    const place = placeOf();
    git(place, 'switch', '--quiet', '--detach', 'topic');
    expect(plainGit(place, 'rebase', 'main')).not.toBe(0);
    for (const branch of ['main', 'topic', 'below']) expect(await checkedOutAt(source, branch)).toBeNull();
  });
});

test('a branch is free again when the worktree is gone in which it was being rebased, unless that is locked', async () => {
  expect(plainGit(linked, 'rebase', 'main', 'topic')).not.toBe(0);
  rmSync(linked, { recursive: true });
  expect(await checkedOutAt(source, 'topic')).toBeNull();
  git(top, 'worktree', 'lock', linked);
  expect(await checkedOutAt(source, 'topic')).toBe(linked);
});

test('a bare repository has no working copy of its own, whatever lies in it', async () => {
  const bare = join(tempFolder('bare'), 'x.git');
  git(top, 'clone', '--quiet', '--bare', top, bare);
  writeFileSync(join(bare, 'BISECT_START'), 'topic\n');
  expect(await checkedOutAt(await openSource(bare), 'topic')).toBeNull();
});

test('what is no file of git waits for nobody: a pipe, a link, a folder, a flood', async () => {
  execFileSync('mkfifo', [join(top, '.git', 'BISECT_START')]);
  mkdirSync(join(top, '.git', 'rebase-merge', 'head-name'), { recursive: true });
  mkdirSync(join(top, '.git', 'rebase-apply'));
  symlinkSync('/dev/zero', join(top, '.git', 'rebase-apply', 'head-name'));
  writeFileSync(join(top, '.git', 'rebase-merge', 'update-refs'), 'refs/heads/topic\n'.repeat(10_000));
  expect(await checkedOutAt(source, 'topic')).toBeNull();
});
