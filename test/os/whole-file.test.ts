import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { wholeFile } from '../../src/os/whole-file.ts';
import { tempFolder } from './support.ts';

test('a file that could not be written in full is not there, and the one before it stays', async () => {
  const path = join(tempFolder(), 'file');
  const halfway = async (unfinished: string) => {
    writeFileSync(unfinished, 'half');
    throw new Error('no space');
  };
  await expect(wholeFile(path, halfway)).rejects.toThrow('no space');
  expect(readdirSync(dirname(path))).toEqual([]);
  await wholeFile(path, async unfinished => writeFileSync(unfinished, 'whole'));
  await expect(wholeFile(path, halfway)).rejects.toThrow('no space');
  expect(readdirSync(dirname(path))).toEqual(['file']);
  expect(readFileSync(path, 'utf8')).toBe('whole');
});
