import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { ErrorCode } from '../../src/errors.ts';
import { endedWell, OUTCOMES, type Outcome } from '../../src/job/outcome.ts';
import { decide } from '../../src/worker/decide.ts';

const error = (code: string | null) => (code === null ? null : { code, message: 'why' });
const working = { attempts: 3, stopping: false };

describe('what becomes of a job after an attempt', () => {
  const rows: [Outcome, ErrorCode | null, number, ReturnType<typeof decide>][] = [
    ['committed', null, 1, 'done'],
    ['committed', null, 3, 'done'],
    ['no-changes', null, 1, 'done'],
    ['reverted', 'TESTS_FAILED', 1, 'retry'],
    ['reverted', 'TESTS_FAILED', 2, 'retry'],
    ['reverted', 'TESTS_FAILED', 3, 'give-up'],
    ['failed', 'SESSION_FAILED', 1, 'retry'],
    ['failed', 'SERVER_EXITED', 1, 'retry'],
    ['failed', 'NO_FREE_PORT', 1, 'retry'],
    ['failed', 'INTERNAL', 1, 'retry'],
    ['failed', 'PROVIDER_REFUSED', 1, 'give-up'],
    ['failed', 'NOT_A_REPOSITORY', 1, 'give-up'],
    ['failed', 'OPENCODE_MISSING', 1, 'give-up'],
    ['failed', 'BRANCH_CHECKED_OUT', 1, 'give-up'],
    ['timed-out', 'TIMED_OUT', 1, 'retry'],
    ['timed-out', 'TIMED_OUT', 3, 'give-up'],
    ['stalled', 'STALLED', 2, 'retry'],
    ['over-budget', 'OVER_BUDGET', 1, 'give-up'],
    ['cancelled', 'CANCELLED', 1, 'give-up'],
  ];

  test.each(rows)('%s with error %s in attempt %i of 3: %s', (outcome, code, attempt, decision) => {
    expect(decide({ outcome, attempt, error: error(code) }, working)).toBe(decision);
  });

  test('an attempt that a stopping worker cancelled is handed back, even the last one', () => {
    const stopping = { attempts: 3, stopping: true };
    expect(decide({ outcome: 'cancelled', attempt: 1, error: error('CANCELLED') }, stopping)).toBe('hand-back');
    expect(decide({ outcome: 'cancelled', attempt: 3, error: error('CANCELLED') }, stopping)).toBe('hand-back');
  });

  test('an attempt that ended by itself while the worker was stopping counts as any other', () => {
    const stopping = { attempts: 3, stopping: true };
    expect(decide({ outcome: 'committed', attempt: 1, error: null }, stopping)).toBe('done');
    expect(decide({ outcome: 'reverted', attempt: 1, error: error('TESTS_FAILED') }, stopping)).toBe('retry');
  });
});

const attempts = fc.record({
  outcome: fc.constantFrom(...OUTCOMES),
  attempt: fc.integer({ min: 1, max: 100 }),
  // Codes come out of Redis as text, so unknown ones belong to the input.
  error: fc.option(
    fc.record({
      code: fc.oneof(fc.constantFrom('TESTS_FAILED', 'CANCELLED', 'OVER_BUDGET', 'INTERNAL', 'STALLED'), fc.string()),
      message: fc.string(),
    }),
  ),
});
const limits = fc.record({ attempts: fc.integer({ min: 1, max: 100 }), stopping: fc.boolean() });

describe('whatever an attempt came to', () => {
  test('a job is done exactly when its attempt ended well', () => {
    fc.assert(
      fc.property(attempts, limits, (result, limit) => {
        expect(decide(result, limit) === 'done').toBe(endedWell(result.outcome));
      }),
    );
  });

  test('it is never tried again after its last attempt, so every job ends', () => {
    fc.assert(
      fc.property(attempts, limits, (result, limit) => {
        if (decide(result, limit) === 'retry') expect(result.attempt).toBeLessThan(limit.attempts);
      }),
    );
  });

  test('it is handed back only by a worker that is being stopped', () => {
    fc.assert(
      fc.property(attempts, limits, (result, limit) => {
        if (decide(result, limit) === 'hand-back') expect(limit.stopping).toBe(true);
      }),
    );
  });
});
