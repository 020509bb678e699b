/** One search of a work tree tells what git would wait for, and whether there is a repository in it. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { refusePipes } from '../../src/git/pipes.ts';
import { bytesOf } from '../support/byte-tree.ts';
import { git, makeRepository, tempFolder, writeFiles } from '../support/repository.ts';

const FOUND = { sawAll: true, mayNest: true };
const pipe = (path: string) => execFileSync('mkfifo', [path]);

test('no repository is said to be there when there is none but that of the top', async () => {
  const top = makeRepository(tempFolder());
  writeFiles(top, { 'a/.gitignore': 'x\n', 'a/.git-not': 'x', 'b.git/HEAD': 'x' });
  pipe(`${top}/a/pipe`);
  expect(await refusePipes(top)).toEqual({ sawAll: true, mayNest: false });
});

test.each(['a', 'deep/er/a', '.hidden', 'line\nbreak'])('a repository in %j is told of', async folder => {
  const top = makeRepository(tempFolder());
  makeRepository(`${top}/${folder}`);
  pipe(`${top}/harmless`);
  expect(await refusePipes(top)).toEqual(FOUND);
});

test('an empty folder of that name, a file and a link are told of, in whatever letters', async () => {
  for (const make of [
    (path: string) => mkdirSync(path),
    (path: string) => writeFileSync(path, 'gitdir: ../.git\n'),
    (path: string) => symlinkSync('../.git', path),
  ]) {
    for (const name of ['.git', '.GIT', '.Git']) {
      const top = makeRepository(tempFolder());
      mkdirSync(`${top}/in`);
      make(`${top}/in/${name}`);
      expect(await refusePipes(top)).toEqual(FOUND);
    }
  }
});

test('a file that leads git elsewhere is not taken for a folder because of its neighbours with odd names', async () => {
  const top = tempFolder();
  git(top, 'init', '--quiet');
  for (const name of ['x\x80', 'x\x81', 'x\x82']) {
    const folder = Buffer.concat([Buffer.from(`${top}/`), bytesOf(name)]);
    mkdirSync(folder);
    writeFileSync(Buffer.concat([folder, Buffer.from('/.git')]), 'gitdir: ../elsewhere\n');
  }
  expect(await refusePipes(top)).toEqual(FOUND);
  mkdirSync(`${top}/elsewhere`);
  pipe(`${top}/elsewhere/HEAD`);
  await expect(refusePipes(top)).rejects.toMatchObject({
    code: 'COMMIT_FAILED',
    message: expect.stringContaining('"elsewhere/HEAD"'),
  });
});
