/** A branch that has landed is removed from where it stood, and from nowhere else. */
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { openRemote, refresh } from '../../src/git/remote-cache.ts';
import { removeBranch } from '../../src/git/remove-branch.ts';
import { openSource, type Source } from '../../src/git/source.ts';
import { makeRemote } from '../support/remote.ts';
import { commitAll, git, makeRepository, refsOf, tempFolder, writeFiles } from '../support/repository.ts';

let top: string;
let source: Source;
let commit: string;
beforeEach(async () => {
  top = makeRepository(join(tempFolder('remove-branch'), 'source'));
  git(top, 'switch', '--quiet', '-c', 'cellpool/a');
  writeFiles(top, { 'new.txt': '1\n' });
  commit = commitAll(top, 'a');
  git(top, 'switch', '--quiet', 'main');
  source = await openSource(top);
});

describe('in a folder', () => {
  test('it goes, and nothing else does', async () => {
    git(top, 'branch', 'cellpool/ab', commit);
    const before = refsOf(top);
    expect(await removeBranch(source, 'cellpool/a', commit)).toBe(true);
    expect(refsOf(top)).toBe(before.replace(`refs/heads/cellpool/a ${commit}\n`, ''));
    expect(await removeBranch(source, 'cellpool/a', commit)).toBe(false);
  });

  test('it stays where somebody has moved it, or works on it', async () => {
    const before = refsOf(top);
    expect(await removeBranch(source, 'cellpool/a', git(top, 'rev-parse', 'main'))).toBe(false);
    git(top, 'switch', '--quiet', 'cellpool/a');
    expect(await removeBranch(source, 'cellpool/a', commit)).toBe(false);
    expect(refsOf(top)).toBe(before);
  });
});

test('a branch that is no task of ours stays, here and in a remote', async () => {
  const folder = tempFolder('remove-foreign');
  const remote = makeRemote(folder);
  const cache = await openRemote(join(folder, 'home'), remote.url);
  await refresh(cache);
  for (const [where, top] of [
    [source, source.path],
    [cache, remote.bare],
  ] as const) {
    const begin = git(top, 'rev-parse', 'main');
    for (const name of ['release', 'cellpoolish/a']) git(top, 'branch', name, begin);
    if (where === cache) await refresh(cache);
    const before = refsOf(top);
    for (const name of ['main', 'release', 'cellpoolish/a', '../heads/cellpool/a', 'cellpool']) {
      await expect(removeBranch(where, name, begin)).rejects.toMatchObject({ code: 'INTERNAL' });
    }
    expect(refsOf(top)).toBe(before);
  }
});

describe('in a remote', () => {
  test('it goes there, unless somebody has moved it since it was fetched', async () => {
    const folder = tempFolder('remove-remote');
    const remote = makeRemote(folder);
    const [mine, moved] = [
      remote.push('cellpool/a', { 'a.txt': '1\n' }),
      remote.push('cellpool/b', { 'b.txt': '1\n' }),
    ];
    const cache = await openRemote(join(folder, 'home'), remote.url);
    await refresh(cache);
    remote.push('cellpool/b', { 'b.txt': '2\n' });
    expect(await removeBranch(cache, 'cellpool/a', mine)).toBe(true);
    expect(await removeBranch(cache, 'cellpool/b', moved)).toBe(false);
    expect(git(remote.bare, 'for-each-ref', '--format=%(refname)').split('\n')).toEqual([
      'refs/heads/cellpool/b',
      'refs/heads/main',
    ]);
  });
});
