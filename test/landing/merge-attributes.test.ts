/** Merges without a working copy go by `.gitattributes` as those in one do, and start nobody's programs. */
import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { openSource } from '../../src/git/source.ts';
import { openGround, stackOn } from '../../src/landing/ground.ts';
import { mergeAttributes, takeMergeAttributes } from '../../src/landing/merge-attributes.ts';
import { plainGit } from '../support/remote.ts';
import { commitAll, type Files, git, makeRepository, tempFolder, writeFiles } from '../support/repository.ts';

const author = { name: 'Pool', email: 'pool@example.com' };
/** Long enough for edits at both its ends to be merged as text. */
const BODY = Array.from({ length: 9 }, (_, n) => `${n}\n`).join('');

interface Merged {
  tree: string | null;
  conflicts: string[];
}

/**
 * A branch merged onto a target, in a working copy by the user's git and as landing does it. `both`: files that the two
 * change in the same place; `apart`: in places that are far from each other.
 */
async function mergedBothWays(
  attributes: Files,
  { both = [], apart = [] }: { both?: string[]; apart?: string[] },
  prepare: (top: string) => void = () => undefined,
): Promise<{ there: Merged; here: Merged; top: string }> {
  const folder = tempFolder('attributes');
  const all = [...both, ...apart];
  const files = (text: string, of = all) => Object.fromEntries(of.map(path => [path, text]));
  const top = makeRepository(join(folder, 'source'), { ...attributes, ...files(BODY) });
  for (const [key, value] of Object.entries({ name: 'Test', email: 'test@example.com' })) {
    git(top, 'config', `user.${key}`, value);
  }
  prepare(top);
  commitAll(top);
  git(top, 'switch', '--quiet', '-c', 'cellpool/a');
  writeFiles(top, { ...files(`${BODY}a\n`, both), ...files(`${BODY}a\n`, apart) });
  const commit = commitAll(top);
  git(top, 'switch', '--quiet', 'main');
  writeFiles(top, { ...files(`${BODY}main\n`, both), ...files(`main\n${BODY}`, apart) });
  const tip = commitAll(top);
  const lender = await openSource(top);
  const ground = await openGround({ tip, gitDir: join(folder, 'ground.git'), lenders: [lender], author });
  const state = await stackOn(ground, { tip, commit: tip, candidates: [] }, { taskId: 'a', commit });
  const here =
    'commit' in state
      ? { tree: git(ground.gitDir, 'rev-parse', `${state.commit}^{tree}`), conflicts: [] }
      : { tree: null, conflicts: state.conflicts };
  const isClean = plainGit(top, 'merge', '--quiet', '--no-edit', 'cellpool/a') === 0;
  const conflicts = git(top, 'diff', '--name-only', '--diff-filter=U', '-z')
    .split('\0')
    .filter(path => path !== '');
  return { here, there: { tree: isClean ? git(top, 'rev-parse', 'HEAD^{tree}') : null, conflicts }, top };
}

describe('a merge comes to what git merge comes to', () => {
  test('where both sides are to be kept', async () => {
    const { here, there } = await mergedBothWays(
      { '.gitattributes': 'CHANGELOG.md merge=union\n' },
      {
        both: ['CHANGELOG.md', 'sub/CHANGELOG.md'],
      },
    );
    expect(here).toEqual(there);
    expect(here.conflicts).toEqual([]);
  });

  test('where a file is not to be merged', async () => {
    const attributes = '*.gen -merge\n*.bin binary\n*.lock merge=binary\n*.gen.txt merge\n';
    const apart = ['a.gen', 'b.bin', 'c.lock', 'd.gen.txt', 'e.txt'];
    const { here, there } = await mergedBothWays({ '.gitattributes': attributes }, { apart });
    expect(here).toEqual(there);
    expect(here.conflicts).toEqual(['a.gen', 'b.bin', 'c.lock']);
  });

  test('where folders say it, each for what lies in it', async () => {
    const { here, there } = await mergedBothWays(
      {
        '.gitattributes': '*.txt -merge\n',
        'docs/.gitattributes': '*.txt merge=union\n/top.md merge=union\n',
        'docs/deep/.gitattributes': '*.txt !merge\n',
      },
      { both: ['docs/a.txt', 'docs/top.md'], apart: ['a.txt', 'docs/b.txt', 'docs/deep/a.txt', 'docs/deep/top.md'] },
    );
    expect(here).toEqual(there);
    expect(here.conflicts).toEqual(['a.txt']);
  });

  test('where the top has names for several attributes, its own or one that git has', async () => {
    const attributes =
      '[attr]kept merge=union text\n[attr]made generated -diff\n[attr]generated -merge\n*.md kept\n*.gen made\n*.no -kept\n';
    const both = ['a.md', 'b.no', 'sub/c.md'];
    const { here, there } = await mergedBothWays(
      { '.gitattributes': attributes, 'sub/.gitattributes': '[attr]kept -merge\n*.no !made\n' },
      { both, apart: ['d.gen', 'sub/e.gen', 'f.no'] },
    );
    expect(here).toEqual(there);
    expect(here.conflicts).toEqual(['b.no', 'd.gen', 'sub/e.gen']);
    const redefined = { '.gitattributes': '[attr]binary -diff\n*.bin binary\n' };
    const plainly = await mergedBothWays(redefined, { apart: ['a.bin'] });
    expect(plainly.here).toEqual(plainly.there);
    expect(plainly.here.conflicts).toEqual([]);
  });

  test('where attributes are said by a link, or by a file in a folder of that name, which both count for nothing', async () => {
    const { here, there } = await mergedBothWays(
      { 'rules.txt': '* -merge\n', 'sub/.gitattributes/.gitkeep': '', 'sub/.gitattributes/rules': '* -merge\n' },
      { apart: ['a.txt', 'sub/a.txt'] },
      top => symlinkSync('rules.txt', join(top, '.gitattributes')),
    );
    expect(here).toEqual(there);
    expect(here.conflicts).toEqual([]);
  });
});

