/** Links read from an index file are those that git itself lists there. */
import { execFileSync } from 'node:child_process';
import { readFileSync, renameSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { GITLINK, indexInfo, parseIndex } from '../../src/git/commands.ts';
import { linksOfIndex, parseLinks } from '../../src/git/index-file.ts';
import { git, gitWith, makeRepository, tempFolder, writeFiles } from '../support/repository.ts';

const NAMES = [
  'lib',
  'a/deep one',
  'line\nbreak',
  'caf\xe9',
  ...Array.from({ length: 9 }, (_, n) => 'x'.repeat(n + 1)),
];

/** A repository whose index has links of every length modulo eight among ordinary files. */
function prepare(format: 'sha1' | 'sha256') {
  const top = makeRepository(
    join(tempFolder(), 'source'),
    { 'a.txt': 'a\n', 'z.txt': 'z\n' },
    `--object-format=${format}`,
  );
  const id = git(top, 'rev-parse', 'HEAD');
  const links = NAMES.map(path => ({ mode: GITLINK, id, path }));
  gitWith(Buffer.from(indexInfo(links), 'latin1'), top, 'update-index', '-z', '--index-info');
  const index = join(top, '.git/index');
  const asked = () => {
    const listed = execFileSync('git', ['ls-files', '-s', '-z'], { cwd: top, encoding: 'latin1' });
    return parseIndex(listed).filter(entry => entry.mode === GITLINK);
  };
  return { top, index, asked };
}

describe.each(['sha1', 'sha256'] as const)('of an index with ids of %s', format => {
  test('all links are found, and nothing else', async () => {
    const { index, asked } = prepare(format);
    expect(asked()).toHaveLength(NAMES.length);
    expect(await linksOfIndex(index, format)).toEqual(asked());
  });

  test('they are found among entries that say more of themselves, and trees that git has written down', async () => {
    const { top, index, asked } = prepare(format);
    writeFiles(top, { 'b.txt': 'b\n' });
    git(top, 'add', '--intent-to-add', 'b.txt');
    git(top, 'update-index', '--skip-worktree', 'a.txt');
    git(top, 'write-tree');
    expect(readFileSync(index).readUInt32BE(4)).toBe(3);
    expect(await linksOfIndex(index, format)).toEqual(asked());
  });

  test('one that is cut off anywhere is not read as a shorter one', () => {
    const file = readFileSync(prepare(format).index);
    for (let length = 0; length < file.length; length += 1) {
      expect(parseLinks(file.subarray(0, length), format)).toBeNull();
    }
  });
});

test('an index that is written in another way is left to git', async () => {
  const { top, index } = prepare('sha1');
  const before = readFileSync(index);
  git(top, 'update-index', '--index-version', '4');
  expect(await linksOfIndex(index, 'sha1')).toBeNull();
  git(top, 'update-index', '--index-version', '2');
  expect(await linksOfIndex(index, 'sha1')).toHaveLength(NAMES.length);
  git(top, 'update-index', '--split-index');
  expect(await linksOfIndex(index, 'sha1')).toBeNull();
  expect(parseLinks(before, 'sha1')).toHaveLength(NAMES.length);
  expect(parseLinks(before, 'sha256')).toBeNull();
  expect(parseLinks(Buffer.from('something else entirely'), 'sha1')).toBeNull();
});

test('an index that is not there has no link', async () => {
  const { index } = prepare('sha1');
  renameSync(index, `${index}.away`);
  expect(await linksOfIndex(index, 'sha1')).toEqual([]);
});

test('one that is too large to be read at once is left to git, and one that is not there has none', async () => {
  const folder = tempFolder();
  const path = join(folder, 'index');
  writeFileSync(path, 'DIRC');
  truncateSync(path, 32 * 1024 * 1024 + 1);
  expect(await linksOfIndex(path, 'sha1')).toBeNull();
  expect(await linksOfIndex(join(folder, 'none'), 'sha1')).toEqual([]);
});
