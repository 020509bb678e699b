/** One candidate on which git chokes keeps nobody else from landing, and a host that fails refuses nobody. */
import { expect, test } from 'vitest';
import { CellpoolError } from '../../src/errors.ts';
import { Doubts } from '../../src/worker/landing-doubts.ts';
import { landingJobOf } from '../support/shown-landings.ts';

const choking = new CellpoolError('GIT_FAILED', 'git merge-tree: bad object');
const waiting = ['a', 'b'].map(id => ({ id, data: landingJobOf(id) }));
const ids = (doubts: Doubts) => doubts.among(waiting).map(({ id }) => id);

function failing(doubts: Doubts, id: string, times: number): void {
  for (let time = 0; time < times; time += 1) doubts.failed(id, choking);
}

test('after a failure that is no verdict candidates are tried one by one, and together again when that is over', () => {
  const doubts = new Doubts();
  expect(doubts.batch(5)).toBe(5);
  doubts.failed('a', choking);
  expect(doubts.batch(5)).toBe(1);
  doubts.over();
  expect(doubts.batch(5)).toBe(5);
});

test('one on which it fails again and again is passed over, and given up when another one gets through', () => {
  const doubts = new Doubts();
  failing(doubts, 'a', 4);
  expect(ids(doubts)).toEqual(['b']);
  expect(doubts.of('a')).toBeNull();
  doubts.over();
  expect(doubts.of('a')).toContain('bad object');
  expect([ids(doubts), doubts.of('b')]).toEqual([['a', 'b'], null]);
});

test('where all of them fail it is the host that does: nobody is given up, and they are tried from the first one on', () => {
  const doubts = new Doubts();
  failing(doubts, 'a', 4);
  failing(doubts, 'b', 3);
  expect(ids(doubts)).toEqual(['a', 'b']);
  doubts.over();
  expect([doubts.of('a'), doubts.of('b')]).toEqual([null, null]);
});

test('a target that is held up for a reason of its own says nothing of those that wait', () => {
  const doubts = new Doubts();
  for (let time = 0; time < 20; time += 1)
    doubts.failed('a', new CellpoolError('BRANCH_CHECKED_OUT', 'somebody is on it'));
  expect([doubts.batch(5), ids(doubts)]).toEqual([5, ['a', 'b']]);
});
