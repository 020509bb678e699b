import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { runCell } from '../../src/cell/run-cell.ts';
import { type ScriptStep, script } from '../../src/cli/demo/script.ts';
import { SCRIPTED_MODEL } from '../../src/cli/demo/scripted-model.ts';
import { ARTIFACTS } from '../../src/observe/artifacts.ts';
import type { IsolationLevel } from '../../src/os/isolation.ts';
import { startTestCells, type TestCells } from '../support/cell.ts';
import { isolationHere } from '../support/isolation.ts';
import { git } from '../support/repository.ts';

/** What each command of the attempt prints: where it is, and what it sees of the pool. */
const LOOK = 'pwd; hostname; ls "$(dirname "$(dirname "$PWD")")"; git status --short';

describe.each(['sandbox', 'strict'] as const)('a cell in isolation %s', async (level: IsolationLevel) => {
  const here = await isolationHere(level);
  let cells: TestCells;

  beforeAll(async () => {
    if (here !== null) cells = await startTestCells({ isolation: level });
  });
  afterAll(() => cells?.close());

  function attempt(taskId: string, steps: readonly ScriptStep[], test: string) {
    return runCell(cells.spawner, {
      config: {
        ...{ agentId: taskId, taskId, model: SCRIPTED_MODEL, setup: `${LOOK}; echo made >of-setup`, test },
        hooks: { afterTests: `${LOOK}; cat "$CELLPOOL_ARTIFACTS/${ARTIFACTS.testLog}"` },
      },
      prompt: script(steps),
      subject: 'Work in isolation',
      signal: new AbortController().signal,
      onStage: () => undefined,
      onUsage: () => undefined,
    });
  }

  test.skipIf(here === null)('does a whole attempt inside, and its work comes home', async () => {
    const done = await attempt(
      'whole',
      [
        { write: { 'new.txt': 'work\n' } },
        { run: 'git add -A && git commit -qm own && cat of-setup && cat "$OPENCODE_MODELS_PATH" >models.json' },
      ],
      `${LOOK}; test "$(cat new.txt)" = work`,
    );
    expect(done).toMatchObject({ outcome: 'committed', isolation: level, tests: { passed: true }, error: null });
    expect(git(cells.repository, 'show', `${done.branch}:new.txt`)).toBe('work');
    // What the server is told of models can be read there; the scripted one's provider stands in its config.
    expect(git(cells.repository, 'show', `${done.branch}:models.json`)).toBe('{}');
    for (const name of [ARTIFACTS.setupLog, ARTIFACTS.testLog, 'hook-afterTests.log']) {
      const [cwd = '', hostname, siblings] = readFileSync(join(done.artifacts, name), 'utf8').split('\n');
      expect(cwd).toMatch(/\/cells\/whole\.[0-9a-f]{8}\/workspace$/);
      // Of all cells its own folder is there.
      expect([hostname, siblings]).toEqual([cwd.split('/').at(-2)?.replace(/\./g, '-'), cwd.split('/').at(-2)]);
    }
    await cells.expectNothingLeft();
  });

  test.skipIf(here === null)('is told why its work was refused, and put back', async () => {
    const failed = await attempt('refused', [{ write: { 'new.txt': 'wrong\n' } }], 'echo not so; exit 4');
    expect(failed).toMatchObject({ outcome: 'reverted', tests: { passed: false, exitCode: 4 } });
    expect(failed.error?.message).toContain('not so');
    await cells.expectNothingLeft();
  });
});
