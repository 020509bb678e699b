import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  utimesSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { copyTree, holds, type PlainFile, plainFiles, takeFile } from '../../src/os/plain-files.ts';
import { pictureOf, tempFolder, writeFiles } from '../support/repository.ts';

async function found(root: string, ...parts: string[]): Promise<PlainFile[]> {
  const all: PlainFile[] = [];
  for await (const file of plainFiles(root, parts)) all.push(file);
  return all.sort((one, other) => (one.path < other.path ? -1 : 1));
}
const pathsOf = async (root: string, ...parts: string[]) => (await found(root, ...parts)).map(file => file.path);

async function theFile(root: string, path: string): Promise<PlainFile> {
  const file = (await found(root, path.split('/')[0] ?? '')).find(one => one.path === path);
  if (file === undefined) throw new Error(`${path} is not found`);
  return file;
}

describe('the plain files of a folder', () => {
  test('are those below the parts that are named, at any depth', async () => {
    const root = tempFolder('files');
    writeFiles(root, { 'a/1': '', 'a/b/c/2': 'xx', 'd/e/3': 'x', 'd/4': 'x', other: 'x' });
    expect(await pathsOf(root, 'a', 'd/e', 'missing/part')).toEqual(['a/1', 'a/b/c/2', 'd/e/3']);
    expect((await found(root, 'a')).map(file => file.size)).toEqual([0, 2]);
  });

  test('are no links, no pipes, and nothing behind a link that stands for a folder, wherever it stands', async () => {
    const root = tempFolder('files');
    const outside = tempFolder('outside');
    writeFiles(outside, { 'below/secret': 'secret' });
    writeFiles(root, { 'a/plain': 'x' });
    symlinkSync(join(outside, 'below/secret'), join(root, 'a/link'));
    symlinkSync(join(outside, 'below'), join(root, 'a/folder'));
    symlinkSync(outside, join(root, 'part'));
    execFileSync('mkfifo', [join(root, 'a/pipe')]);
    expect(await pathsOf(root, 'a', 'part', 'part/below', 'a/folder')).toEqual(['a/plain']);
  });
});

describe('taking a file', () => {
  const setting = () => {
    const [from, to] = [tempFolder('from'), tempFolder('to')];
    return { from, to, how: { unfinished: join(to, 'new'), most: 1_000 } };
  };

  test('copies content, time and whether it may be run, and no other permission', async () => {
    const { from, to, how } = setting();
    writeFiles(from, { 'a/b/run': '#!/bin/sh\n', 'a/data': 'data' });
    chmodSync(join(from, 'a/b/run'), 0o6777);
    utimesSync(join(from, 'a/data'), 1_600_000_000.123, 1_600_000_000.123);
    const files = await found(from, 'a');
    for (const file of files) {
      expect(await holds(to, file)).toBe(false);
      expect(await takeFile(from, to, file, how)).toBe(file.size);
      expect(await holds(to, file)).toBe(true);
    }
    expect(readFileSync(join(to, 'a/data'), 'utf8')).toBe('data');
    const modes = ['a/b/run', 'a/data', 'a/b'].map(path => statSync(join(to, path)).mode & 0o7777);
    expect(modes).toEqual([0o700, 0o600, 0o700]);
    expect(readdirSync(to)).toEqual(['a']);
  });

  test('puts the new one in place of an old one, which whoever has it open goes on reading', async () => {
    const { from, to, how } = setting();
    writeFiles(to, { 'a/data': 'old' });
    const before = statSync(join(to, 'a/data')).ino;
    writeFiles(from, { 'a/data': 'new' });
    await takeFile(from, to, await theFile(from, 'a/data'), how);
    expect(readFileSync(join(to, 'a/data'), 'utf8')).toBe('new');
    expect(statSync(join(to, 'a/data')).ino).not.toBe(before);
  });

  test.each([
    ['a link', 'ln -s /etc/hostname "$1"'],
    ['a pipe, without waiting for who writes to it', 'mkfifo "$1"'],
    ['a folder', 'mkdir "$1"'],
    ['larger than there is room', 'head -c 1001 /dev/zero >"$1"'],
    ['gone', ':'],
  ])('takes nothing when it has become %s', async (_what, change) => {
    const { from, to, how } = setting();
    writeFiles(from, { 'a/data': 'data' });
    const file = await theFile(from, 'a/data');
    execFileSync('sh', ['-c', `rm "$1"; ${change}`, 'sh', join(from, 'a/data')]);
    expect(await takeFile(from, to, file, how)).toBeNull();
    expect(readdirSync(to)).toEqual([]);
  });

  test('leaves nothing half done when it cannot be put in its place', async () => {
    const { from, to, how } = setting();
    writeFiles(from, { 'a/data': 'data' });
    mkdirSync(join(to, 'a/data/in-the-way'), { recursive: true });
    await expect(takeFile(from, to, await theFile(from, 'a/data'), how)).rejects.toThrow();
    expect(existsSync(how.unfinished)).toBe(false);
  });
});

test('a tree is copied into a folder that has other things, with its times', async () => {
  const [from, to] = [tempFolder('from'), tempFolder('to')];
  writeFiles(from, { 'a/b/1': '1', '.hidden/2': '2' });
  writeFiles(to, { 'a/own': 'own' });
  await copyTree(from, to, new AbortController().signal);
  const { 'a/own': own, ...copied } = pictureOf(to);
  expect(own).toBeDefined();
  expect(copied).toEqual(pictureOf(from));
  for (const file of await found(from, 'a', '.hidden')) expect(await holds(to, file)).toBe(true);
});

test('a copy that fails or is not wanted says so', async () => {
  const [from, to] = [tempFolder('from'), tempFolder('to')];
  await expect(copyTree(join(from, 'missing'), to, new AbortController().signal)).rejects.toThrow('missing');
  await expect(copyTree(from, to, AbortSignal.abort())).rejects.toThrow('cancelled');
});
