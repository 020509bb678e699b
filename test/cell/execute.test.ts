/** How a session ends: one agent, one server, one session after another; the last one uses up its budget. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import type { ExecuteOptions } from '../../src/cell/execute.ts';
import type { ProviderTrouble } from '../../src/cell/provider-trouble.ts';
import type { SpawnedAgent } from '../../src/cell/spawned-agent.ts';
import { script } from '../../src/cli/demo/script.ts';
import { SCRIPTED_MODEL } from '../../src/cli/demo/scripted-model.ts';
import { startTestCells, type TestCells } from '../support/cell.ts';

const BUDGET = 5_000;

// Real servers share few cores with other tests: a boot of 3 s may take 30.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

let cells: TestCells;
let agent: SpawnedAgent;
beforeAll(async () => {
  cells = await startTestCells();
  const ids = { agentId: 'agent-1', taskId: 'task-1' };
  agent = await cells.spawner.spawnAgent({ ...ids, model: SCRIPTED_MODEL, tokenBudget: BUDGET, loopRepeats: 3 });
});
afterAll(async () => {
  await cells?.spawner.teardownAgent(agent);
  await cells?.close();
});

const execute = (...[steps, options]: [Parameters<typeof script>[0], ExecuteOptions?]) =>
  cells.spawner.executeTask(agent, `Attempt 1 of 3.\n\nDo it.\n\n${script(steps)}`, options);
/** Listeners of the provider's health, and what they were told in order. */
function ear() {
  const told: (ProviderTrouble | 'well')[] = [];
  return { told, onProviderTrouble: (one: ProviderTrouble) => told.push(one), onProviderWell: () => told.push('well') };
}
const artifact = (name: string) =>
  JSON.parse(readFileSync(join(cells.spawner.getCellInfo(agent)?.artifacts ?? '', name), 'utf8'));

test('a session that ends by itself is idle, counts the tokens of every answer, and tells of them on the way', async () => {
  const told: number[] = [];
  const steps = [
    { tokens: { input: 300, output: 40, reasoning: 5, cached: 2_000 } },
    { write: { 'a.txt': 'a\n' } },
    { tokens: { input: 400, output: 10 } },
    { run: 'cat a.txt' },
  ];
  const result = await cells.spawner.executeTask(agent, script(steps), { onUsage: usage => told.push(usage.tokens) });
  // What came from the provider's cache is no use of the budget.
  const used = 345 + 410 + 410;
  expect(result).toEqual({
    ended: 'idle',
    sessionId: expect.stringMatching(/^ses_/),
    tokensUsed: used,
    costUsd: 0,
    durationMs: expect.any(Number),
    error: null,
  });
  expect(told.at(-1)).toBe(used);
  expect(told).toContain(345);
  expect(agent.tokensUsed).toBe(used);
  const transcript = artifact('transcript.json');
  expect(transcript.sessionId).toBe(result.sessionId);
  expect(JSON.stringify(transcript.messages)).toContain('cat a.txt');
});

test('the tokens of a second session are its own in its result, and are added up for the agent', async () => {
  const before = agent.tokensUsed;
  const result = await execute([{ tokens: { input: 70, output: 7 } }, { say: 'Nothing to do.' }]);
  expect(result).toMatchObject({ ended: 'idle', tokensUsed: 77 });
  expect(agent.tokensUsed).toBe(before + 77);
});

test('a provider that refuses the key ends it with an error, although the server then calls the session idle', async () => {
  const listeners = ear();
  const result = await execute([{ fail: { status: 401, times: 'always' } }], listeners);
  const reason = 'the provider refused the credentials: the script says 401';
  expect(listeners.told).toEqual([{ kind: 'refused', reason }]);
  expect(result).toMatchObject({
    ended: 'error',
    error: {
      code: 'PROVIDER_REFUSED',
      retryable: false,
      message: expect.stringContaining('the script says 401'),
      facts: { status: 401 },
      hint: expect.stringContaining('key'),
    },
  });
  expect(artifact('transcript.json').sessionId).toBe(result.sessionId);
});

test('another error of the provider ends it too, as one that may pass', async () => {
  const result = await execute([{ fail: { status: 400, times: 'always' } }]);
  expect(result).toMatchObject({ ended: 'error', error: { code: 'SESSION_FAILED', retryable: true } });
});

test('an error that passes is ridden out', async () => {
  const result = await execute([{ fail: { status: 429, retryAfter: 0.1 } }, { say: 'There.' }]);
  expect(result).toMatchObject({ ended: 'idle', error: null });
});

test('errors that pass are ridden out again and again while there is progress between them, and each is told', async () => {
  const listeners = ear();
  const hiccup = { fail: { status: 503, retryAfter: 0.1, times: 2 } };
  const steps = [hiccup, { run: 'true' }, hiccup, { run: 'true' }, hiccup, { say: 'There.' }];
  expect(await execute(steps, listeners)).toMatchObject({ ended: 'idle', error: null });
  const busy = { kind: 'busy', retryAfterMs: expect.any(Number), reason: 'the script says 503' };
  expect(listeners.told).toEqual([busy, busy, 'well', busy, busy, 'well', busy, busy, 'well']);
});

test('a session that meets no trouble tells once that the provider is well', async () => {
  const listeners = ear();
  expect(await execute([{ run: 'true' }, { say: 'There.' }], listeners)).toMatchObject({ ended: 'idle' });
  expect(listeners.told).toEqual(['well']);
});

