import { describe, expect, test } from 'vitest';
import { AttemptFacts } from '../../src/cell/attempt-facts.ts';
import { CellpoolError } from '../../src/errors.ts';
import { MASK, Redactor } from '../../src/observe/redact.ts';

describe('what is known of an attempt', () => {
  const facts = (redactor = new Redactor()) => new AttemptFacts({ agentId: 'a', taskId: 't', attempt: 3 }, redactor);
  const ended = { sessionId: 's', tokensUsed: 1, costUsd: 0, durationMs: 1 };

  test('is the outcome that belongs to the end of its session', () => {
    const outcomeOf = (end: 'error' | 'timed-out' | 'over-budget' | 'cancelled') => {
      const one = facts();
      one.executed({ ...ended, ended: end, error: new CellpoolError('SESSION_FAILED', 'why') });
      expect(one.worthKeeping).toBe(false);
      return one.result(5);
    };
    expect(outcomeOf('error')).toMatchObject({
      outcome: 'failed',
      attempt: 3,
      error: { message: 'why' },
      tokensUsed: 5,
    });
    for (const end of ['timed-out', 'over-budget', 'cancelled'] as const) expect(outcomeOf(end).outcome).toBe(end);
  });

  test('keeps the first error in front of what went wrong after it', () => {
    const one = facts();
    one.failed(new CellpoolError('SETUP_FAILED', 'first'));
    one.alsoFailed(new Error('second'));
    expect(one.result(0)).toMatchObject({
      outcome: 'failed',
      error: { code: 'SETUP_FAILED', message: 'first; then: second' },
    });
  });

  test('is how long each of its stages took, what it cost, and where it ran', () => {
    const one = new AttemptFacts({ agentId: 'a', taskId: 't' }, new Redactor(), 'build-7');
    const began = Date.now();
    for (const stage of ['spawn', 'execute', 'settle', 'teardown'] as const) one.enters(stage);
    one.executed({ ...ended, costUsd: 0.25, ended: 'idle', error: null });
    const { stages = [], costUsd, host } = one.result(0);
    expect({ costUsd, host }).toEqual({ costUsd: 0.25, host: 'build-7' });
    expect(stages.map(({ stage }) => stage)).toEqual(['spawn', 'execute', 'settle', 'teardown']);
    expect(stages.every(({ ms, startedAt }) => ms >= 0 && startedAt >= began)).toBe(true);
  });

  test('holds no stages, costs or host where there are none', () => {
    const one = facts();
    one.executed({ ...ended, ended: 'idle', error: null });
    const result = one.result(0);
    expect(['stages', 'costUsd', 'host'].filter(key => key in result)).toEqual([]);
  });

  test('is told without secrets, to hooks and in the result, while names stay what they are', () => {
    const one = facts(new Redactor(['t0ken-of-the-worker']));
    one.tested({
      passed: false,
      exitCode: 1,
      durationMs: 1,
      timedOut: false,
      tail: 'used t0ken-of-the-worker',
      outOfMemory: null,
    });
    one.hookFailed('afterTests', new CellpoolError('HOOK_FAILED', 'said t0ken-of-the-worker'));
    one.reverted({
      tree: 't',
      diff: null,
      summary: 't0ken-of-the-worker +1 -0',
      filesModified: ['a'],
      secretInWork: true,
    });
    one.alsoFailed(new Error('t0ken-of-the-worker again'));
    one.artifacts = '/state/t0ken-of-the-worker';
    expect(one.soFar.error?.message).toBe(`the tests failed (exit code 1): used ${MASK}; then: ${MASK} again`);
    expect(one.result(1)).toMatchObject({
      error: { message: one.soFar.error?.message },
      hookFaults: [{ hook: 'afterTests', message: `said ${MASK}` }],
      diffSummary: `${MASK} +1 -0`,
      secretInWork: true,
      artifacts: '/state/t0ken-of-the-worker',
    });
  });
});
