import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import { expect, test } from 'vitest';
import { PackageCaches } from '../../src/cell/package-caches.ts';
import { pictureOf, tempFolder, writeFiles } from '../support/repository.ts';

const KIB = 1024;
const WANTED = new AbortController().signal;

/** A pool with caches for one repository, and HOMEs of cells on it. */
function setting(maxBytes?: number) {
  const home = tempFolder('pool');
  const logs: { msg: string }[] = [];
  const log = pino({ level: 'debug' }, { write: (line: string) => void logs.push(JSON.parse(line)) });
  const caches = new PackageCaches(home, { path: '/mirrors/abc' }, maxBytes);
  const folder = join(home, 'caches/abc');
  return {
    home,
    folder,
    kept: () => (existsSync(join(folder, 'files')) ? pictureOf(join(folder, 'files')) : {}),
    said: () => logs.map(({ msg }) => msg),
    give: async (ownHome = tempFolder('cell')) => {
      await caches.give(ownHome, log, WANTED);
      return ownHome;
    },
    take: (ownHome: string) => caches.take(ownHome, log),
  };
}

test('a cell begins with what the setup of another has added, and with nothing else of its HOME', async () => {
  const { give, take, kept } = setting();
  const first = await give();
  expect(readdirSync(first)).toEqual([]);
  writeFiles(first, {
    '.npm/_cacache/content-v2/ab/1': 'package',
    '.npm/_logs/debug.log': 'a token',
    '.cache/pip/http-v2/1': 'wheel',
    '.cache/opencode/models.json': '{}',
    '.npmrc': '//registry/:_authToken=secret',
  });
  await take(first);
  const second = await give();
  const { '.npm': _npm, '.cache': _cache, ...files } = pictureOf(second);
  expect(Object.keys(files).filter(path => files[path]?.startsWith('folder') === false)).toEqual([
    '.cache/pip/http-v2/1',
    '.npm/_cacache/content-v2/ab/1',
  ]);
  const before = kept();
  await take(second);
  expect(kept()).toEqual(before);
});

test('whatever a cell does to its copy, that of the pool stays as it was', async () => {
  const { give, take, kept } = setting();
  const first = await give();
  writeFiles(first, { '.npm/_cacache/index': 'good', '.npm/_cacache/doomed': 'good' });
  await take(first);
  const before = kept();
  const agents = await give();
  appendFileSync(join(agents, '.npm/_cacache/index'), 'poison');
  rmSync(join(agents, '.npm/_cacache/doomed'));
  writeFiles(agents, { '.npm/_cacache/planted': 'poison' });
  // And to the one it was taken from.
  writeFileSync(join(first, '.npm/_cacache/index'), 'poison');
  expect(kept()).toEqual(before);
  expect(readFileSync(join(await give(), '.npm/_cacache/index'), 'utf8')).toBe('good');
});

test('links, pipes and permissions that a setup command left are not taken over', async () => {
  const { give, take, kept } = setting();
  const outside = tempFolder('outside');
  writeFiles(outside, { secret: 'secret', '_cacache/secret': 'secret' });
  const first = await give();
  writeFiles(first, { '.cache/pip/plain': 'x' });
  const plant =
    'ln -s "$1" "$2/.npm"; cd "$2/.cache/pip"; ln -s "$1/secret" link; mkfifo pipe; chmod 6666 plain; chmod 6777 .';
  execFileSync('sh', ['-c', plant, 'sh', outside, first]);
  await take(first);
  expect(Object.keys(kept())).toEqual(['.cache', '.cache/pip', '.cache/pip/plain']);
  expect(kept()).toMatchObject({ '.cache/pip': 'folder 700', '.cache/pip/plain': `600 ${btoa('x')}` });
});

test('cells that end their setup at once all have theirs taken, and nothing unfinished is left', async () => {
  const { give, take, folder } = setting();
  const cells = await Promise.all(Array.from({ length: 8 }, () => give()));
  for (const [number, cell] of cells.entries()) {
    const own = Object.fromEntries(Array.from({ length: 20 }, (_, file) => [`.npm/_cacache/${number}/${file}`, 'x']));
    writeFiles(cell, { ...own, '.npm/_cacache/shared': 'the same in each of them' });
  }
  await Promise.all(cells.map(take));
  const next = join(await give(), '.npm/_cacache');
  expect(readdirSync(next).sort()).toEqual(['0', '1', '2', '3', '4', '5', '6', '7', 'shared']);
  for (const number of cells.keys()) expect(readdirSync(join(next, String(number)))).toHaveLength(20);
  expect(readdirSync(folder)).toEqual(['files']);
});

test('a cache that would outgrow its limit is begun anew with what was added last', async () => {
  const { give, take, said, folder } = setting(64 * KIB);
  const [first, second] = [await give(), await give()];
  writeFiles(first, { '.npm/_cacache/old': 'o'.repeat(40 * KIB) });
  writeFiles(second, { '.npm/_cacache/new': 'n'.repeat(40 * KIB) });
  await take(first);
  await take(second);
  expect(said()).toContain('the package caches were full: begun anew');
  expect(readdirSync(join(await give(), '.npm/_cacache'))).toEqual(['new']);
  expect(readdirSync(folder)).toEqual(['files']);
});

test('of a cell that has filled more than the limit nothing is kept, and what was there stays', async () => {
  const { give, take, said } = setting(64 * KIB);
  const [first, second] = [await give(), await give()];
  writeFiles(first, { '.npm/_cacache/little': 'x' });
  writeFiles(second, { '.npm/_cacache/much': 'x'.repeat(70 * KIB) });
  await take(first);
  await take(second);
  expect(said()).toContain('the package caches of the cell are too large to be kept');
  expect(readdirSync(join(await give(), '.npm/_cacache'))).toEqual(['little']);
});

test('what a worker left half done that died is removed after an hour, and not before', async () => {
  const { give, take, folder } = setting();
  mkdirSync(join(folder, 'old-1'), { recursive: true });
  writeFiles(folder, { 'new-1': 'half', 'new-2': 'half' });
  const longAgo = Date.now() / 1_000 - 2 * 3_600;
  for (const name of ['old-1', 'new-1']) utimesSync(join(folder, name), longAgo, longAgo);
  const cell = await give();
  writeFiles(cell, { '.cache/pip/1': 'x' });
  await take(cell);
  expect(readdirSync(folder).sort()).toEqual(['files', 'new-2']);
});

test('a cell does without when its copy cannot be made: no part of one is left, and the log says why', async () => {
  const { give, take, said } = setting();
  const first = await give();
  writeFiles(first, { '.npm/_cacache/1': 'x', '.cache/pip/1': 'x' });
  await take(first);
  const cell = tempFolder('cell');
  // A folder cannot be put in place of a file.
  writeFiles(cell, { '.cache': 'a file' });
  await give(cell);
  expect(said()).toContain('the package caches could not be given to the cell');
  expect(existsSync(join(cell, '.npm/_cacache'))).toBe(false);
});
