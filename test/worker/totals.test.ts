import fc from 'fast-check';
import { expect, test } from 'vitest';
import { resultWithoutCell } from '../../src/job/outcome.ts';
import { parseTask, type Task } from '../../src/job/task.ts';
import { leftOf, spentWith, type Usage } from '../../src/worker/totals.ts';

function taskOf(more: object): Task {
  const { task, faults } = parseTask({ id: 'a', prompt: 'do it', ...more }, 'a');
  if (task === null) throw new Error(JSON.stringify(faults));
  return task;
}

const used = (tokensUsed: number, executionMs: number) => {
  const result = resultWithoutCell('a', 1, 'failed', null);
  return { ...result, tokensUsed, metrics: { ...result.metrics, executionMs } };
};

test('a task that sets no totals has those of all its attempts together', () => {
  const task = taskOf({ attempts: 3, tokenBudget: 100, timeoutMs: 1_000 });
  expect(leftOf({ task })).toEqual({ tokens: 300, executionMs: 3_000 });
});

test('totals of the task itself count before those', () => {
  const task = taskOf({ attempts: 3, tokenBudget: 100, totalTokenBudget: 120, totalTimeoutMs: 50 });
  expect(leftOf({ task })).toEqual({ tokens: 120, executionMs: 50 });
});

test('every attempt takes off what it used, whether it counted or not', () => {
  const attempts = fc.array(fc.record({ tokens: fc.nat(100_000), executionMs: fc.nat(100_000) }));
  fc.assert(
    fc.property(attempts, list => {
      const task = taskOf({});
      let spent: Usage = { tokens: 0, executionMs: 0 };
      for (const { tokens, executionMs } of list) spent = spentWith({ spent }, used(tokens, executionMs));
      const sum = (key: keyof Usage) => list.reduce((total, one) => total + one[key], 0);
      expect(leftOf({ task, spent }).tokens).toBe(leftOf({ task }).tokens - sum('tokens'));
      expect(leftOf({ task, spent }).executionMs).toBe(leftOf({ task }).executionMs - sum('executionMs'));
    }),
  );
});
