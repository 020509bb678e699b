/** One hook at a time: on a real agent that all tests of the first part share, then for cells that are not alive. */
import { existsSync, readFileSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { runFailureHookOfDead } from '../../src/cell/dead-cell-hook.ts';
import { type HookFacts, hookEnvironment } from '../../src/cell/hook-facts.ts';
import type { HookOptions } from '../../src/cell/hooks.ts';
import type { CellInfo, SpawnedAgent } from '../../src/cell/spawned-agent.ts';
import { CellpoolError } from '../../src/errors.ts';
import { HOOKS, type HookName, type Hooks } from '../../src/job/hooks.ts';
import { silentLogger } from '../../src/observe/logger.ts';
import { Redactor } from '../../src/observe/redact.ts';
import { chooseIsolation } from '../../src/os/isolation.ts';
import type { CellRecord } from '../../src/redis/cell-record.ts';
import { startTestCells, type TestCells } from '../support/cell.ts';
import { leftBehind } from '../support/dead-cell.ts';
import { processesOf } from '../support/leaks.ts';
import { tempFolder } from '../support/repository.ts';

// Real servers share few cores with other tests: a boot of 3 s may take 30.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

describe('a hook of a live cell', () => {
  let cells: TestCells;
  let agent: SpawnedAgent;
  let info: CellInfo;

  beforeAll(async () => {
    process.env.CELLPOOL_CANARY = 'canary-2b9e';
    cells = await startTestCells({ env: { server: [], commands: ['HOOK_TEST_PASSED'] } });
    process.env.HOOK_TEST_PASSED = 'passed on';
    // Each test writes what its hook does where no agent would: into the cell's own home.
    const command = 'exec sh "$HOME/hook.sh"';
    const hooks: Hooks = Object.fromEntries(HOOKS.map(name => [name, command]));
    hooks.afterTests = { run: command, timeoutMs: 60_000 };
    const { beforeTeardown: _, ...others } = hooks;
    agent = await cells.spawner.spawnAgent({ agentId: 'agent-7', taskId: 'hooked', hooks: others, hookMs: 6_000 });
    const found = cells.spawner.getCellInfo(agent);
    if (found === null) throw new Error('the agent is not known');
    info = found;
  });
  afterAll(async () => {
    await cells?.spawner.teardownAgent(agent);
    await cells?.expectNothingLeft();
    await cells?.close();
    for (const name of ['CELLPOOL_CANARY', 'HOOK_TEST_PASSED']) delete process.env[name];
  });

  const run = (name: HookName, lines: string, options?: HookOptions) => {
    writeFileSync(join(info.workspacePath, '../home/hook.sh'), lines);
    return cells.spawner.runHook(agent, name, options);
  };
  const failureOf = (name: HookName, lines: string, options?: HookOptions): Promise<unknown> =>
    run(name, lines, options).then(
      () => 'it did not fail',
      error => (error instanceof CellpoolError ? `${error.code}: ${error.message}` : error),
    );
  const log = (name: HookName) => readFileSync(join(info.artifacts, `hook-${name}.log`), 'utf8');

  test('before the agent may leave files in the workspace, which are no work of the agent', async () => {
    for (const name of ['afterSpawn', 'beforeExecute'] as const) {
      await run(name, 'echo made > made-by-$CELLPOOL_HOOK; echo more >> README.md');
      expect(await cells.spawner.hasChanges(agent)).toBe(false);
    }
    await run('afterExecute', 'echo made > made-by-$CELLPOOL_HOOK');
    expect((await cells.spawner.revertChanges(agent)).filesModified).toEqual(['made-by-afterExecute']);
  });

  test('works in the workspace, with the facts and what commands get, and without secrets', async () => {
    const tests = { passed: false, exitCode: 3, durationMs: 1 };
    const error = { code: 'TESTS_FAILED', message: 'the tests failed: "why"\n$(exit)' };
    await run('onFailure', 'pwd; env -0 > "$CELLPOOL_ARTIFACTS/env"', { tests, outcome: 'reverted', error });
    expect(log('onFailure')).toBe(`${info.workspacePath}\n`);
    const env = readFileSync(join(info.artifacts, 'env'), 'utf8').split('\0').filter(Boolean);
    expect(Object.fromEntries(env.map(entry => [entry.split('=', 1)[0], entry.slice(entry.indexOf('=') + 1)]))).toEqual(
      {
        ...Object.fromEntries(['PATH', 'PWD', 'HOME', 'TMPDIR'].map(name => [name, expect.any(String)])),
        ...Object.fromEntries(['DATA', 'STATE', 'CACHE'].map(name => [`XDG_${name}_HOME`, expect.any(String)])),
        ...optional(['LANG', 'LC_ALL', 'LC_CTYPE', 'TZ', 'NODE_EXTRA_CA_CERTS', 'SSL_CERT_FILE', 'SSL_CERT_DIR']),
        ...optional(['HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY', 'http_proxy', 'https_proxy', 'no_proxy']),
        ...{ GIT_CONFIG_NOSYSTEM: '1', GIT_TERMINAL_PROMPT: '0', CI: 'true', CELLPOOL_CELL: `${info.cellId}/command` },
        HOOK_TEST_PASSED: 'passed on',
        CELLPOOL_HOOK: 'onFailure',
        CELLPOOL_TASK_ID: 'hooked',
        CELLPOOL_AGENT_ID: 'agent-7',
        CELLPOOL_ATTEMPT: '1',
        CELLPOOL_CELL_ID: info.cellId,
        CELLPOOL_PORT: String(info.port),
        CELLPOOL_BRANCH: 'cellpool/hooked',
        CELLPOOL_BASE_COMMIT: info.baseCommit,
        CELLPOOL_WORKSPACE: info.workspacePath,
        CELLPOOL_ARTIFACTS: info.artifacts,
        CELLPOOL_TOKENS: '0',
        CELLPOOL_TESTS: 'failed',
        CELLPOOL_TESTS_EXIT_CODE: '3',
        CELLPOOL_OUTCOME: 'reverted',
        CELLPOOL_ERROR_CODE: 'TESTS_FAILED',
        CELLPOOL_ERROR: 'the tests failed: "why"\n$(exit)',
      },
    );
  });

  const optional = (names: string[]) =>
    Object.fromEntries(names.flatMap(name => (process.env[name] === undefined ? [] : [[name, process.env[name]]])));

  test('that the cell does not have is no fault', async () => {
    await cells.spawner.runHook(agent, 'beforeTeardown', { signal: AbortSignal.abort() });
    expect(existsSync(join(info.artifacts, 'hook-beforeTeardown.log'))).toBe(false);
  });

  test('is stopped with all it started when its time is up, its own limit before the general one', async () => {
    const lines = 'echo began; setsid sleep 300 & sleep 300';
    expect(await failureOf('afterExecute', lines)).toBe(
      'HOOK_FAILED: hook afterExecute was not done after 6000 ms: began',
    );
    // Longer than the general limit, and within its own.
    await run('afterTests', 'sleep 7; setsid sleep 300 >/dev/null 2>&1 &');
    const marker = `CELLPOOL_CELL=${info.cellId}/command`;
    expect(processesOf({ marker, folder: join(cells.home, 'nowhere') })).toEqual([]);
    expect(await cells.spawner.isHealthy(agent)).toBe(true);
  });

  test('is ended by a signal, and says by which', async () => {
    expect(await failureOf('afterExecute', 'kill -9 $$')).toBe('HOOK_FAILED: hook afterExecute was ended by SIGKILL');
  });

  test('calls the callback of the program with the same facts, also when its command failed, and both are told', async () => {
    const told: HookFacts[] = [];
    const callback = (facts: HookFacts) => {
      told.push(facts);
      throw new Error('no such channel');
    };
    expect(await failureOf('onFailure', 'echo no; exit 2', { callback, outcome: 'timed-out', commit: null })).toBe(
      'HOOK_FAILED: hook onFailure ended with code 2: no; the callback of hook onFailure failed: no such channel',
    );
    expect(told).toEqual([
      {
        hook: 'onFailure',
        taskId: 'hooked',
        agentId: 'agent-7',
        attempt: 1,
        cellId: info.cellId,
        branch: 'cellpool/hooked',
        port: info.port,
        baseCommit: info.baseCommit,
        workspace: info.workspacePath,
        artifacts: info.artifacts,
        tokens: 0,
        tests: null,
        outcome: 'timed-out',
        error: null,
        commit: null,
      },
    ]);
  });

  test('waits for a callback no longer than its time limit, and tells it so', async () => {
    let told: AbortSignal | undefined;
    const callback = (_: HookFacts, signal: AbortSignal) => {
      told = signal;
      return new Promise<void>(() => undefined);
    };
    expect(await failureOf('beforeTeardown', '', { callback })).toBe(
      'HOOK_FAILED: the callback of hook beforeTeardown was not done after 6000 ms',
    );
    expect(told?.aborted).toBe(true);
  });

  test('is cut short by a signal, and then calls nobody', async () => {
    const cancel = new AbortController();
    const callback = vi.fn();
    const begun = join(info.artifacts, 'begun');
    const ended = failureOf('afterTests', 'touch "$CELLPOOL_ARTIFACTS/begun"; sleep 300', {
      signal: cancel.signal,
      callback,
    });
    await vi.waitUntil(() => existsSync(begun), { timeout: 30_000 });
    cancel.abort();
    expect(await ended).toBe('CANCELLED: cancelled during hook afterTests');
    expect(callback).not.toHaveBeenCalled();
  });

  // The last one: the workspace is not put back.
  test('is not let loose on what an agent put in place of the workspace', async () => {
    const elsewhere = tempFolder('elsewhere');
    renameSync(info.workspacePath, `${info.workspacePath}.away`);
    symlinkSync(elsewhere, info.workspacePath);
    await run('onFailure', 'pwd; echo "[$CELLPOOL_WORKSPACE]"; touch here');
    expect(log('onFailure')).toBe(`${info.artifacts}\n[]\n`);
    expect(existsSync(join(elsewhere, 'here'))).toBe(false);
  });
});

describe('the variables of a hook', () => {
  test('hold no NUL and no endless text, or the command could not be started', () => {
    const message = `a\0b${'x'.repeat(200_000)}`;
    const env = hookEnvironment({ hook: 'onFailure', error: { code: 'INTERNAL', message } });
    expect(env.CELLPOOL_ERROR).toMatch(/^abx{3998}$/);
    expect(env).toEqual({
      CELLPOOL_HOOK: 'onFailure',
      CELLPOOL_ERROR_CODE: 'INTERNAL',
      CELLPOOL_ERROR: env.CELLPOOL_ERROR,
    });
  });

  test('tell what the tests said, and no exit code where there is none', () => {
    const tests = { passed: false, exitCode: null, durationMs: 5 };
    expect(hookEnvironment({ hook: 'afterTests', tests })).toEqual({
      CELLPOOL_HOOK: 'afterTests',
      CELLPOOL_TESTS: 'failed',
    });
    expect(hookEnvironment({ hook: 'afterTests', tests: { ...tests, passed: true, exitCode: 0 } })).toMatchObject({
      CELLPOOL_TESTS: 'passed',
      CELLPOOL_TESTS_EXIT_CODE: '0',
    });
  });
});

describe('onFailure for a cell whose worker died', () => {
  const runFor = async (record: CellRecord, onFailure: Hooks['onFailure'], hookMs = 20_000) =>
    runFailureHookOfDead({
      record,
      isolation: await chooseIsolation('process'),
      allowed: [],
      log: silentLogger,
      hooks: onFailure === undefined ? {} : { onFailure },
      hookMs,
      env: { commands: [] },
      redactor: new Redactor(),
    });

  test('runs in its workspace, with what is still known', async () => {
    const { record, artifacts, cell, workspace } = leftBehind();
    const facts = ['HOOK', 'CELL_ID', 'ATTEMPT', 'PORT', 'BRANCH', 'OUTCOME', 'ERROR_CODE', 'BASE_COMMIT'];
    const command = `pwd; echo "$HOME $TMPDIR"; echo "${facts.map(name => `$CELLPOOL_${name}`).join(' ')}"`;
    expect(await runFor(record, command)).toBeNull();
    expect(readFileSync(join(artifacts, 'hook-onFailure.log'), 'utf8').split('\n')).toEqual([
      workspace,
      `${join(cell, 'home')} ${join(cell, 'tmp')}`,
      `onFailure ${record.cellId} 2 9001 cellpool/orphan failed WORKER_DIED `,
      '',
    ]);
  });

  test('runs among the artifacts when a link stands where the workspace was', async () => {
    const { record, artifacts, workspace } = leftBehind();
    const elsewhere = tempFolder('elsewhere');
    renameSync(workspace, `${workspace}.away`);
    symlinkSync(elsewhere, workspace);
    expect(await runFor(record, 'touch here; echo "[$CELLPOOL_WORKSPACE]"')).toBeNull();
    expect(existsSync(join(elsewhere, 'here'))).toBe(false);
    expect(existsSync(join(artifacts, 'here'))).toBe(true);
    expect(readFileSync(join(artifacts, 'hook-onFailure.log'), 'utf8')).toBe('[]\n');
  });

  test('is told, not thrown, when it fails, when its time is up, and when nothing of the cell is left', async () => {
    const { record } = leftBehind();
    expect(await runFor(record, 'echo no; exit 5')).toBe('hook onFailure ended with code 5: no');
    expect(await runFor(record, { run: 'sleep 300', timeoutMs: 50 })).toBe('hook onFailure was not done after 50 ms');
    expect(await runFor(record, 'sleep 300', 50)).toBe('hook onFailure was not done after 50 ms');
    const gone = { ...record, home: '/nowhere/at/all', artifacts: '/etc' };
    expect(await runFor(gone, 'echo "[$CELLPOOL_ARTIFACTS]"; exit 5')).toBe('hook onFailure ended with code 5: []');
    expect(await runFor(record, undefined)).toBeNull();
  });
});
