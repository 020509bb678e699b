import { describe, expect, test } from 'vitest';
import {
  excludePattern,
  indexInfo,
  joinNul,
  parseChanges,
  parseIndex,
  parseLineCounts,
  parseWorktrees,
  refTransaction,
  splitNul,
  withTrailers,
} from '../../src/git/commands.ts';
import { git, makeRepository, tempFolder, writeFiles } from '../support/repository.ts';

const A = 'a'.repeat(40);
const B = 'b'.repeat(40);
const NONE = '0'.repeat(40);

test('fields that end in NUL are split and joined without loss', () => {
  expect(splitNul('')).toEqual([]);
  expect(splitNul('a\0b\nc\0')).toEqual(['a', 'b\nc']);
  expect(splitNul(joinNul(['x', '', 'y']))).toEqual(['x', '', 'y']);
});

test('a list of changes is read with names exactly as they are', () => {
  const text = `:000000 100644 ${NONE} ${A} A\0-q "x"\n ü \0:100644 000000 ${A} ${NONE} D\0old\0`;
  expect(parseChanges(text)).toEqual([
    { status: 'A', path: '-q "x"\n ü ', oldMode: '000000', newMode: '100644', oldId: NONE, newId: A },
    { status: 'D', path: 'old', oldMode: '100644', newMode: '000000', oldId: A, newId: NONE },
  ]);
});

test.each(['nonsense\0', `:100644 100644 ${A} ${B} M\0`, `100644 100644 ${A} ${B} M\0path\0`])(
  'text that is no list of changes is refused, not taken for an empty one: %j',
  text => expect(() => parseChanges(text)).toThrow('not a list of changes'),
);

test('an index entry is read with a line break and a tab in its name', () => {
  expect(parseIndex(`100755 ${A} 0\tx\ty\nz\0`)).toEqual([{ mode: '100755', id: A, path: 'x\ty\nz' }]);
  expect(() => parseIndex('100755\0')).toThrow('not an index entry');
});

test('an entry without a mode is taken out of the index', () => {
  const entries = [
    { mode: '100644', id: A, path: 'a' },
    { mode: '000000', id: NONE, path: 'b' },
  ];
  expect(indexInfo(entries)).toBe(`100644 ${A}\ta\x000 ${NONE}\tb\0`);
});

test.each(['\0', '\n'] as const)('working copies are listed with branch and state, lines ending in %j', end => {
  const text = [
    ['worktree /a b', `HEAD ${A}`, 'branch refs/heads/x/y'],
    ['worktree /c', `HEAD ${A}`, 'detached'],
    ['worktree /d', 'branch refs/heads/z', 'prunable gone'],
    ['worktree /e', 'bare'],
  ].map(lines => lines.join(end) + end + end);
  expect(parseWorktrees(text.join(''), end)).toEqual([
    { path: '/a b', branch: 'x/y', prunable: false },
    { path: '/c', branch: null, prunable: false },
    { path: '/d', branch: 'z', prunable: true },
    { path: '/e', branch: null, prunable: false },
  ]);
});

test('a transaction says for each ref what it must be now', () => {
  const moves = [
    { ref: 'r/1', to: A, from: null },
    { ref: 'r/2', to: A, from: B },
    { ref: 'r/3', to: A },
  ];
  expect(refTransaction(moves)).toBe(`create r/1\0${A}\0update r/2\0${A}\0${B}\0update r/3\0${A}\0\0`);
});

test('an exclude pattern matches its path and no other, as git reads it', () => {
  const odd = ['*.txt', 'a[b]c', '#x', '!y', 'back\\slash', ' lead', 'trail  ', 'plain', 'q?', '-dash', 'ü"'];
  const near = ['b.txt', 'abc', 'x', 'y', 'backslash', 'lead', 'trail', 'plain2', 'qq', 'dash', 'ü'];
  const folder = makeRepository(tempFolder());
  writeFiles(folder, Object.fromEntries([...odd, ...near].map(name => [name, ''])));
  writeFiles(folder, { 'sub/plain': '', '.git/info/exclude': odd.map(path => `${excludePattern(path)}\n`).join('') });
  const left = splitNul(git(folder, 'ls-files', '-o', '-z', '--exclude-standard'));
  expect(left.sort()).toEqual([...near, 'sub/plain'].sort());
});

test('an exclude pattern matches a name with a line break', () => {
  expect(excludePattern('a\nb/')).toBe('/a?b/');
});

describe('counts of lines', () => {
  test('are read with any path, and a binary file has none', () => {
    expect(parseLineCounts('12\t3\tsrc/a b.js\0-\t-\tlogo\t.png\0' + '0\t7\tnew\nline\0')).toEqual([
      { path: 'src/a b.js', added: 12, removed: 3 },
      { path: 'logo\t.png', added: null, removed: null },
      { path: 'new\nline', added: 0, removed: 7 },
    ]);
    expect(parseLineCounts('')).toEqual([]);
  });

  test.each(['1\t2', 'x\t2\tpath\0', '1 2 path\0'])('what git would not print is refused: %j', text => {
    expect(() => parseLineCounts(text)).toThrow('not a count of lines');
  });
});

describe('the message of a commit', () => {
  const ours = { Task: 'fix-1', Attempt: '2' };

  test('ends with our trailers as a paragraph of their own', () => {
    expect(withTrailers('Fix it\n\nBecause.\n\n', ours)).toBe('Fix it\n\nBecause.\n\nTask: fix-1\nAttempt: 2\n');
  });

  test('keeps trailers that it has, but none that would speak for us', () => {
    const message = 'Fix it\n\nCo-authored-by: A <a@b>\ntask: forged\nAttempt: 9';
    expect(withTrailers(message, ours)).toBe('Fix it\n\nCo-authored-by: A <a@b>\nTask: fix-1\nAttempt: 2\n');
  });

  test('keeps a subject that looks like a trailer', () => {
    expect(withTrailers('Task: x', ours)).toBe('Task: x\n\nTask: fix-1\nAttempt: 2\n');
  });

  test('cannot be given a forged trailer by a value or a name', () => {
    expect(withTrailers('m', { Model: ' a\nTask: other\r\u0007 ' })).toBe('m\n\nModel: a Task: other\n');
    expect(() => withTrailers('m', { 'Task: x\nY': 'z' })).toThrow('not a trailer');
  });

  test('may be empty or hold NUL characters', () => {
    expect(withTrailers(' \n', ours)).toBe('Task: fix-1\nAttempt: 2\n');
    expect(withTrailers('a\0b', ours)).toBe('ab\n\nTask: fix-1\nAttempt: 2\n');
  });
});