test('a provider that is busy for long is not waited for: the session ends at its first word', async () => {
  const listeners = ear();
  const asked = cells.model.requests;
  const message = 'Rate limit reached for key sk-proj-abcdef0123456789';
  const result = await execute([{ fail: { status: 429, retryAfter: 600, times: 'always', message } }], listeners);
  const { error } = result;
  expect(result).toMatchObject({ ended: 'provider-busy', error: { code: 'PROVIDER_BUSY', retryable: true } });
  expect(error?.message).toMatch(
    /^the provider is busy: Rate limit reached for key \[masked\] \(the next try is [56]\d\d s away\)$/,
  );
  expect(Number(error?.facts.retryAfterMs)).toBeGreaterThan(500_000);
  const reason = 'Rate limit reached for key [masked]';
  expect(listeners.told).toEqual([{ kind: 'busy', retryAfterMs: expect.any(Number), reason }]);
  expect(cells.model.requests).toBe(asked + 1);
  expect(artifact('transcript.json').sessionId).toBe(result.sessionId);
  expect(await cells.spawner.isHealthy(agent)).toBe(true);
});

test.each([429, 500, 529, 408])('a provider that answers %i three times in a row ends it', async status => {
  const listeners = ear();
  const asked = cells.model.requests;
  // After the third it has 10 s to end before there is a fourth; with more than FAR_MS that one would end it alone.
  const steps = [
    { fail: { status, retryAfter: 0.1, times: 2 } },
    { fail: { status, retryAfter: 10, times: 'always' as const } },
    { say: 'There.' },
  ];
  const result = await execute(steps, listeners);
  expect(result).toMatchObject({
    ended: 'provider-busy',
    tokensUsed: 0,
    error: {
      code: 'PROVIDER_BUSY',
      message: `the provider is busy: the script says ${status} (3 tries in a row)`,
      facts: { retryAfterMs: expect.any(Number) },
    },
  });
  const busy = { kind: 'busy', retryAfterMs: expect.any(Number), reason: `the script says ${status}` };
  expect(listeners.told).toEqual([busy, busy, busy]);
  expect(cells.model.requests).toBe(asked + 3);
});

test('an agent that goes in circles is stopped, and what it did is the evidence', async () => {
  const asked = cells.model.requests;
  const result = await execute([{ tokens: { input: 1, output: 1 } }, { forever: 'echo "and again"; exit 3' }]);
  expect(result).toMatchObject({ ended: 'stalled', error: { code: 'STALLED', facts: { times: 3 } } });
  const call = JSON.stringify('echo "and again"; exit 3');
  expect(result.error?.message).toBe(`the agent goes in circles: bash ${call} was called 3 times with the same result`);
  // One more may have been on its way.
  expect(cells.model.requests - asked).toBeLessThanOrEqual(4);
});

test('an agent that makes a change and takes it back is stopped, whatever else it does meanwhile', async () => {
  const there = { write: { 'flip.txt': 'one\n' } };
  const back = { write: { 'flip.txt': 'two\n' } };
  const look = { run: 'date +%N' };
  const rounds = Array.from({ length: 5 }, () => [there, look, back]).flat();
  const result = await execute([{ tokens: { input: 1, output: 1 } }, ...rounds]);
  expect(result).toMatchObject({ ended: 'stalled', error: { facts: { shape: 'back and forth', times: 3 } } });
  expect(result.error?.message).toMatch(/^the agent goes in circles: write ".*flip\.txt" made a change/);
});

test('a cancellation ends it while the model is silent, and stops the agent before it returns', async () => {
  const cancel = new AbortController();
  const asked = cells.model.requests;
  const running = execute([{ hang: true }], { signal: cancel.signal });
  await expect.poll(() => cells.model.requests, { timeout: 60_000 }).toBe(asked + 1);
  cancel.abort();
  expect(await running).toMatchObject({ ended: 'cancelled', error: { code: 'CANCELLED' } });
  expect(await cells.spawner.isHealthy(agent)).toBe(true);
});

test('a cancellation ends it in the middle of a command of the agent, which does not live on', async () => {
  const cancel = new AbortController();
  const sleeps = () => cells.processes().filter(one => one.command === 'sleep 331');
  const running = execute([{ run: 'sleep 331' }], { signal: cancel.signal });
  await expect.poll(() => sleeps().length, { timeout: 60_000 }).toBe(1);
  cancel.abort();
  expect(await running).toMatchObject({ ended: 'cancelled' });
  await expect.poll(() => sleeps().length, { timeout: 10_000 }).toBe(0);
});

test('a cancellation that came before it leaves the model alone', async () => {
  const asked = cells.model.requests;
  expect(await execute([{ say: 'x' }], { signal: AbortSignal.abort() })).toMatchObject({ ended: 'cancelled' });
  expect(cells.model.requests).toBe(asked);
  expect(await cells.spawner.isHealthy(agent)).toBe(true);
});

test('a runaway agent is stopped by its budget, which goes on from one session to the next', async () => {
  const before = agent.tokensUsed;
  expect(before).toBeGreaterThan(1_000);
  const result = await execute([{ tokens: { input: 900, output: 100 } }, { forever: 'date +%N' }]);
  const total = before + result.tokensUsed;
  expect(total).toBeGreaterThan(BUDGET);
  // Stopped at the first answer over the budget; at most one more was on its way.
  expect(total).toBeLessThanOrEqual(BUDGET + 2_000);
  expect(agent.tokensUsed).toBe(total);
  const { error } = result;
  expect(result.ended).toBe('over-budget');
  expect(error).toMatchObject({ code: 'OVER_BUDGET', retryable: false, facts: { budget: BUDGET } });
  const over = Number(error?.facts.tokens) - BUDGET;
  expect(error?.message).toBe(`${BUDGET + over} tokens used, ${over} over the budget of ${BUDGET}`);
  expect(artifact('transcript.json').messages.length).toBeGreaterThan(1);
  const asked = cells.model.requests;
  expect(await cells.spawner.hasChanges(agent)).toBe(true);
  expect(cells.model.requests).toBe(asked);
});
