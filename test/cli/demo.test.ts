/** How the demo judges itself; the whole of it runs in the slow suites and by hand. */
import { describe, expect, test } from 'vitest';
import { sampleTasks } from '../../src/cli/demo/sample-repository.ts';
import { unexpected } from '../../src/cli/demo.ts';
import type { AttemptResult, Outcome } from '../../src/job/outcome.ts';

function ended(taskId: string, outcome: Outcome): [string, AttemptResult] {
  const metrics = { spawnMs: 1, executionMs: 1, teardownMs: 1, totalMs: 3 };
  const common = { branch: null, commit: null, filesModified: [], tokensUsed: 1, tests: null, error: null };
  return [taskId, { taskId, outcome, attempt: 1, metrics, artifacts: '', ...common }];
}

const asMeant = () =>
  new Map(sampleTasks().map(({ id }) => ended(id, id === 'demo-4.round-prices' ? 'reverted' : 'committed')));

describe('the demo', () => {
  test('has gone well when one task was reverted and every other ended well', () => {
    expect(unexpected(asMeant())).toEqual([]);
    expect(unexpected(new Map([...asMeant(), ended('demo-3.check-comments', 'no-changes')]))).toEqual([]);
  });

  test('has not when everything failed, and names every task', () => {
    const failed = new Map(sampleTasks().map(({ id }) => ended(id, 'failed')));
    expect(unexpected(failed)).toHaveLength(6);
    expect(unexpected(failed)).toContain('demo-4.round-prices: failed instead of reverted');
  });

  test('has not when the task that is meant to fail was committed, or one has no outcome', () => {
    expect(unexpected(new Map([...asMeant(), ended('demo-4.round-prices', 'committed')]))).toEqual([
      'demo-4.round-prices: committed instead of reverted',
    ]);
    const fewer = asMeant();
    fewer.delete('demo-1.add-slugify');
    expect(unexpected(fewer)).toEqual(['demo-1.add-slugify: without an outcome instead of committed or no-changes']);
  });
});
