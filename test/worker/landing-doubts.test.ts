/** One candidate on which git chokes keeps nobody else from landing. */
import { expect, test } from 'vitest';
import { CellpoolError } from '../../src/errors.ts';
import { Doubts } from '../../src/worker/landing-doubts.ts';

const choking = new CellpoolError('GIT_FAILED', 'git merge-tree: bad object');

test('after a failure that is no verdict candidates are tried one by one, and together again when that is over', () => {
  const doubts = new Doubts();
  expect(doubts.batchOn('m', 5)).toBe(5);
  doubts.failed('m', 'a', choking);
  expect([doubts.batchOn('m', 5), doubts.batchOn('other', 5)]).toEqual([1, 5]);
  doubts.over('m');
  expect(doubts.batchOn('m', 5)).toBe(5);
});

test('one on which it fails again and again by itself is given up, with the reason', () => {
  const doubts = new Doubts();
  for (let times = 0; times < 5; times += 1) {
    doubts.failed('m', 'a', choking);
    expect(doubts.of('a')).toBeNull();
  }
  doubts.failed('m', 'a', choking);
  expect(doubts.of('a')).toContain('bad object');
  expect(doubts.of('b')).toBeNull();
});

test('a target that is held up for a reason of its own says nothing of those that wait', () => {
  const doubts = new Doubts();
  const held = new CellpoolError('BRANCH_CHECKED_OUT', 'somebody works on it');
  for (let times = 0; times < 20; times += 1) doubts.failed('m', 'a', held);
  expect([doubts.batchOn('m', 5), doubts.of('a')]).toEqual([5, null]);
});
