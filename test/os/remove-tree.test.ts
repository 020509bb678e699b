import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { removeTree } from '../../src/os/remove-tree.ts';
import { BOUND } from '../support/bound.ts';
import { tempFolder, writeFiles } from '../support/repository.ts';

/** Paths that no system call takes: whoever makes them goes down step by step. */
function makeDeep(folder: string, levels: number): void {
  const name = 'd'.repeat(200);
  const program = `for (let n = 0; n < ${levels}; n += 1) { fs.mkdirSync('${name}'); process.chdir('${name}'); } fs.writeFileSync('file', 'x')`;
  execFileSync(process.execPath, ['-e', program], { cwd: folder });
}

/** With and without somebody who may stop it. */
const signals = [
  ['by who cannot be stopped', undefined],
  ['by who may be stopped', new AbortController().signal],
] as const;

test.each(signals)(
  'a tree deeper than any path can tell is removed, and what its links point to is not, %s',
  async (_, signal) => {
    const folder = tempFolder('tree');
    writeFiles(folder, { 'outside/precious': 'p', 'tree/plain': 'x' });
    const tree = join(folder, 'tree');
    symlinkSync(join(folder, 'outside'), join(tree, 'link'));
    // Three times as deep as the longest path, and twice, so that one is met again when the other has been moved.
    makeDeep(tree, 60);
    mkdirSync(join(tree, 'more'));
    makeDeep(join(tree, 'more'), 40);
    await removeTree(tree, signal);
    expect(existsSync(tree)).toBe(false);
    expect(readdirSync(join(folder, 'outside'))).toEqual(['precious']);
  },
);

test.each(signals)('a link is removed and not what it points to, and so is a file, %s', async (_, signal) => {
  const folder = tempFolder('tree');
  writeFiles(folder, { 'outside/precious': 'p', file: 'x' });
  symlinkSync(join(folder, 'outside'), join(folder, 'link'));
  await removeTree(join(folder, 'link'), signal);
  await removeTree(join(folder, 'file'), signal);
  expect(readdirSync(folder)).toEqual(['outside']);
  expect(readdirSync(join(folder, 'outside'))).toEqual(['precious']);
});

test('who is told to stop removes nothing more, says so, and whoever goes on removes the rest', async () => {
  const tree = join(tempFolder('tree'), 'tree');
  const folders = Array.from({ length: 20 }, (_, at) => join(tree, 'below', String(at)));
  for (const folder of folders) {
    mkdirSync(folder, { recursive: true });
    for (let at = 0; at < 200; at++) writeFileSync(join(folder, String(at)), '');
  }
  const filesLeft = () => readdirSync(tree, { recursive: true }).length;
  const all = filesLeft();
  const stop = new AbortController();
  const removal = removeTree(tree, stop.signal);
  await vi.waitFor(() => expect(filesLeft()).toBeLessThan(all), { ...BOUND, interval: 1 });
  stop.abort(new Error('enough'));
  await expect(removal).rejects.toThrow('enough');
  const left = filesLeft();
  expect(left).toBeGreaterThan(0);
  // Already stopped, it does not begin.
  await expect(removeTree(tree, stop.signal)).rejects.toThrow('enough');
  expect(filesLeft()).toBe(left);
  await removeTree(tree);
  expect(existsSync(tree)).toBe(false);
});

test.each(signals)('locked folders of any name are removed, %s', async (_, signal) => {
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
  await removeTree(tree, signal);
  await removeTree(tree, signal);
  expect(existsSync(tree)).toBe(false);
});
