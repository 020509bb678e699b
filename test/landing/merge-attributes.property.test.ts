/** Attributes for a merge without a working copy are what git reads in one, path by path. */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { takeMergeAttributes } from '../../src/landing/merge-attributes.ts';
import { git, gitWith, makeRepository, tempFolder, writeFiles } from '../support/repository.ts';

/** Folders and names that mean something in a pattern, in an attributes file or in an argument. */
const FOLDERS = [
  '',
  'sub',
  'sub/deep',
  'sub/deep/er',
  's p',
  '[x]',
  'a*b',
  'a?b',
  'back\\slash',
  '!not',
  '#no',
  'ü',
  'q"q',
];
const NAMES = ['a.txt', 'b.txt', 'c', '.txt', 'sub', '!not', '#no', 's p', '[x]', 'a*b', 'axb', 'q"q', 'ü'];
const PATHS = FOLDERS.flatMap(folder => NAMES.map(name => (folder === '' ? name : `${folder}/${name}`))).filter(
  path => !FOLDERS.includes(path),
);

const word = fc.constantFrom(
  ...[
    '*',
    '**',
    '?',
    'a',
    'b',
    '.txt',
    'sub',
    'deep',
    '[x]',
    '[a-b]',
    '[^a]',
    '\\*',
    '\\!not',
    'a*b',
    '#no',
    '!not',
    'ü',
  ],
);
const plain = fc
  .tuple(
    fc.constantFrom('', '', '/', '**/'),
    fc.array(word, { minLength: 1, maxLength: 3 }),
    fc.constantFrom('', '/', '/**'),
  )
  .chain(([begin, words, end]) => fc.constantFrom('', '/', '/**/').map(between => begin + words.join(between) + end))
  // What git makes of two stars that end a name depends on what is before them, not on the folder alone.
  .filter(pattern => !/[^/*]\*\*|\*\*[^/*]|\*{3}/.test(pattern));
const inQuotes = fc.constantFrom(
  '"s p"',
  '"s p/*"',
  '"q\\"q"',
  '"\\303\\274"',
  '"\\141.txt"',
  '"s\\040p/a.txt"',
  '"open',
  '"#no"',
);
const pattern = fc.oneof({ weight: 4, arbitrary: plain }, inQuotes);
const attribute = fc.constantFrom(
  ...['merge', '-merge', '!merge', 'merge=union', 'merge=binary', 'merge=text', 'merge=prog', 'merge=', '-merge=x'],
  ...['binary', '-binary', '!binary', 'binary=x', 'mine', '-mine', 'mine=1', 'text', 'eol=lf', 'bad/name', '--merge'],
);
const line = fc.oneof(
  {
    weight: 8,
    arbitrary: fc
      .tuple(
        fc.constantFrom('', ' ', '\t'),
        pattern,
        fc.array(attribute, { maxLength: 3 }),
        fc.constantFrom('', '\r', ' '),
      )
      .map(([before, matched, said, after]) => `${before}${[matched, ...said].join(' ')}${after}`),
  },
  {
    weight: 2,
    arbitrary: fc.constantFrom('[attr]mine -merge', '* mine', '*.txt mine', '* binary -merge', '* -binary'),
  },
  fc.constantFrom(
    '# * -merge',
    '',
    '[attr]mine -merge',
    '[attr]mine merge=union text',
    '[attr]binary text',
    '[attr] -merge',
  ),
);
const fileIn = fc.tuple(
  fc.oneof(fc.constant(''), fc.constantFrom(...FOLDERS)),
  fc.constantFrom('', '\ufeff'),
  fc.array(line, { minLength: 1, maxLength: 4 }),
);

test('every path is merged by what git says in a working copy, whatever patterns there are in whatever folders', async () => {
  const folder = tempFolder('attributes');
  const top = makeRepository(join(folder, 'source'));
  const gitDir = join(folder, 'ground.git');
  git(folder, 'init', '--quiet', '--bare', '--template=', gitDir);
  mkdirSync(join(gitDir, 'info'), { recursive: true });
  writeFiles(gitDir, { 'objects/info/alternates': `${join(top, '.git', 'objects')}\n` });
  const asked = Buffer.from(PATHS.map(path => `${path}\0`).join(''));
  const saidIn = (place: string) => {
    const fields = gitWith(asked, place, 'check-attr', '-z', '--stdin', 'merge').split('\0');
    return new Map(PATHS.map((path, at) => [path, fields[3 * at + 2]]));
  };
  await fc.assert(
    fc.asyncProperty(fc.uniqueArray(fileIn, { selector: ([where]) => where, maxLength: 4 }), async files => {
      const places = files.map(([where]) => join(where, '.gitattributes'));
      writeFiles(
        top,
        Object.fromEntries(files.map(([, mark, lines], at) => [places[at], `${mark}${lines.join('\n')}\n`])),
      );
      git(top, 'add', '--all', '--force', '.');
      const tree = git(top, 'write-tree');
      const expected = saidIn(top);
      for (const place of places) rmSync(join(top, place));
      rmSync(join(gitDir, 'info', 'attributes'), { force: true });
      await takeMergeAttributes(gitDir, tree);
      // Git knows no driver of another name, and then merges as text.
      const known = (said = '') => (/^(set|unset|unspecified|union|binary|text)$/.test(said) ? said : 'text');
      const found = saidIn(gitDir);
      for (const path of PATHS) expect([path, found.get(path)]).toEqual([path, known(expected.get(path))]);
    }),
    { numRuns: 80 },
  );
}, 120_000);
