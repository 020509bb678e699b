/** The whole life of an attempt, once for each way it can end; every one with a real server, git and test command. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { AttemptFacts } from '../../src/cell/attempt-facts.ts';
import type { HookFacts } from '../../src/cell/hook-facts.ts';
import { type CellRun, runCell } from '../../src/cell/run-cell.ts';
import type { SpawnConfig } from '../../src/cell/spawn-config.ts';
import { type ScriptStep, script } from '../../src/cli/demo/script.ts';
import { SCRIPTED_MODEL } from '../../src/cli/demo/scripted-model.ts';
import { CellpoolError } from '../../src/errors.ts';
import { HOOKS } from '../../src/job/hooks.ts';
import { type AttemptResult, attemptResultSchema, type Stage } from '../../src/job/outcome.ts';
import { MASK, Redactor } from '../../src/observe/redact.ts';
import type { PortLease } from '../../src/redis/port-lease.ts';
import { startTestCells, type TestCells } from '../support/cell.ts';
import { git, pictureOf, refsOf, writeFiles } from '../support/repository.ts';

// Real servers share few cores with other tests: a boot of 3 s may take 30.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

let cells: TestCells;
beforeAll(async () => {
  cells = await startTestCells();
  // The user is in the middle of something: none of it may be seen in a cell, nor touched by one.
  writeFiles(cells.repository, { 'src/greet.js': 'half an edit', 'staged.txt': 's\n', 'untracked.txt': 'u\n' });
  git(cells.repository, 'add', 'staged.txt');
});
afterAll(() => cells?.close());

interface Run {
  config?: Partial<SpawnConfig>;
  steps?: ScriptStep[];
  cancel?: AbortController;
  onStage?: CellRun['onStage'];
  hooks?: CellRun['hooks'];
  fence?: CellRun['fence'];
}

/** One attempt, and what was told of it; everything that no attempt may leave or touch is checked. */
async function attempt(taskId: string, run: Run = {}) {
  const { config, steps = [{ say: 'Nothing to do.' }], cancel, onStage, hooks, fence } = run;
  const stages: Stage[] = [];
  const usage: number[] = [];
  const before = stateOf(cells.repository);
  const refs = refsOf(cells.repository).split('\n');
  const result = await runCell(cells.spawner, {
    config: { agentId: 'agent-1', taskId, model: SCRIPTED_MODEL, ...config },
    prompt: `Do it.\n\n${script(steps)}`,
    subject: 'What was asked',
    signal: cancel?.signal ?? new AbortController().signal,
    hooks,
    fence,
    onStage: (stage, agent) => {
      stages.push(stage);
      onStage?.(stage, agent);
    },
    onUsage: tokens => usage.push(tokens),
  });
  await cells.expectNothingLeft();
  expect(stateOf(cells.repository)).toEqual(before);
  const added = refsOf(cells.repository)
    .split('\n')
    .filter(ref => !refs.includes(ref));
  expect(added).toEqual(result.commit === null ? [] : [`refs/heads/cellpool/${taskId} ${result.commit}`]);
  expect(attemptResultSchema.parse(result)).toEqual(result);
  const { spawnMs, executionMs, teardownMs, totalMs } = result.metrics;
  expect(totalMs).toBeGreaterThanOrEqual(spawnMs + executionMs + teardownMs);
  if (result.artifacts !== '') expect(JSON.parse(artifact(result, 'result.json'))).toEqual(result);
  return { result, stages, usage };
}

/** The working copy, the index and HEAD, byte for byte. */
function stateOf(repository: string) {
  const read = (file: string) => readFileSync(join(repository, '.git', file), 'base64');
  return { files: pictureOf(repository), index: read('index'), head: read('HEAD'), config: read('config') };
}

const artifact = (result: AttemptResult, file: string) => readFileSync(join(result.artifacts, file), 'utf8');
const WORK: ScriptStep[] = [
  { tokens: { input: 100, output: 10 } },
  { write: { 'src/greet.js': "export const greet = () => 'hi';\n" } },
];
/** A hook's command that writes its name and this text down, where both outlive the cell. */
const NOTE = (text: string) => `echo "$CELLPOOL_HOOK ${text}" >> "$CELLPOOL_ARTIFACTS/notes"`;
const WHOLE_LIFE: Stage[] = ['spawn', 'execute', 'test', 'settle', 'teardown'];

