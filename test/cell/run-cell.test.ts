/** The whole life of an attempt, once for each way it can end by itself; with a real server, git and test command. */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import type { HookFacts } from '../../src/cell/hook-facts.ts';
import type { PortLease } from '../../src/redis/port-lease.ts';
import {
  type Attempted,
  artifact,
  attempt as attemptOn,
  NOTE,
  type Run,
  startBusyCells,
  WHOLE_LIFE,
  WORK,
} from '../support/attempts.ts';
import type { TestCells } from '../support/cell.ts';
import { noteCommands } from '../support/git-commands.ts';
import { git, tempFolder } from '../support/repository.ts';

// Real servers share few cores with other tests: a boot of 3 s may take 30.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

let cells: TestCells;
beforeAll(async () => {
  cells = await startBusyCells();
});
afterAll(() => cells?.close());

const attempt = (taskId: string, run?: Run) => attemptOn(cells, taskId, run);

describe('work that passes its tests', () => {
  let good: Attempted;
  beforeAll(async () => {
    // A zombie that nobody has buried yet has no program any more.
    const lives = 'left=$(cat "$TMPDIR/left") && echo "left $left: $(readlink "/proc/$left/exe")"';
    good = await attempt('good-work', {
      steps: [...WORK, { run: 'setsid sleep 300 >/dev/null 2>&1 & echo $! > "$TMPDIR/left"' }],
      config: {
        setup: 'echo ready > setup-made.txt',
        // The base is what was committed; the user's half edit is not part of it.
        test: `cat setup-made.txt && ! grep -r "half an edit" . && ${lives}`,
      },
    });
  });

  test('is committed, and the whole life is told in order', () => {
    const { result, stages, usage } = good;
    const commit = git(cells.repository, 'rev-parse', 'cellpool/good-work');
    expect(result).toMatchObject({
      taskId: 'good-work',
      outcome: 'committed',
      attempt: 1,
      branch: 'cellpool/good-work',
      commit,
      filesModified: ['src/greet.js'],
      tokensUsed: 330,
      tests: { passed: true, exitCode: 0 },
      error: null,
    });
    expect(git(cells.repository, 'log', '-1', '--format=%s', commit)).toBe('What was asked');
    expect(stages).toEqual(WHOLE_LIFE);
    expect(usage.at(-1)).toBe(330);
    expect(artifact(result, 'test.log')).toMatch(/^ready\nleft .*\n$/);
    expect(artifact(result, 'changes.diff')).toContain('+export const greet');
  });

  test('is judged when all that the agent left running has ended', () => {
    expect(artifact(good.result, 'test.log')).toMatch(/^left \d+: $/m);
  });
});

test('work is looked at once: what is found to have changed is what is judged, and what is committed', async () => {
  const noted = noteCommands(tempFolder());
  let before: string[] = [];
  const config = { test: 'echo by the test >> src/greet.js; touch left-by-test.txt' };
  const hooks = {
    afterExecute: () => void noted(),
    afterTests: () => {
      before = noted();
    },
  };
  const { result } = await attempt('once-looked-at', { steps: WORK, config, hooks }).finally(() => vi.unstubAllEnvs());
  expect(result).toMatchObject({ outcome: 'committed', filesModified: ['src/greet.js'] });
  expect(before.filter(name => name === 'write-tree')).toHaveLength(1);
  expect(noted()).not.toContain('write-tree');
  expect(git(cells.repository, 'show', `${result.commit}:src/greet.js`)).not.toContain('by the test');
});

test('work is not committed when the port went to another owner after it was done', async () => {
  let stolen: PortLease | null = null;
  let asked = false;
  const { result } = await attempt('lost-lease', {
    steps: WORK,
    config: { test: 'true' },
    fence: async () => {
      asked = true;
    },
    hooks: {
      // As the reaper of the host does when it takes this worker for dead, and then somebody leases the port.
      async afterTests() {
        const [mine] = await cells.ports.held();
        if (mine === undefined || !(await cells.ports.release(mine))) throw new Error('there was no lease to take');
        stolen = await cells.portsOf({ from: mine.port, to: mine.port }).acquire('a thief', 60_000);
      },
      async beforeTeardown() {
        if (stolen === null || !(await cells.ports.release(stolen))) throw new Error('the thief has no lease');
      },
    },
  });
  expect(result).toMatchObject({
    outcome: 'failed',
    commit: null,
    branch: null,
    tests: { passed: true },
    error: { code: 'LEASE_LOST' },
  });
  expect(result.hookFaults ?? []).toEqual([]);
  // The job's own fence comes last, for its permit is good for a moment only.
  expect(asked).toBe(false);
});

