/** Attempts that are stopped, by a limit or by somebody: nothing is committed, and nothing is left. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import {
  artifact,
  attempt as attemptOn,
  NOTE,
  type Run,
  startBusyCells,
  WHOLE_LIFE,
  WORK,
} from '../support/attempts.ts';
import type { TestCells } from '../support/cell.ts';

// Real servers share few cores with other tests: a boot of 3 s may take 30.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

let cells: TestCells;
beforeAll(async () => {
  cells = await startBusyCells();
});
afterAll(() => cells?.close());

const attempt = (taskId: string, run?: Run) => attemptOn(cells, taskId, run);

test('an agent that is not done in time is stopped', async () => {
  const { result } = await attempt('too-slow', { steps: [{ hang: true }], config: { timeoutMs: 4_000, test: 'true' } });
  expect(result).toMatchObject({
    outcome: 'timed-out',
    commit: null,
    error: { code: 'TIMED_OUT', message: 'the agent was not done after 4000 ms' },
    tests: null,
  });
});

test('an agent that uses too many tokens is stopped, and its work is taken back', async () => {
  const { result, usage } = await attempt('spendthrift', {
    steps: [...WORK, { forever: 'date +%N >> more.txt; cat more.txt' }],
    config: { tokenBudget: 400, test: 'true' },
  });
  expect(result).toMatchObject({ outcome: 'over-budget', commit: null, tests: null, error: { code: 'OVER_BUDGET' } });
  expect(result.error?.message).toMatch(/^(\d+) tokens used, \d+ over the budget of 400$/);
  expect(result.tokensUsed).toBeGreaterThan(400);
  expect(Math.max(...usage)).toBe(result.tokensUsed);
  expect(result.filesModified).toEqual(['more.txt', 'src/greet.js']);
});

describe('a cancelled attempt commits nothing and leaves nothing', () => {
  test('while it is spawned', async () => {
    const cancel = new AbortController();
    const { result, stages } = await attempt('cancelled-early', { cancel, onStage: () => cancel.abort() });
    expect(result).toMatchObject({ outcome: 'cancelled', error: { code: 'CANCELLED' }, tokensUsed: 0 });
    expect(stages).toEqual(['spawn', 'teardown']);
  });

  test('while its tests run', async () => {
    const cancel = new AbortController();
    let mark = '';
    const running = attempt('cancelled-late', {
      cancel,
      steps: WORK,
      config: {
        test: 'touch ../begun; sleep 300',
        hooks: {
          afterTests: NOTE('is not reached'),
          onFailure: NOTE('$CELLPOOL_OUTCOME $(ls src)'),
          beforeTeardown: NOTE('$CELLPOOL_ERROR_CODE'),
        },
      },
      onStage: (stage, agent) => {
        if (stage === 'test') mark = join(agent?.cell.workspacePath ?? '', '../begun');
      },
    });
    await expect.poll(() => mark !== '' && existsSync(mark), { timeout: 60_000 }).toBe(true);
    cancel.abort();
    const { result, stages } = await running;
    expect(result).toMatchObject({ outcome: 'cancelled', error: { code: 'CANCELLED' }, commit: null, tests: null });
    expect(stages).toEqual(WHOLE_LIFE.filter(stage => stage !== 'settle'));
    expect(artifact(result, 'notes')).toBe('onFailure cancelled greet.js\nbeforeTeardown CANCELLED\n');
    expect(result).not.toHaveProperty('hookFaults');
  });
});
