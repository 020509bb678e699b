import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { addsSecret } from '../../src/cell/work-secrets.ts';
import { Redactor } from '../../src/observe/redact.ts';
import { git, makeRepository, tempFolder, writeFiles } from '../support/repository.ts';

const SECRET = 't0ken-of-the-worker';
const redactor = new Redactor([SECRET]);

/** The patch that git makes of a change to a repository that holds the secret already. */
function patchOf(files: Record<string, string>): string {
  const folder = makeRepository(join(tempFolder(), 'source'), { 'a.env': `KEY=${SECRET}\nB=1\n`, 'b.env': SECRET });
  writeFiles(folder, files);
  git(folder, 'add', '--all');
  const patch = join(folder, 'changes.diff');
  writeFileSync(patch, git(folder, 'diff', '--cached', '--binary'));
  return patch;
}

test.each([
  ['a new file', { 'new.txt': `one\ntwo ${SECRET}` }],
  ['a line in a large change', { 'large.txt': `${'text\n'.repeat(100_000)}${SECRET}\n${'text\n'.repeat(100_000)}` }],
  ['the only and very long line of a file', { 'long.txt': `${'x'.repeat(300_000)}${SECRET}${'y'.repeat(300_000)}` }],
  ['the name of a file', { [`${SECRET}.txt`]: 'x\n' }],
])('a secret in %s is found', async (_, files) => {
  expect(await addsSecret(patchOf(files), redactor)).toBe(true);
});

test.each([
  ['stands beside a change', { 'a.env': `KEY=${SECRET}\nB=2\n` }],
  ['is taken out', { 'a.env': 'B=1\n', 'b.env': 'none\n' }],
])('a secret that was there before and %s counts for nothing', async (_, files) => {
  expect(await addsSecret(patchOf(files), redactor)).toBe(false);
});
