import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { removeTree } from '../../src/os/remove-tree.ts';
import { tempFolder, writeFiles } from '../support/repository.ts';

/** Paths that no system call takes: whoever makes them goes down step by step. */
function makeDeep(folder: string, levels: number): void {
  const name = 'd'.repeat(200);
  const program = `for (let n = 0; n < ${levels}; n += 1) { fs.mkdirSync('${name}'); process.chdir('${name}'); } fs.writeFileSync('file', 'x')`;
  execFileSync(process.execPath, ['-e', program], { cwd: folder });
}

test('a tree deeper than any path can tell is removed, and what its links point to is not', async () => {
  const folder = tempFolder('tree');
  writeFiles(folder, { 'outside/precious': 'p', 'tree/plain': 'x' });
  const tree = join(folder, 'tree');
  symlinkSync(join(folder, 'outside'), join(tree, 'link'));
  // Three times as deep as the longest path, and twice, so that one is met again when the other has been moved.
  makeDeep(tree, 60);
  mkdirSync(join(tree, 'more'));
  makeDeep(join(tree, 'more'), 40);
  await removeTree(tree);
  expect(existsSync(tree)).toBe(false);
  expect(readdirSync(join(folder, 'outside'))).toEqual(['precious']);
});

test('locked folders of any name are removed', async () => {
  const tree = join(tempFolder('tree'), 'tree');
  mkdirSync(tree);
  const odd = Buffer.concat([Buffer.from(`${tree}/`), Buffer.from([0xff, 0xfe])]);
  try {
    mkdirSync(odd);
  } catch {
    process.stderr.write('names that are no text cannot be had here\n');
    mkdirSync(join(tree, 'odd'));
  }
  for (const name of readdirSync(tree, { encoding: 'buffer' })) {
    const path = Buffer.concat([Buffer.from(`${tree}/`), name]);
    writeFileSync(Buffer.concat([path, Buffer.from('/file')]), 'x');
    chmodSync(path, 0o000);
  }
  chmodSync(tree, 0o500);
  await removeTree(tree);
  await removeTree(tree);
  expect(existsSync(tree)).toBe(false);
});
