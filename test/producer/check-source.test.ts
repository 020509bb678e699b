import { expect, test } from 'vitest';
import { InvalidInput } from '../../src/errors.ts';
import { parseTask } from '../../src/job/task.ts';
import { checkTasksAgainst, type SourceFacts } from '../../src/producer/check-source.ts';
import type { PlacedTask } from '../../src/producer/tasks-file.ts';

function placed(id: string, base?: string, dependsOn: string[] = []): PlacedTask {
  const { task } = parseTask({ id, prompt: 'x', dependsOn, ...(base === undefined ? {} : { base }) }, 'x');
  if (task === null) throw new Error('no task');
  return { task, where: `t.jsonl:${id}`, baseGiven: base !== undefined };
}

function source(branches: string[], currentBranch: string | null = null): SourceFacts & { asked: string[] } {
  const asked: string[] = [];
  return {
    name: './repo',
    currentBranch,
    asked,
    tipOf: async base => {
      asked.push(base);
      return branches.includes(base) ? '0123abcd' : null;
    },
    branchExists: async name => branches.includes(name),
  };
}

async function refusal(tasks: PlacedTask[], facts: SourceFacts): Promise<InvalidInput> {
  const error: unknown = await checkTasksAgainst(tasks, facts).catch((reason: unknown) => reason);
  if (!(error instanceof InvalidInput)) throw error;
  return error;
}

test('tasks whose base branches are there pass, and each branch is looked up once', async () => {
  const facts = source(['main', 'dev']);
  await checkTasksAgainst([placed('a'), placed('b'), placed('c', 'dev')], facts);
  expect(facts.asked).toEqual(['main', 'dev']);
});

test('a missing base branch is told for every task, with its line and the current branch', async () => {
  const error = await refusal([placed('a', 'gone'), placed('b', 'dev'), placed('c', 'gone')], source(['dev'], 'dev'));
  expect(error.code).toBe('UNKNOWN_BASE');
  expect(error.message.split('\n')).toEqual([
    't.jsonl:a: base branch "gone" is not in ./repo; the current branch is "dev"',
    't.jsonl:c: base branch "gone" is not in ./repo; the current branch is "dev"',
  ]);
});

test('a base that nobody named is told together with the way to name one', async () => {
  expect((await refusal([placed('a')], source(['trunk'], 'trunk'))).message).toBe(
    't.jsonl:a: the task names no base branch, and ./repo has no "main"; the current branch is "trunk": ' +
      'give --base trunk, or "base": "trunk" in the task',
  );
  expect((await refusal([placed('a')], source([]))).message).toContain('give --base <branch>');
});

test('a branch that stands in the way of all branches of cellpool is told, with what to do', async () => {
  const error = await refusal([placed('a')], source(['main', 'cellpool']));
  expect(error.code).toBe('INVALID_INPUT');
  expect(error.message).toMatch(/^\.\/repo: has a branch "cellpool".*git branch -m cellpool <new name>/);
});

test('a task based on its own branch is refused, one based on another task is not', async () => {
  const facts = source(['main', 'cellpool/a', 'cellpool/b']);
  const error = await refusal([placed('a', 'cellpool/a'), placed('b', 'cellpool/a')], facts);
  expect(error.message).toBe('t.jsonl:a: base "cellpool/a" is the branch this task commits on');
});

test('the branch of a task that another depends on need not be there yet; that of any other task must', async () => {
  const facts = source(['main'], 'main');
  await checkTasksAgainst([placed('a'), placed('b', 'cellpool/a', ['c', 'a'])], facts);
  expect((await refusal([placed('b', 'cellpool/a', ['c'])], facts)).message).toBe(
    't.jsonl:b: base branch "cellpool/a" is not in ./repo: a task that is to make it belongs in "dependsOn"',
  );
});