test('work without a test command is committed and called untested', async () => {
  const { result, stages } = await attempt('untested', { steps: [{ run: 'mv README.md LIESMICH.md' }] });
  expect(result).toMatchObject({
    outcome: 'committed',
    tests: null,
    error: null,
    filesModified: ['LIESMICH.md', 'README.md'],
  });
  expect(stages).toEqual(WHOLE_LIFE.filter(stage => stage !== 'test'));
});

test('an agent that changes nothing makes no commit, and nothing is tested', async () => {
  const { result, stages } = await attempt('idle-hands', { config: { test: 'exit 1' } });
  expect(result).toMatchObject({ outcome: 'no-changes', branch: null, commit: null, filesModified: [], tests: null });
  expect(result.error).toBeNull();
  expect(stages).not.toContain('test');
});

test('work that fails its tests is reverted, and kept as a patch with the reason', async () => {
  const { result, stages } = await attempt('bad-work', {
    steps: WORK,
    config: {
      test: 'echo greet is wrong; exit 3',
      hooks: {
        afterTests: NOTE('$CELLPOOL_TESTS $CELLPOOL_TESTS_EXIT_CODE'),
        onFailure: `${NOTE('$CELLPOOL_OUTCOME $CELLPOOL_ERROR_CODE $(cat src/greet.js)')}; exit 1`,
        beforeTeardown: NOTE('$(cat src/greet.js)'),
      },
    },
  });
  // What the agent left is there for onFailure, and gone for what comes after.
  expect(artifact(result, 'notes').trimEnd().split('\n')).toEqual([
    'afterTests failed 3',
    "onFailure reverted TESTS_FAILED export const greet = () => 'hi';",
    "beforeTeardown export const greet = () => 'hello';",
  ]);
  expect(result.hookFaults).toEqual([{ hook: 'onFailure', message: expect.stringContaining('ended with code 1') }]);
  expect(result).toMatchObject({
    outcome: 'reverted',
    branch: null,
    commit: null,
    filesModified: ['src/greet.js'],
    tests: { passed: false, exitCode: 3 },
    error: { code: 'TESTS_FAILED', message: 'the tests failed (exit code 3): greet is wrong' },
  });
  expect(stages).toEqual(WHOLE_LIFE);
  expect(artifact(result, 'changes.diff')).toContain('+export const greet');
});

test('a setup command that fails ends the attempt before the agent begins, with the last of its output', async () => {
  const asked = cells.model.requests;
  const { result, stages } = await attempt('bad-setup', {
    config: { setup: 'echo no such package >&2; exit 9' },
    // Whoever is told of the stages may fail; the attempt goes its way, teardown included.
    onStage: () => {
      throw new Error('nobody listens');
    },
  });
  expect(result).toMatchObject({
    outcome: 'failed',
    error: { code: 'SETUP_FAILED', message: 'the setup command ended with code 9: no such package' },
    tests: null,
    tokensUsed: 0,
  });
  expect(stages).toEqual(['spawn', 'teardown']);
  expect(cells.model.requests).toBe(asked);
  expect(artifact(result, 'setup.log')).toBe('no such package\n');
});

test('an attempt whose cell cannot be spawned is failed, not thrown', async () => {
  const told: HookFacts[] = [];
  const hooks = { onFailure: (facts: HookFacts) => void told.push(facts) };
  const command = NOTE('$CELLPOOL_CELL_ID $CELLPOOL_ERROR_CODE [$CELLPOOL_PORT] $(pwd)');
  const config = { branch: 'no-such-branch', hooks: { onFailure: command, beforeTeardown: NOTE('is not reached') } };
  const { result } = await attempt('nowhere', { config, hooks });
  expect(result).toMatchObject({
    outcome: 'failed',
    error: { code: 'UNKNOWN_BASE', message: expect.stringContaining('step "workspace"') },
    artifacts: expect.stringContaining(join(cells.home, 'artifacts', 'nowhere')),
  });
  const cellId = expect.stringMatching(/^nowhere\.[0-9a-f]{8}$/);
  expect(told).toMatchObject([{ cellId, workspace: null, outcome: 'failed', error: { code: 'UNKNOWN_BASE' } }]);
  expect(artifact(result, 'notes')).toBe(`onFailure ${told[0]?.cellId} UNKNOWN_BASE [] ${result.artifacts}\n`);

  const { result: refused } = await attempt('no-agent', { config: { agentId: '', hooks: config.hooks }, hooks });
  expect(refused).toMatchObject({ outcome: 'failed', error: { code: 'INVALID_INPUT' } });
  expect(told[1]).toMatchObject({ taskId: 'no-agent', cellId: null, error: { code: 'INVALID_INPUT' } });
});
