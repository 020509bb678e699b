/** Whole attempts in worktrees of the user's repository, with a real agent. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { runCell } from '../../src/cell/run-cell.ts';
import { type ScriptStep, script } from '../../src/cli/demo/script.ts';
import { SCRIPTED_MODEL } from '../../src/cli/demo/scripted-model.ts';
import type { IsolationLevel } from '../../src/os/isolation.ts';
import { startTestCells, type TestCells } from '../support/cell.ts';
import { isolationHere } from '../support/isolation.ts';
import { git } from '../support/repository.ts';
import { registrations } from '../support/worktree.ts';

const MINUTE = 60_000;

describe.each(['process', 'sandbox', 'strict'] as const)('in isolation %s', async (level: IsolationLevel) => {
  const here = await isolationHere(level);
  let cells: TestCells;

  beforeAll(async () => {
    const patient = { bootMs: 5 * MINUTE, testMs: 2 * MINUTE };
    if (here !== null) cells = await startTestCells({ isolation: level, workspace: 'worktree', ...patient });
  });
  afterAll(() => cells?.close());

  function attempt(taskId: string, steps: readonly ScriptStep[], command: string) {
    return runCell(cells.spawner, {
      config: { agentId: taskId, taskId, model: SCRIPTED_MODEL, test: command },
      prompt: script(steps),
      subject: 'Work in a worktree',
      signal: new AbortController().signal,
      onStage: () => undefined,
      onUsage: () => undefined,
    });
  }

  async function expectNoTrace(namesBefore: string[]): Promise<void> {
    await cells.expectNothingLeft();
    const gitDir = join(cells.repository, '.git');
    expect(registrations(gitDir)).toEqual([]);
    expect(readdirSync(gitDir).filter(name => !namesBefore.includes(name))).toEqual([]);
  }

  test.skipIf(here === null)(
    'an agent works with the git of the user, is judged, and its work comes home',
    async () => {
      const names = [...readdirSync(join(cells.repository, '.git')), 'logs', 'opencode'];
      const done = await attempt(
        'whole',
        [{ write: { 'new.txt': 'work\n' } }, { run: 'git add -A && git commit -qm own && git branch of-the-agent' }],
        'git status --short; test "$(cat new.txt)" = work && git rev-parse of-the-agent',
      );
      expect(done).toMatchObject({ outcome: 'committed', workspace: 'worktree', isolation: level, error: null });
      expect(git(cells.repository, 'show', `${done.branch}:new.txt`)).toBe('work');
      // The agent's own commit stands in the user's repository, and is not the one that came home.
      expect(git(cells.repository, 'log', '-1', '--format=%s', 'of-the-agent')).toBe('own');
      expect(git(cells.repository, 'rev-parse', 'of-the-agent')).not.toBe(done.commit);
      await expectNoTrace(names);

      const failed = await attempt('refused', [{ write: { 'new.txt': 'wrong\n' } }], 'echo not so; exit 4');
      expect(failed).toMatchObject({
        outcome: 'reverted',
        workspace: 'worktree',
        tests: { passed: false, exitCode: 4 },
      });
      await expectNoTrace(names);
    },
  );
});
