/** What is no stall although it takes long, in a real session; on a machine that is busy anyway it would be one. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import type { SpawnedAgent } from '../../src/cell/spawned-agent.ts';
import { script } from '../../src/cli/demo/script.ts';
import { SCRIPTED_MODEL } from '../../src/cli/demo/scripted-model.ts';
import { startTestCells, type TestCells } from '../support/cell.ts';

/** Long enough for a busy machine to get on with something, where that is what is tested. */
const STALL_MS = 10_000;

// Real servers share few cores with other tests: a boot of 3 s may take 30.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

let cells: TestCells;
let agent: SpawnedAgent;
beforeAll(async () => {
  cells = await startTestCells();
  const ids = { agentId: 'agent-1', taskId: 'task-1' };
  agent = await cells.spawner.spawnAgent({ ...ids, model: SCRIPTED_MODEL, stallMs: STALL_MS });
});
afterAll(async () => {
  await cells?.spawner.teardownAgent(agent);
  await cells?.close();
});

const execute = (steps: Parameters<typeof script>[0]) => cells.spawner.executeTask(agent, script(steps));

test('a provider that asks to wait for longer is the provider’s trouble, not a stall', async () => {
  const result = await execute([{ fail: { status: 429, retryAfter: STALL_MS / 1_000 + 3 } }, { say: 'There.' }]);
  expect(result).toMatchObject({ ended: 'idle', error: null });
});

test('a command that prints goes on for as long as it likes; once it is silent it is a stall, and is ended', async () => {
  const numbers = Array.from({ length: STALL_MS / 1_000 + 3 }, (_, index) => index);
  const result = await execute([{ run: `for i in ${numbers.join(' ')}; do echo "at $i"; sleep 1; done; sleep 332` }]);
  expect(result).toMatchObject({ ended: 'stalled', error: { code: 'STALLED', facts: { stallMs: STALL_MS } } });
  expect(result.error?.message).toMatch(/^no progress for 10000 ms; at 20\S+Z bash "for i in 0 .* was at work$/);
  const transcript = readFileSync(join(cells.spawner.getCellInfo(agent)?.artifacts ?? '', 'transcript.json'), 'utf8');
  expect(transcript).toContain(`at ${numbers.at(-1)}`);
  const sleeps = () => cells.processes().filter(one => one.command === 'sleep 332');
  await expect.poll(() => sleeps().length, { timeout: 10_000 }).toBe(0);
});
