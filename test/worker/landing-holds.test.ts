/** How long a target is left alone on which nothing can land. */
import { describe, expect, test } from 'vitest';
import { CellpoolError, type ErrorCode } from '../../src/errors.ts';
import { Holds } from '../../src/worker/landing-holds.ts';

const error = (code: ErrorCode, facts = {}) =>
  new CellpoolError(code, `${code} it is`, { hint: 'Do something.', facts });
const moved = error('COMMIT_FAILED', { expected: 'a', found: 'b' });

describe('a target', () => {
  test('is looked at again soon where a person may switch a branch, and the reason is told once', () => {
    const holds = new Holds();
    expect(holds.hold('m', error('BRANCH_CHECKED_OUT'), 0)).toBe('BRANCH_CHECKED_OUT it is. Do something.');
    expect(holds.hold('m', error('BRANCH_CHECKED_OUT'), 1_000)).toBeNull();
    expect(holds.of('m')).toMatchObject({ code: 'BRANCH_CHECKED_OUT', forPerson: true, since: 0 });
    expect([holds.isHeld('m', 3_999), holds.isHeld('m', 4_000)]).toEqual([true, false]);
  });

  test('is looked at less and less often where that costs a run of the tests, up to 10 minutes', () => {
    const holds = new Holds();
    const waits = Array.from({ length: 8 }, (_, at) => {
      const now = at * 3_600_000;
      holds.hold('m', error('TARGET_RED'), now);
      let waited = 0;
      while (holds.isHeld('m', now + waited)) waited += 30_000;
      return waited / 60_000;
    });
    expect(waits).toEqual([0.5, 1, 2, 4, 8, 10, 10, 10]);
  });

  test('that somebody else has moved is tried again at once, and only the third time in a row later', () => {
    const holds = new Holds();
    for (const luck of [moved, error('BRANCH_TAKEN')]) {
      expect(holds.hold('m', luck, 0)).toBeNull();
      expect(holds.isHeld('m', 0)).toBe(false);
    }
    expect(holds.hold('m', error('FENCED'), 0)).toContain('FENCED');
    expect(holds.isHeld('m', 0)).toBe(true);
    expect(holds.of('m')?.forPerson).toBe(false);
  });

  test('is free once something went well there, whatever was before', () => {
    const holds = new Holds();
    holds.hold('m', moved, 0);
    holds.hold('m', error('TARGET_RED'), 0);
    expect(holds.lift('m')).toBe(true);
    expect(holds.lift('m')).toBe(false);
    expect([holds.of('m'), holds.isHeld('m', 0)]).toEqual([null, false]);
    expect(holds.hold('m', moved, 0)).toBeNull();
  });

  test('that git does not move although nobody else has is no bad luck, and a matter for a person when that lasts', () => {
    const holds = new Holds();
    const locked = error('COMMIT_FAILED', { args: ['update-ref'] });
    expect(holds.hold('m', locked, 0)).toContain('COMMIT_FAILED');
    expect([holds.isHeld('m', 29_999), holds.isHeld('m', 30_000)]).toEqual([true, false]);
    for (let times = 2; times < 4; times += 1) holds.hold('m', locked, 0);
    expect(holds.of('m')?.forPerson).toBe(false);
    holds.hold('m', locked, 0);
    expect(holds.of('m')?.forPerson).toBe(true);
  });
});