test('work that passes its tests is committed, and the whole life is told in order', async () => {
  const { result, stages, usage } = await attempt('good-work', {
    steps: WORK,
    // The base is what was committed; the user's half edit is not part of it.
    config: { setup: 'echo ready > setup-made.txt', test: 'cat setup-made.txt && ! grep -r "half an edit" .' },
  });
  const commit = git(cells.repository, 'rev-parse', 'cellpool/good-work');
  expect(result).toMatchObject({
    taskId: 'good-work',
    outcome: 'committed',
    attempt: 1,
    branch: 'cellpool/good-work',
    commit,
    filesModified: ['src/greet.js'],
    tokensUsed: 220,
    tests: { passed: true, exitCode: 0 },
    error: null,
  });
  expect(git(cells.repository, 'log', '-1', '--format=%s', commit)).toBe('What was asked');
  expect(stages).toEqual(WHOLE_LIFE);
  expect(usage.at(-1)).toBe(220);
  expect(artifact(result, 'test.log')).toBe('ready\n');
  expect(artifact(result, 'changes.diff')).toContain('+export const greet');
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

test('what the agent left running is ended before its work is judged and committed', async () => {
  const { result } = await attempt('left-running', {
    steps: [...WORK, { run: 'setsid sleep 300 >/dev/null 2>&1 & echo $! > "$TMPDIR/left"' }],
    // A zombie that nobody has buried yet has no program any more.
    config: { test: 'test -s "$TMPDIR/left" && ! readlink "/proc/$(cat "$TMPDIR/left")/exe"' },
  });
  expect(result).toMatchObject({ outcome: 'committed', tests: { passed: true }, filesModified: ['src/greet.js'] });
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

test('an agent that is not done in time is stopped', async () => {
  const { result } = await attempt('too-slow', { steps: [{ hang: true }], config: { timeoutMs: 4_000, test: 'true' } });
  expect(result).toMatchObject({
    outcome: 'timed-out',
    commit: null,
    error: { code: 'TIMED_OUT', message: 'the agent was not done after 4000 ms' },
    tests: null,
  });
});

test('an agent that does not go on is stopped, with what the last was that was heard of it', async () => {
  const { result } = await attempt('stands-still', {
    steps: [{ hang: true }],
    config: { stallMs: 4_000, test: 'true' },
  });
  expect(result).toMatchObject({ outcome: 'stalled', commit: null, tests: null, error: { code: 'STALLED' } });
  expect(result.error?.message).toMatch(/^no progress for 4000 ms; at 20\d\d-\S+Z \w/);
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

test('an agent that costs too much is stopped, when the prices of its model are known', async () => {
  const models = { model: { cost: { input: 1_000, output: 1_000 } } };
  const { result } = await attempt('expensive', {
    steps: [...WORK, { tokens: { input: 100, output: 20 } }, { forever: 'date +%N >> more.txt; cat more.txt' }],
    config: { costBudgetUsd: 0.3, test: 'true', opencode: { provider: { scripted: { models } } } },
  });
  expect(result).toMatchObject({ outcome: 'over-budget', commit: null, tests: null, error: { code: 'OVER_BUDGET' } });
  // A dollar for a thousand tokens.
  const spent = result.tokensUsed / 1_000;
  expect(spent).toBeGreaterThan(0.3);
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

describe('hooks', () => {
  test('happen in their order; what the tests saw is committed, what other hooks leave is not', async () => {
    const told: HookFacts[] = [];
    const all = HOOKS.map(name => [name, (facts: HookFacts) => void told.push(facts)]);
    const leave = (name: string) => `echo left > left-by-${name}.txt`;
    const { result } = await attempt('hooked', {
      steps: [{ tokens: { input: 100, output: 10 } }, { write: { 'src/new.js': 'const a=1' } }],
      hooks: Object.fromEntries(all),
      config: {
        setup: 'cp left-by-afterSpawn.txt left-by-setup.txt',
        test: 'grep -q "a = 1" src/new.js && ls left-by-*',
        hooks: {
          afterSpawn: `${NOTE('$CELLPOOL_TOKENS [$CELLPOOL_OUTCOME]')}; ${leave('afterSpawn')}`,
          beforeExecute: { run: `${NOTE('$(echo left-by-*)')}; ${leave('beforeExecute')}`, timeoutMs: 10_000 },
          // A formatter, say.
          afterExecute: `${NOTE('$CELLPOOL_TOKENS')}; echo 'const a = 1;' > src/new.js; ${leave('afterExecute')}`,
          afterTests: `${NOTE('$CELLPOOL_TESTS')}; ${leave('afterTests')}; rm src/new.js; echo too late; exit 4`,
          onFailure: NOTE('is not reached'),
          beforeTeardown: NOTE('$CELLPOOL_OUTCOME $CELLPOOL_COMMIT'),
        },
      },
    });
    expect(result).toMatchObject({
      outcome: 'committed',
      tests: { passed: true },
      filesModified: ['left-by-afterExecute.txt', 'src/new.js'],
      hookFaults: [{ hook: 'afterTests', message: 'hook afterTests ended with code 4: too late' }],
    });
    expect(git(cells.repository, 'show', 'cellpool/hooked:src/new.js')).toBe('const a = 1;');
    expect(artifact(result, 'test.log')).toBe(
      'left-by-afterExecute.txt\nleft-by-afterSpawn.txt\nleft-by-beforeExecute.txt\nleft-by-setup.txt\n',
    );
    expect(artifact(result, 'notes').trimEnd().split('\n')).toEqual([
      'afterSpawn 0 []',
      'beforeExecute left-by-afterSpawn.txt left-by-setup.txt',
      'afterExecute 220',
      'afterTests passed',
      `beforeTeardown committed ${result.commit}`,
    ]);
    expect(told.map(facts => facts.hook)).toEqual(HOOKS.filter(name => name !== 'onFailure'));
    expect(told.at(-1)).toMatchObject({ outcome: 'committed', commit: result.commit, tests: { passed: true } });
    expect(cells.logs).toContainEqual(expect.objectContaining({ msg: 'hook failed', hook: 'afterTests', level: 40 }));
  });

  test('before the agent that fail end the attempt, and those for failure still follow', async () => {
    const asked = cells.model.requests;
    const { result, stages } = await attempt('hook-fails', {
      config: {
        test: 'true',
        hooks: {
          afterSpawn: NOTE('ok'),
          beforeExecute: 'echo no database; exit 7',
          onFailure: `${NOTE('$CELLPOOL_OUTCOME $CELLPOOL_ERROR_CODE $CELLPOOL_ERROR')}; echo not the agent > mine.txt`,
          beforeTeardown: NOTE('ok'),
        },
      },
    });
    const message = 'hook beforeExecute ended with code 7: no database';
    expect(result).toMatchObject({ outcome: 'failed', error: { code: 'HOOK_FAILED', message }, filesModified: [] });
    expect(result).not.toHaveProperty('hookFaults');
    expect(stages).toEqual(['spawn', 'teardown']);
    expect(cells.model.requests).toBe(asked);
    expect(artifact(result, 'notes')).toBe(
      `afterSpawn ok\nonFailure failed HOOK_FAILED ${message}\nbeforeTeardown ok\n`,
    );
    expect(artifact(result, 'hook-beforeExecute.log')).toBe('no database\n');
  });

  test('before the agent are cut short by a cancellation', async () => {
    const cancel = new AbortController();
    const { result } = await attempt('hook-cancelled', {
      cancel,
      config: { hooks: { beforeTeardown: NOTE('$CELLPOOL_OUTCOME') } },
      hooks: { afterSpawn: () => new Promise(() => cancel.abort()) },
    });
    expect(result).toMatchObject({
      outcome: 'cancelled',
      error: { code: 'CANCELLED', message: 'cancelled during hook afterSpawn' },
    });
    expect(artifact(result, 'notes')).toBe('beforeTeardown cancelled\n');
  });
});

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