test('a driver of which the config says a program runs nowhere, and what it is for is merged as text', async () => {
  let mark = '';
  const drive = (top: string) => {
    mark = join(top, '..', 'ran');
    git(top, 'config', 'merge.mine.driver', `touch ${mark}`);
    git(top, 'config', 'merge.union.driver', `touch ${mark}`);
    git(top, 'config', 'filter.mine.smudge', `touch ${mark}`);
  };
  const attributes = '* merge=union filter=mine\n*.txt merge=mine\n';
  const both = ['a.txt'];
  const { here, there, top } = await mergedBothWays({ '.gitattributes': attributes }, { both }, drive);
  expect(here.conflicts).toEqual(['a.txt']);
  // The trap is a real one: with that program the two differ.
  expect(there.conflicts).toEqual([]);
  expect(existsSync(mark)).toBe(true);
  rmSync(mark);
  const ground = { gitDir: join(top, '..', 'ground.git'), lenders: [await openSource(top)], author } as const;
  const [tip, commit] = [git(top, 'rev-parse', 'main^1'), git(top, 'rev-parse', 'cellpool/a')];
  await stackOn({ ...ground }, { tip, commit: tip, candidates: [] }, { taskId: 'a', commit });
  expect(existsSync(mark)).toBe(false);
});

describe('what is written', () => {
  test('is nothing but what bears on merging', () => {
    const text =
      '# a comment\n\n*.c diff=cpp eol=lf\n*.x text merge=union -diff\n  *.y merge=prog filter=lfs\n*.z/ -merge\n';
    expect(mergeAttributes([{ folder: '', text }])).toBe('"*.x" merge=union\n"*.y" merge=text\n');
  });

  test('is nothing where nobody has said anything, or only what git passes over', () => {
    const text = '*.a -merge bad/name\n!*.b -merge\n"" -merge\n[attr]not/a/name -merge\n*.c\n';
    expect(mergeAttributes([{ folder: '', text }])).toBe('');
    expect(mergeAttributes([{ folder: 'sub', text: '[attr]mine -merge\n*.d mine\n' }])).toBe('');
    expect(mergeAttributes([{ folder: '', text: `*.e${' '.repeat(2_050)}-merge\n` }])).toBe('');
  });

  test('does not grow with files of attributes beyond measure', async () => {
    const top = makeRepository(tempFolder(), {
      '.gitattributes': 'a -merge\n',
      'big/.gitattributes': `${'b -merge\n'.repeat(600_000)}`,
      'sub/.gitattributes': 'c -merge\n',
    });
    const bare = join(tempFolder(), 'x.git');
    git(top, 'clone', '--quiet', '--bare', '--template=', top, bare);
    mkdirSync(join(bare, 'info'), { recursive: true });
    await takeMergeAttributes(bare, git(top, 'rev-parse', 'main'));
    expect(readFileSync(join(bare, 'info', 'attributes'), 'utf8')).toBe('"a" -merge\n"sub/**/c" -merge\n');
  });
});
