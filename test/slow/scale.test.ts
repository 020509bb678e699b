/** Many tasks on one repository, ten cells at once, with real opencode: every outcome right, and nothing left. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type ScriptedModel, startScriptedModel } from '../../src/cli/demo/scripted-model.ts';
import type { AttemptResult, Outcome } from '../../src/job/outcome.ts';
import type { TaskInput } from '../../src/job/task.ts';
import { CliHome, type Finished, jsonLines, scripted } from '../support/cli.ts';
import { git } from '../support/repository.ts';

const TASKS = 50;
const CONCURRENCY = 10;
const MINUTE = 60_000;

interface Expected {
  outcome: Outcome;
  attempt: number;
}

/** One in ten changes nothing, one fails for good, one passes in its second attempt, the others pass at once. */
function plan(number: number): { task: TaskInput; expected: Expected } {
  const id = `scale-${number}`;
  const file = `notes/${number}.txt`;
  const test = `grep -q good ${file}`;
  const think = { think: 200 };
  if (number % 10 === 3) {
    return { task: scripted(id, [think, { run: 'ls' }], { test }), expected: { outcome: 'no-changes', attempt: 1 } };
  }
  if (number % 10 === 6) {
    const steps = [think, { write: { [file]: 'bad\n' } }];
    return { task: scripted(id, steps, { test, attempts: 1 }), expected: { outcome: 'reverted', attempt: 1 } };
  }
  if (number % 10 === 9) {
    const steps = [
      { attempt: 1, write: { [file]: 'bad\n' } },
      { attempt: 2, write: { [file]: 'good\n' } },
    ];
    return { task: scripted(id, steps, { test }), expected: { outcome: 'committed', attempt: 2 } };
  }
  const steps = [think, { write: { [file]: 'good\n' } }];
  return { task: scripted(id, steps, { test }), expected: { outcome: 'committed', attempt: 1 } };
}

const plans = Array.from({ length: TASKS }, (_, index) => plan(index + 1));
const cli = new CliHome();
let model: ScriptedModel;
let repository: string;
let refsBefore: string;
let done: Finished;
let results: Map<string, AttemptResult>;

beforeAll(async () => {
  model = await startScriptedModel();
  repository = cli.repository({ 'a.txt': 'a\n', 'notes/README': 'notes\n' });
  refsBefore = git(repository, 'rev-parse', 'main');
  const file = cli.tasksFile(
    'tasks.jsonl',
    plans.map(({ task }) => task),
  );
  const flags = ['--repo', repository, ...cli.modelFlags(model), '--concurrency', String(CONCURRENCY)];
  done = await cli.run(['run', file, ...flags, '--json']);
  results = new Map(jsonLines<AttemptResult>(done.stdout).map(result => [result.taskId, result]));
}, 20 * MINUTE);

afterAll(async () => {
  await model.close();
  cli.remove();
});

test('every task has the outcome that its work deserves, once', () => {
  expect(jsonLines(done.stdout)).toHaveLength(TASKS);
  const found = plans.map(({ task }) => {
    const { outcome, attempt, error } = results.get(task.id) ?? {};
    return [task.id, outcome, attempt, outcome === 'reverted' ? error?.code : error];
  });
  expect(found).toEqual(
    plans.map(({ task, expected: { outcome, attempt } }) => [
      task.id,
      outcome,
      attempt,
      outcome === 'reverted' ? 'TESTS_FAILED' : null,
    ]),
  );
});

test('the command ends with 1, because not all ended well', () => {
  expect(done).toMatchObject({ exitCode: 1, signal: null });
  // Of Node's own, such as listeners that pile up.
  expect(done.stderr).not.toContain('Warning');
});

test('each commit holds the work of its own task and nothing else, on top of the base', () => {
  for (const { task, expected } of plans) {
    const branch = `cellpool/${task.id}`;
    if (expected.outcome !== 'committed') {
      expect(git(repository, 'branch', '--list', branch)).toBe('');
      continue;
    }
    expect(git(repository, 'rev-parse', branch)).toBe(results.get(task.id)?.commit);
    expect(git(repository, 'rev-parse', `${branch}^`)).toBe(refsBefore);
    const number = task.id.replace('scale-', '');
    expect(git(repository, 'diff', '--name-only', 'main', branch)).toBe(`notes/${number}.txt`);
  }
});

test('the base and the working copy are as they were', () => {
  expect(git(repository, 'rev-parse', 'main')).toBe(refsBefore);
  expect(git(repository, 'status', '--porcelain', '--ignored')).toBe('');
});

test('no process, no cell, no lease and no worktree is left', () => cli.expectNothingLeft(repository));
