/** Rarer ends of an attempt than those in test/cell/run-cell.test.ts, each with a real server. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { runCell } from '../../src/cell/run-cell.ts';
import { script } from '../../src/cli/demo/script.ts';
import { SCRIPTED_MODEL } from '../../src/cli/demo/scripted-model.ts';
import { attempt as attemptOn, type Run, startBusyCells, WORK } from '../support/attempts.ts';
import type { TestCells } from '../support/cell.ts';

let cells: TestCells;
beforeAll(async () => {
  cells = await startBusyCells();
});
afterAll(() => cells?.close());

const attempt = (taskId: string, run?: Run) => attemptOn(cells, taskId, run);

test('an agent that does not go on is stopped, with what the last was that was heard of it', async () => {
  const { result } = await attempt('stands-still', {
    steps: [{ hang: true }],
    config: { stallMs: 4_000, test: 'true' },
  });
  expect(result).toMatchObject({ outcome: 'stalled', commit: null, tests: null, error: { code: 'STALLED' } });
  expect(result.error?.message).toMatch(/^no progress for 4000 ms; at 20\d\d-\S+Z \w/);
});

test('an agent that costs too much is stopped, when the prices of its model are known', async () => {
  const more = { run: 'date +%N >> more.txt' };
  const models = { model: { cost: { input: 1_000, output: 1_000 } } };
  const { result } = await attempt('expensive', {
    // The third answer is over the budget; the one after it would take so long that it is not counted.
    steps: [...WORK, { tokens: { input: 100, output: 20 } }, more, more, { think: 8_000 }, { run: 'true' }],
    config: { costBudgetUsd: 0.3, test: 'true', opencode: { provider: { scripted: { models } } } },
  });
  expect(result).toMatchObject({ outcome: 'over-budget', commit: null, tests: null, error: { code: 'OVER_BUDGET' } });
  // A dollar for a thousand tokens.
  const spent = result.tokensUsed / 1_000;
  expect(spent).toBeGreaterThan(0.3);
  expect(result.costUsd).toBeCloseTo(spent, 6);
  const [all, over] = [spent, spent - 0.3].map(amount => `$${amount.toFixed(4)}`);
  expect(result.error?.message).toBe(`${all} spent, ${over} over the budget of $0.3000`);
});

test('a provider that stays busy fails the attempt, and a listener that throws at the news changes nothing', async () => {
  const told: unknown[] = [];
  const result = await runCell(cells.spawner, {
    config: { agentId: 'agent-1', taskId: 'waiter', model: SCRIPTED_MODEL },
    prompt: script([{ run: 'true' }, { fail: { status: 429, retryAfter: 600, times: 'always' } }]),
    subject: 'What was asked',
    signal: new AbortController().signal,
    onStage: () => undefined,
    onUsage: () => undefined,
    onProviderTrouble: trouble => {
      told.push(trouble.kind);
      throw new Error('the listener fails');
    },
    onProviderWell: () => told.push('well'),
  });
  expect(result).toMatchObject({ outcome: 'failed', commit: null, error: { code: 'PROVIDER_BUSY' } });
  expect(result.tokensUsed).toBeGreaterThan(0);
  expect(told).toEqual(['well', 'busy']);
  await cells.expectNothingLeft();
});
