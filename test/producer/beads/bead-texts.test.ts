import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { attemptComment, closeReason, endComment, notClosedComment } from '../../../src/producer/beads/bead-texts.ts';
import { hasMark, isBeadId, isOurs, markOf } from '../../../src/producer/beads/names.ts';
import { printable } from '../../../src/producer/source/printable.ts';
import type { Note } from '../../../src/producer/source/task-source.ts';
import { anyText } from './support.ts';

/** As Beads has them (`FailureCloseKeywords` of 1.3.0): a reason with one of these is that of a failure. */
const FAILURE_WORDS = [
  ...['failed', 'rejected', 'wontfix', "won't fix", 'canceled', 'cancelled', 'abandoned', 'blocked', 'error'],
  ...['timeout', 'aborted'],
];
const common = { item: 'p-1', taskId: 'p-1', key: 'k' };
const done = (branch: string, commit = '0123abcdef'): Note & { kind: 'done' } => ({
  ...common,
  kind: 'done',
  attempt: 1,
  commit,
  branch,
});

describe('the reason of a close', () => {
  test('names commit and branch', () => {
    expect(closeReason(done('cellpool/p-1'))).toBe('Done by cellpool: commit 0123abcdef on branch cellpool/p-1.');
  });

  test('is never one of a failure, whatever the branch is called, and always names the commit', () => {
    const name = fc.tuple(fc.string(), fc.constantFrom('', ...FAILURE_WORDS, 'TimeOut', 'ERROR'), fc.string());
    fc.assert(
      fc.property(
        name,
        fc.string({ unit: fc.constantFrom(...'0123456789abcdef'), minLength: 40, maxLength: 40 }),
        (parts, commit) => {
          const reason = closeReason(done(parts.join(''), commit));
          for (const word of FAILURE_WORDS) expect(reason.toLowerCase()).not.toContain(word);
          expect(reason).toContain(commit);
        },
      ),
    );
  });
});

describe('a comment', () => {
  const failed: Note & { kind: 'failed' } = { ...common, kind: 'failed', attempt: 3, outcome: 'stalled', message: '' };

  test('begins with a mark by which it is found again, and by no other', () => {
    const text = endComment('k3x9', failed);
    expect(text).toBe(
      '[cellpool pool=k3x9 job=p-1 attempt=3 note=k] Given up after attempt 3, which ended stalled. ' +
        'Take the label cellpool-failed away to have it tried again.',
    );
    expect(hasMark(text, 'k3x9', failed)).toBe(true);
    expect(hasMark(text, 'k3x9', { ...failed, key: 'kk' })).toBe(false);
    expect(hasMark(text, 'k3x9', { ...failed, taskId: 'p-1-g2' })).toBe(false);
    expect(hasMark(text, 'other', failed)).toBe(false);
    expect(hasMark(`said before: ${text}`, 'k3x9', failed)).toBe(false);
    expect(isOurs(text)).toBe(true);
    expect(isOurs('[cellpoolish] hello')).toBe(false);
  });

  test.each(['claim', 'attempt:1', 'a key with ] and more', '', 'ä', 'x'.repeat(500)])('is found by key %j', key => {
    const note = { taskId: 'p-1', attempt: 1, key };
    const mark = markOf('k3x9', note);
    expect(hasMark(`${mark} hello`, 'k3x9', note)).toBe(true);
    expect(hasMark(`${mark} hello`, 'k3x9', { ...note, key: `${key}x` })).toBe(false);
    expect(mark.indexOf(']')).toBe(mark.length - 1);
  });

  test('holds the end of a long message, without what a terminal would act on', () => {
    const message = `${'line\r\n'.repeat(5_000)}\u001b[31mred\u001b[0m\u0007 end`;
    const text = attemptComment('k3x9', { ...common, kind: 'attempt', attempt: 1, outcome: 'reverted', message });
    expect(text).toMatch(/ {4}\[\d+ characters left out\]\n/);
    expect(text).toMatch(/\n {4}red end$/);
    expect(text.length).toBeLessThan(20_000);
  });

  test('of a landing that is refused tells where the work stays, and why', () => {
    const text = endComment('k3x9', { ...done('cellpool/p-1'), kind: 'not-landed', message: 'expected 3' });
    expect(text).toMatch(
      /stays on its branch: commit 0123abcdef on branch cellpool\/p-1\. .* cellpool-not-landed away/,
    );
    expect(text).toMatch(/\n {4}expected 3$/);
  });

  test('of a close that is refused tells where the work is, and why', () => {
    const text = notClosedComment('k3x9', done('cellpool/p-1'), 'cannot close issue with open children');
    expect(text).toMatch(
      /commit 0123abcdef on branch cellpool\/p-1[\s\S]*\n {4}cannot close issue with open children$/,
    );
  });
});

test.each(['p-a1', 'bd-a1b2.3', 'my_app-1', 'A-1'])('%j is an id of a bead', id => expect(isBeadId(id)).toBe(true));
test.each(['', '-p', '--help', 'a b', 'p-1\n', 'p/1', '$(x)', 'a'.repeat(201), 'ü-1'])('%j is none', id => {
  expect(isBeadId(id)).toBe(false);
});

test('what is printed keeps its words, and no control character', () => {
  fc.assert(
    fc.property(anyText(), text => {
      const clean = printable(text);
      expect(clean).not.toMatch(/(?![\n\t])\p{Cc}|\p{Surrogate}/u);
      expect(printable(clean)).toBe(clean);
    }),
  );
  expect(printable('\u001b]0;title\u0007a\u001b[1;31mb\u001b[0m\r\nc')).toBe('ab\nc');
});
