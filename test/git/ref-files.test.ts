/** Refs that are written without git: git takes them for its own, and never finds half of one. */
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { pointsTo, refsIn, removeRef, setRef } from '../../src/git/ref-files.ts';
import { git, makeRepository, refsOf, tempFolder } from '../support/repository.ts';

function repository() {
  const top = makeRepository(tempFolder('refs'));
  return { gitDir: join(top, '.git'), tip: git(top, 'rev-parse', 'HEAD'), top };
}

test('git finds a ref that was set, where it was set last, and can move and remove it', async () => {
  const { gitDir, tip, top } = repository();
  await setRef(gitDir, 'refs/cells/a.0123abcd', tip);
  expect(refsOf(top)).toContain(`refs/cells/a.0123abcd ${tip}`);
  const next = git(top, 'commit-tree', `${tip}^{tree}`, '-p', tip, '-m', 'next');
  await setRef(gitDir, 'refs/cells/a.0123abcd', next);
  expect(git(top, 'rev-parse', 'refs/cells/a.0123abcd')).toBe(next);
  git(top, 'update-ref', 'refs/cells/a.0123abcd', tip, next);
  expect(await refsIn(gitDir, 'refs/cells')).toEqual(['a.0123abcd']);
  git(top, 'fsck', '--strict');
  await removeRef(gitDir, 'refs/cells/a.0123abcd');
  await removeRef(gitDir, 'refs/cells/a.0123abcd');
  expect(refsOf(top)).not.toContain('refs/cells');
});

test('who holds the lock of a ref keeps others from it, and what fails leaves ref and folder as they were', async () => {
  const { gitDir, tip } = repository();
  await setRef(gitDir, 'refs/cells/a', tip);
  writeFileSync(join(gitDir, 'refs/cells/a.lock'), '');
  await expect(setRef(gitDir, 'refs/cells/a', '1'.repeat(40))).rejects.toMatchObject({ code: 'EEXIST' });
  expect(await refsIn(gitDir, 'refs/cells')).toEqual(['a']);
  mkdirSync(join(gitDir, 'refs/cells/folder/x'), { recursive: true });
  await expect(setRef(gitDir, 'refs/cells/folder', tip)).rejects.toMatchObject({ code: 'EISDIR' });
  expect(readdirSync(join(gitDir, 'refs/cells')).sort()).toEqual(['a', 'a.lock', 'folder']);
  expect(existsSync(join(gitDir, 'refs/cells/folder.lock'))).toBe(false);
});

test('many are set and removed at once, in one folder', async () => {
  const { gitDir, tip, top } = repository();
  const names = Array.from({ length: 60 }, (_, at) => `refs/cells/cell-${at}`);
  await Promise.all(names.map(name => setRef(gitDir, name, tip)));
  expect(git(top, 'for-each-ref', 'refs/cells').split('\n')).toHaveLength(60);
  await Promise.all(names.map(name => removeRef(gitDir, name)));
  expect(await refsIn(gitDir, 'refs/cells')).toEqual([]);
  expect(await refsIn(gitDir, 'refs/nothing')).toEqual([]);
});

test('a ref points to what is written in it: one that is empty, as after a power cut, points to nothing', async () => {
  const { gitDir, tip } = repository();
  await setRef(gitDir, 'refs/bases/x', tip);
  expect(await pointsTo(gitDir, 'refs/bases/x', tip)).toBe(true);
  writeFileSync(join(gitDir, 'refs/bases/x'), '');
  expect(await pointsTo(gitDir, 'refs/bases/x', tip)).toBe(false);
  expect(await pointsTo(gitDir, 'refs/bases/none', tip)).toBe(false);
});
