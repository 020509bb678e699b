import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { ErrorCode } from '../../src/errors.ts';
import { endedWell, OUTCOMES, type Outcome } from '../../src/job/outcome.ts';
import {
  type Decision,
  decide as decideOn,
  type JudgedResult,
  LACKING_MAX_MS,
  REFUSED_MAX_MS,
  type Situation,
} from '../../src/worker/decide.ts';

/** Of attempts whose agent was at work, unless a test says otherwise. */
const METRICS = { spawnMs: 1, executionMs: 1, teardownMs: 1, totalMs: 3 };
type Judged = Omit<JudgedResult, 'metrics'>;
const decide = (result: Judged, situation: Situation, executionMs = 1) =>
  decideOn({ ...result, metrics: { ...METRICS, executionMs } }, situation);

const error = (code: string | null) => (code === null ? null : { code, message: 'why' });
const usual: Situation = {
  attempts: 3,
  left: { tokens: 1_000, executionMs: 1_000 },
  cancelledBy: 'person',
  retryOverBudget: false,
  waitMs: 30_000,
  waitedMs: 0,
  random: () => 0,
};

describe('what becomes of a job after an attempt', () => {
  const rows: [Outcome, ErrorCode | null, number, Decision['next']][] = [
    ['committed', null, 1, 'done'],
    ['committed', null, 3, 'done'],
    ['no-changes', null, 1, 'done'],
    ['reverted', 'TESTS_FAILED', 1, 'retry'],
    ['reverted', 'TESTS_FAILED', 2, 'retry'],
    ['reverted', 'TESTS_FAILED', 3, 'give-up'],
    ['failed', 'SPAWN_FAILED', 1, 'retry'],
    ['failed', 'SESSION_FAILED', 1, 'retry'],
    ['failed', 'SERVER_EXITED', 1, 'retry'],
    ['failed', 'NO_FREE_PORT', 1, 'retry'],
    ['failed', 'HOOK_FAILED', 1, 'retry'],
    ['failed', 'DISK_FULL', 1, 'retry'],
    ['failed', 'OUT_OF_MEMORY', 1, 'retry'],
    ['failed', 'OUT_OF_MEMORY', 3, 'give-up'],
    ['failed', 'DISK_LIMIT', 1, 'retry'],
    ['failed', 'INTERNAL', 1, 'retry'],
    ['failed', 'COMMIT_FAILED', 1, 'retry'],
    ['timed-out', 'TIMED_OUT', 1, 'retry'],
    ['timed-out', 'TIMED_OUT', 3, 'give-up'],
    ['stalled', 'STALLED', 2, 'retry'],
    ['failed', 'INVALID_INPUT', 1, 'give-up'],
    ['failed', 'UNKNOWN_BASE', 1, 'give-up'],
    ['failed', 'UNKNOWN_MODEL', 1, 'give-up'],
    ['failed', 'BRANCH_CHECKED_OUT', 1, 'give-up'],
    ['failed', 'WORKER_DIED', 1, 'give-up'],
    ['failed', 'NO_SUCH_REMOTE', 1, 'give-up'],
    ['failed', 'BRANCH_TAKEN', 1, 'give-up'],
    ['failed', 'PUSH_REFUSED', 1, 'give-up'],
    ['over-budget', 'OVER_BUDGET', 1, 'give-up'],
    ['cancelled', 'CANCELLED', 1, 'give-up'],
    ['failed', 'PROVIDER_BUSY', 3, 'requeue'],
    ['failed', 'PROVIDER_REFUSED', 3, 'requeue'],
    ['over-budget', 'BUDGET_USED_UP', 3, 'requeue'],
    ['failed', 'NOT_A_REPOSITORY', 3, 'requeue'],
    ['failed', 'OPENCODE_MISSING', 3, 'requeue'],
    ['failed', 'REMOTE_UNREACHABLE', 3, 'requeue'],
    ['failed', 'REMOTE_REFUSED', 3, 'requeue'],
    ['failed', 'STATE_FOLDER', 3, 'requeue'],
    ['failed', 'FENCED', 3, 'requeue'],
    ['failed', 'LEASE_LOST', 3, 'requeue'],
  ];

  test.each(rows)('%s with error %s in attempt %i of 3: %s', (outcome, code, attempt, next) => {
    expect(decide({ outcome, attempt, error: error(code) }, usual).next).toBe(next);
  });

  test('an attempt that a stopping worker cancelled goes back at once, even the last one', () => {
    for (const attempt of [1, 3]) {
      const cancelled = { outcome: 'cancelled' as const, attempt, error: error('CANCELLED') };
      expect(decide(cancelled, { ...usual, cancelledBy: 'worker' })).toEqual({ next: 'requeue', afterMs: 0 });
    }
  });

  test('an attempt that ended by itself while the worker was stopping counts as any other', () => {
    const stopping = { ...usual, cancelledBy: 'worker' as const };
    expect(decide({ outcome: 'committed', attempt: 1, error: null }, stopping).next).toBe('done');
    expect(decide({ outcome: 'reverted', attempt: 1, error: error('TESTS_FAILED') }, stopping).next).toBe('retry');
  });

  test('over the budget is tried again only where the repository wants it', () => {
    const over = { outcome: 'over-budget' as const, attempt: 1, error: error('OVER_BUDGET') };
    expect(decide(over, usual).next).toBe('give-up');
    expect(decide(over, { ...usual, retryOverBudget: true }).next).toBe('retry');
  });

  test('a task whose tokens or time are used up over all attempts is given up, and the reason is told', () => {
    const red = { outcome: 'reverted' as const, attempt: 1, error: error('TESTS_FAILED') };
    const none = (left: Situation['left']) => decide(red, { ...usual, left });
    expect(none({ tokens: 0, executionMs: 1 })).toEqual({ next: 'give-up', why: expect.stringContaining('tokens') });
    expect(none({ tokens: 1, executionMs: -5 })).toEqual({ next: 'give-up', why: expect.stringContaining('time') });
  });

  test('a disk that is full before the agent was asked anything is no attempt, and one that it fills is', () => {
    const full = { outcome: 'failed' as const, attempt: 3, error: error('DISK_FULL') };
    expect(decide(full, usual, 0)).toEqual({ next: 'requeue', afterMs: 30_000 });
    expect(decide(full, { ...usual, waitedMs: LACKING_MAX_MS }, 0).next).toBe('give-up');
    expect(decide(full, usual, 1).next).toBe('give-up');
  });

  test('it waits for what is lacking for an hour, for a key a day, and for a busy provider as long as it takes', () => {
    const waited = (code: ErrorCode, waitedMs: number) =>
      decide({ outcome: 'failed', attempt: 1, error: error(code) }, { ...usual, waitedMs });
    expect(waited('OPENCODE_MISSING', LACKING_MAX_MS - 1)).toEqual({ next: 'requeue', afterMs: 30_000 });
    expect(waited('OPENCODE_MISSING', LACKING_MAX_MS)).toMatchObject({
      next: 'give-up',
      why: expect.stringContaining('60 minutes'),
    });
    expect(waited('PROVIDER_REFUSED', LACKING_MAX_MS).next).toBe('requeue');
    expect(waited('PROVIDER_REFUSED', REFUSED_MAX_MS).next).toBe('give-up');
    expect(waited('PROVIDER_BUSY', 10 * REFUSED_MAX_MS).next).toBe('requeue');
  });

  test('the pause before the next attempt grows from one to the next', () => {
    const pause = (attempt: number) => {
      const red = { outcome: 'reverted' as const, attempt, error: error('TESTS_FAILED') };
      return decide(red, { ...usual, attempts: 100 });
    };
    expect([1, 2, 3, 20].map(pause)).toEqual([
      { next: 'retry', afterMs: 2_000 },
      { next: 'retry', afterMs: 4_000 },
      { next: 'retry', afterMs: 8_000 },
      { next: 'retry', afterMs: 300_000 },
    ]);
  });
});

