import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { prepareConfigFolder } from '../../src/cell/config-folder.ts';
import { pictureOf, tempFolder } from '../support/repository.ts';

test('the config folder holds the plugin package at the version of opencode, so that no server installs it', async () => {
  const home = tempFolder('home');
  const folder = await prepareConfigFolder(home, '1.2.3');
  const json = (path: string) => JSON.parse(readFileSync(join(folder, 'opencode', path), 'utf8'));
  expect(json('package.json')).toEqual({ dependencies: { '@opencode-ai/plugin': '1.2.3' } });
  expect(json('node_modules/@opencode-ai/plugin/package.json')).toMatchObject({ version: '1.2.3' });
  expect(json('package-lock.json').packages['node_modules/@opencode-ai/plugin'].version).toBe('1.2.3');
});

test('it is made once: the second time nothing in it is touched', async () => {
  const home = tempFolder('home');
  const folder = await prepareConfigFolder(home, '1.2.3');
  writeFileSync(join(folder, 'opencode', 'mark'), 'kept');
  const before = pictureOf(home);
  expect(await prepareConfigFolder(home, '1.2.3')).toBe(folder);
  expect(pictureOf(home)).toEqual(before);
});

test('each version has its own, and a strange version makes no path', async () => {
  const home = tempFolder('home');
  const folders = await Promise.all(['1.2.3', '1.2.4', '1.2.4-beta/../x y'].map(one => prepareConfigFolder(home, one)));
  expect(new Set(folders).size).toBe(3);
  expect(readdirSync(join(home, 'opencode-config')).sort()).toEqual(['1.2.3', '1.2.4', '1.2.4-beta_.._x_y']);
});

test('twenty workers that prepare it at once share one, and leave no drafts', async () => {
  const home = tempFolder('home');
  const folders = await Promise.all(Array.from({ length: 20 }, () => prepareConfigFolder(home, '1.2.3')));
  expect(new Set(folders).size).toBe(1);
  expect(readdirSync(join(home, 'opencode-config'))).toEqual(['1.2.3']);
});

test('a state folder that cannot hold it is an error, not a server without a config', async () => {
  const home = tempFolder('home');
  mkdirSync(join(home, 'opencode-config'));
  writeFileSync(join(home, 'file'), '');
  await expect(prepareConfigFolder(join(home, 'file'), '1.2.3')).rejects.toThrow('ENOTDIR');
});
