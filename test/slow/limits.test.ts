/** Attempts that use more than a cell may: bounded, told as what they are, and no harm to the cell beside them. */
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import type { AgentSpawner } from '../../src/cell/agent-spawner.ts';
import { runCell } from '../../src/cell/run-cell.ts';
import type { SpawnConfig } from '../../src/cell/spawn-config.ts';
import { type ScriptStep, script } from '../../src/cli/demo/script.ts';
import { SCRIPTED_MODEL } from '../../src/cli/demo/scripted-model.ts';
import { type AttemptResult, attemptResultSchema } from '../../src/job/outcome.ts';
import type { ResourceLimits } from '../../src/os/resource-limits.ts';
import { startTestCells, type TestCells } from '../support/cell.ts';
import { noControlGroups } from '../support/control-groups.ts';

// Real servers share few cores with other tests: a boot of 3 s may take 30.
vi.setConfig({ testTimeout: 300_000, hookTimeout: 120_000 });

let cells: TestCells;
beforeAll(async () => {
  // Neither is meant here; what eats memory or disk keeps the machine busy.
  cells = await startTestCells({ setupMs: 120_000, testMs: 120_000 });
});
afterAll(() => cells?.close());

const LIMITS: ResourceLimits = { memoryMb: 1024, pids: 200, cpus: null, diskMb: null };
const WORK: ScriptStep = { write: { 'made.txt': 'made\n' } };
const DONE: ScriptStep = { say: 'Done.' };
/** Keeps all of it in memory, since there is no end of a line in it. */
const EAT_8_GB = 'head -c 8G /dev/zero | tail > /dev/null';

function spawnerOf(limits: Partial<ResourceLimits>): AgentSpawner {
  return cells.spawnerWith({ limits: { ...LIMITS, ...limits } });
}

async function attempt(
  spawner: AgentSpawner,
  taskId: string,
  steps: ScriptStep[],
  config: Partial<SpawnConfig> = {},
): Promise<AttemptResult> {
  const result = await runCell(spawner, {
    config: { agentId: 'agent-1', taskId, model: SCRIPTED_MODEL, ...config },
    prompt: `Do it.\n\n${script(steps)}`,
    subject: 'What was asked',
    signal: new AbortController().signal,
    onStage: () => undefined,
    onUsage: () => undefined,
  });
  expect(attemptResultSchema.parse(result)).toEqual(result);
  return result;
}

const OUT_OF_MEMORY = { code: 'OUT_OF_MEMORY', message: 'the cell used more than 1024 MB of memory' };

describe.skipIf((await noControlGroups('memory', 'pids')) !== null)('in a control group', () => {
  test('tests that eat 8 GB fail as out of memory; the cell beside them commits', async () => {
    const spawner = spawnerOf({});
    const [eats, works] = await Promise.all([
      attempt(spawner, 'tests-eat', [WORK, DONE], { test: EAT_8_GB }),
      attempt(spawner, 'beside-eater', [WORK, DONE], { test: 'test -s made.txt' }),
    ]);
    expect(eats).toMatchObject({ outcome: 'failed', tests: { passed: false }, error: OUT_OF_MEMORY, commit: null });
    expect(eats.limits).toEqual({ memory: 'cgroup', pids: 'cgroup', cpu: 'off', disk: 'off' });
    expect(works).toMatchObject({ outcome: 'committed', error: null });
    await cells.expectNothingLeft();
  });

  test('a server that is killed for want of memory is told as that', async () => {
    // Whoever shares its user may send the kernel to the server first.
    const victim = `echo 1000 > /proc/$PPID/oom_score_adj; ${EAT_8_GB}`;
    const result = await attempt(spawnerOf({}), 'server-eaten', [WORK, { run: victim }, DONE], { test: 'true' });
    expect(result).toMatchObject({ outcome: 'failed', error: OUT_OF_MEMORY, commit: null, tests: null });
    await cells.expectNothingLeft();
  });

  test('a tool that is killed so is told to the agent, who may do better', async () => {
    const result = await attempt(spawnerOf({}), 'tool-eaten', [{ run: EAT_8_GB }, WORK, DONE], { test: 'true' });
    expect(result).toMatchObject({ outcome: 'committed', error: null });
    await cells.expectNothingLeft();
  });

  test('a setup command that needs too much is told as that, as is a server for which there is too little', async () => {
    const setup = await attempt(spawnerOf({}), 'setup-eats', [DONE], { setup: EAT_8_GB });
    expect(setup).toMatchObject({ outcome: 'failed', error: OUT_OF_MEMORY });
    const small = await attempt(spawnerOf({ memoryMb: 64 }), 'no-room', [DONE]);
    expect(small).toMatchObject({ outcome: 'failed', error: { code: 'OUT_OF_MEMORY' } });
    expect(small.error?.message).toContain('the cell used more than 64 MB of memory');
    await cells.expectNothingLeft();
  });

  test('a fork bomb of an agent ends with its session; the cell beside it commits', async () => {
    const spawner = spawnerOf({});
    const bomb = 'bomb() { bomb | bomb & }; bomb 2>/dev/null; sleep 1000';
    const [bombs, works] = await Promise.all([
      attempt(spawner, 'bombs', [{ run: bomb }, DONE], { timeoutMs: 10_000, test: 'true' }),
      attempt(spawner, 'beside-bomb', [WORK, DONE], { test: 'test -s made.txt' }),
    ]);
    expect(bombs).toMatchObject({ outcome: 'timed-out', commit: null });
    expect(works).toMatchObject({ outcome: 'committed', error: null });
    await cells.expectNothingLeft();
  });
});

test('a cell that takes too much disk is stopped, reverted without a copy of it, and gone', async () => {
  const fill = 'head -c 300M /dev/zero > one; head -c 300M /dev/zero > two; sleep 1000';
  const result = await attempt(spawnerOf({ diskMb: 500 }), 'fills', [WORK, { run: fill }, DONE]);
  expect(result).toMatchObject({ outcome: 'failed', error: { code: 'DISK_LIMIT' }, commit: null, filesModified: [] });
  expect(result.limits?.disk).toBe('watched');
  await cells.expectNothingLeft();
});

test('a setup command that takes too much disk is stopped', async () => {
  // Two files, since no single one may be larger than all together.
  const setup = 'head -c 300M /dev/zero > one; head -c 300M /dev/zero > two; sleep 1000';
  const result = await attempt(spawnerOf({ diskMb: 500 }), 'setup-fills', [DONE], { setup });
  expect(result).toMatchObject({ outcome: 'failed', error: { code: 'DISK_LIMIT' } });
  await cells.expectNothingLeft();
});
