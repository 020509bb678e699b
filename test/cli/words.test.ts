import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  age,
  cellsInWords,
  duration,
  printable,
  printableLines,
  shorten,
  size,
  summary,
  table,
} from '../../src/cli/words.ts';
import type { AttemptResult } from '../../src/job/outcome.ts';

function result(more: Partial<AttemptResult> = {}): AttemptResult {
  return {
    taskId: 'fix-1',
    outcome: 'committed',
    attempt: 1,
    branch: 'cellpool/fix-1',
    commit: '0123456789abcdef0123456789abcdef01234567',
    filesModified: ['a.js', 'b.js'],
    tokensUsed: 1234,
    tests: { passed: true, exitCode: 0, durationMs: 5 },
    metrics: { spawnMs: 1, executionMs: 1, teardownMs: 1, totalMs: 12_345 },
    error: null,
    artifacts: '/state/artifacts/fix-1/1',
    ...more,
  };
}

const CSI = '\u009b';
const hostile = `\u001b]0;owned\u0007\u001b[31mred\u001b[2J\r\n${CSI}2K\u202egnp.exe`;

/** What may change a terminal: C0 and C1 controls but the line break, and characters that turn the direction. */
const harmful = /(?!\n)[\p{Cc}\p{Cf}]/u;

test.each([
  [-5, '0 s'],
  [59_999, '59 s'],
  [60_000, '1 min'],
  [3_599_999, '59 min'],
  [3_900_000, '1 h 05 min'],
  [86_400_000, '1 d 0 h'],
  [190_800_000, '2 d 5 h'],
])('an age of %d ms reads "%s"', (ms, text) => {
  expect(age(ms)).toBe(text);
});

test.each([
  [0, '0 B'],
  [999, '999 B'],
  [1_000, '1.0 KiB'],
  [1_536, '1.5 KiB'],
  [1_610_612_736, '1.5 GiB'],
  [5e15, '4547.5 TiB'],
])('%d bytes read "%s"', (bytes, text) => {
  expect(size(bytes)).toBe(text);
});

test('of text in several lines its lines and tabs stay, and nothing that may mean something to a terminal', () => {
  expect(printableLines(hostile)).toBe('red\ngnp.exe');
  expect(printableLines('a\tb\r\nc\rd\n')).toBe('a\tb\nc\nd\n');
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 40 }), text => {
      expect(printableLines(text)).not.toMatch(/(?![\n\t])[\p{Cc}\p{Cf}]/u);
      expect(printableLines(printableLines(text))).toBe(printableLines(text));
    }),
  );
});

describe('a duration', () => {
  test.each([
    [0, '0 ms'],
    [850.4, '850 ms'],
    [999, '999 ms'],
    [1_000, '1.0 s'],
    [12_340, '12.3 s'],
    [60_000, '1 min 00 s'],
    [245_000, '4 min 05 s'],
    [3_600_000, '60 min 00 s'],
  ])('of %d ms reads "%s"', (ms, text) => {
    expect(duration(ms)).toBe(text);
  });

  test('never shows sixty seconds, or a thousand milliseconds', () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 1e7, noNaN: true }), ms => {
        const text = duration(ms);
        expect(text).not.toMatch(/(^| )60(\.0)? s$/);
        expect(text).not.toBe('1000 ms');
      }),
    );
  });
});

describe('text from outside', () => {
  test('loses everything that a terminal would obey', () => {
    expect(printable(hostile)).toBe(']0;owned[31mred[2J 2Kgnp.exe');
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), text => {
        expect(printable(text)).not.toMatch(/[\p{Cc}\p{Cf}]/u);
      }),
    );
  });

  test('is cut at the width, with a sign that it was', () => {
    expect(shorten('abcdef', 6)).toBe('abcdef');
    expect(shorten('abcdefg', 6)).toBe('abcde…');
  });
});