const attempts = fc.record({
  outcome: fc.constantFrom(...OUTCOMES),
  attempt: fc.integer({ min: 1, max: 100 }),
  // Codes come out of Redis as text, so unknown ones belong to the input.
  error: fc.option(
    fc.record({
      code: fc.oneof(
        fc.constantFrom('TESTS_FAILED', 'CANCELLED', 'OVER_BUDGET', 'INTERNAL', 'PROVIDER_BUSY', 'STATE_FOLDER'),
        fc.constantFrom('REMOTE_UNREACHABLE', 'REMOTE_REFUSED', 'BRANCH_TAKEN'),
        fc.string(),
      ),
      message: fc.string(),
    }),
  ),
});
const situations = fc.record({
  attempts: fc.integer({ min: 1, max: 100 }),
  left: fc.record({ tokens: fc.integer(), executionMs: fc.integer() }),
  cancelledBy: fc.constantFrom('person' as const, 'worker' as const),
  retryOverBudget: fc.boolean(),
  waitMs: fc.nat(),
  waitedMs: fc.nat(),
});

describe('whatever an attempt came to', () => {
  const always = (check: (result: Judged, situation: Situation, made: Decision) => void) =>
    fc.assert(
      fc.property(attempts, situations, (result, situation) => {
        check(result, situation, decide(result, situation));
      }),
    );

  test('a job is done exactly when its attempt ended well', () => {
    always((result, _, made) => {
      expect(made.next === 'done').toBe(endedWell(result.outcome));
    });
  });

  test('it is tried again only while attempts, tokens and time are left, so every job ends', () => {
    always((result, { attempts: most, left }, made) => {
      if (made.next !== 'retry') return;
      expect(result.attempt).toBeLessThan(most);
      expect(Math.min(left.tokens, left.executionMs)).toBeGreaterThan(0);
    });
  });

  test('it is put back uncounted only when the task had no part in its end', () => {
    const others = ['PROVIDER_BUSY', 'PROVIDER_REFUSED', 'NOT_A_REPOSITORY', 'OPENCODE_MISSING', 'GIT_MISSING'];
    always((result, { cancelledBy }, made) => {
      if (made.next !== 'requeue') return;
      if (result.outcome === 'cancelled') expect(cancelledBy).toBe('worker');
      else expect([...others, 'STATE_FOLDER', 'REMOTE_UNREACHABLE', 'REMOTE_REFUSED']).toContain(result.error?.code);
    });
  });

  test('what a person cancelled never runs again', () => {
    always((result, { cancelledBy }, made) => {
      if (result.outcome === 'cancelled' && cancelledBy !== 'worker') expect(made.next).toBe('give-up');
    });
  });

  test('a pause is between a second and five minutes', () => {
    always((_, __, made) => {
      if (made.next !== 'retry') return;
      expect(made.afterMs).toBeGreaterThanOrEqual(1_000);
      expect(made.afterMs).toBeLessThanOrEqual(300_000);
    });
  });
});
