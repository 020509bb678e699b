/** Hooks in the life of an attempt: when each of them happens, what it sees, and what its failure changes. */
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import type { HookFacts } from '../../src/cell/hook-facts.ts';
import { HOOKS } from '../../src/job/hooks.ts';
import { artifact, attempt as attemptOn, NOTE, type Run, startBusyCells } from '../support/attempts.ts';
import type { TestCells } from '../support/cell.ts';
import { git } from '../support/repository.ts';

// Real servers share few cores with other tests: a boot of 3 s may take 30.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

let cells: TestCells;
beforeAll(async () => {
  cells = await startBusyCells();
});
afterAll(() => cells?.close());

const attempt = (taskId: string, run?: Run) => attemptOn(cells, taskId, run);

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