describe('a table', () => {
  test('stands in columns that are as wide as their widest word', () => {
    expect(
      table(
        ['TASK', 'N'],
        [
          ['a-long-one', '1'],
          ['b', '22'],
        ],
      ),
    ).toBe('TASK        N\na-long-one  1\nb           22');
  });

  test('shows hostile words without what a terminal would obey, and keeps its columns', () => {
    const shown = table(
      ['A', 'B'],
      [
        [hostile, 'x'],
        ['a', 'y'],
      ],
    );
    expect(shown).not.toMatch(harmful);
    const [, first = '', second = ''] = shown.split('\n');
    expect(first.indexOf('x')).not.toBe(-1);
    expect(first.length).toBe(second.length);
  });
});

test('what keeps cells apart is a line, and that they work in worktrees is another', () => {
  const isolation = { level: 'sandbox', lacking: null } as const;
  expect(cellsInWords(isolation, 'clone')).toEqual(['Cells are isolated: sandbox.']);
  expect(cellsInWords(isolation, 'worktree')).toEqual([
    'Cells are isolated: sandbox.',
    expect.stringMatching(/worktrees of your repository.*refs, config and hooks/),
  ]);
});

describe('the summary', () => {
  test('has a row a task and counts the outcomes', () => {
    const text = summary([
      result(),
      result({
        taskId: 'fix-2',
        outcome: 'reverted',
        commit: null,
        tests: { passed: false, exitCode: 3, durationMs: 1 },
      }),
      result({ taskId: 'fix-3', outcome: 'no-changes', commit: null, tests: null }),
    ]);
    expect(text).toMatch(/^fix-1 +committed +1 +passed +2 +1234 +12\.3 s +0123456789$/m);
    expect(text).toMatch(/^fix-2 +reverted +1 +failed \(3\)/m);
    expect(text).toMatch(/^fix-3 +no-changes +1 +- /m);
    expect(text).toContain('3 tasks: 1 committed, 1 reverted, 1 no-changes');
  });

  test('counts the tasks that are still queued, be there an outcome or none', () => {
    expect(summary([result()], 2)).toMatch(/^1 tasks: 1 committed\n2 tasks still queued$/m);
    expect(summary([], 1)).toMatch(/^0 tasks\n1 task still queued$/m);
    expect(summary([result()])).not.toContain('queued');
  });

  test('calls what was committed without tests untested', () => {
    expect(summary([result({ tests: null })])).toMatch(/^fix-1 +committed +1 +untested /m);
  });

  test('says of a task that did not end well why, and where to look', () => {
    const error = { code: 'TESTS_FAILED', message: 'the tests failed (exit code 1): boom' };
    const text = summary([result({ outcome: 'reverted', error })]);
    expect(text).toContain('fix-1: the tests failed (exit code 1): boom\n  see /state/artifacts/fix-1/1');
  });

  test('says of what was to land what became of it, and of nothing else', () => {
    const landing = { target: 'main', commit: null, message: 'conflicts in a.js' };
    const landed = result({ landing: { ...landing, state: 'landed' } });
    const waiting = result({ taskId: 'fix-2', landing: { ...landing, state: 'waiting' } });
    const text = summary([landed, waiting, result({ taskId: 'fix-3' })]);
    expect(text).toMatch(/^fix-1 .* landed$/m);
    expect(text).toMatch(/^fix-3 .* -$/m);
    expect(text).toContain('3 tasks: 3 committed; 1 landed, 1 waiting');
    expect(text).toContain('fix-2: not on main: conflicts in a.js');
    expect(text).not.toContain('fix-1: not on');
    expect(summary([result()])).not.toContain('LANDING');
  });

  test('calls tests that were killed killed', () => {
    expect(
      summary([result({ outcome: 'reverted', tests: { passed: false, exitCode: null, durationMs: 1 } })]),
    ).toContain('failed (killed)');
  });

  test('passes on nothing of a hostile job that a terminal would obey', () => {
    const error = { code: 'INTERNAL', message: hostile };
    const bad = result({ taskId: hostile, outcome: 'failed', commit: hostile, artifacts: hostile, error });
    expect(summary([bad])).not.toMatch(harmful);
  });
});
