import { execFileSync } from 'node:child_process';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseTask, taskSchema } from '../../src/job/task.ts';

const task = { id: 'a', prompt: 'do it' };

function faultsOf(value: unknown): string[] {
  return parseTask(value, 'f:1').faults.map(({ where, what }) => `${where}: ${what}`);
}

test('a task of id and prompt gets the defaults of the specification', () => {
  expect(parseTask(task, 'f:1').task).toEqual({
    ...task,
    base: 'main',
    timeoutMs: 1_800_000,
    tokenBudget: 50_000,
    attempts: 3,
  });
});

test.each([
  [null, 'f:1: a task is an object with at least "id" and "prompt"'],
  [[task], 'f:1: a task is an object with at least "id" and "prompt"'],
  [new Date(), 'f:1: a task is an object with at least "id" and "prompt"'],
  [
    { ...task, id: 'a:b' },
    'f:1: "id" is made of letters, digits, ".", "_" and "-" and begins with a letter or digit: "a:b"',
  ],
  [{ ...task, prompt: '' }, 'f:1: "prompt" may not be empty'],
  [{ ...task, prompt: ' \n' }, 'f:1: "prompt" may not be empty'],
  [{ ...task, prompt: 'a\0b' }, 'f:1: "prompt" may not contain a NUL character'],
  [{ ...task, prompt: 'x'.repeat(500_001) }, 'f:1: "prompt" may be at most 500000 characters'],
  [{ ...task, title: 'a\nb' }, 'f:1: "title" must be a single line'],
  [{ ...task, test: true }, 'f:1: "test" must be text, not true: put it in quotes'],
  [{ ...task, timeoutMs: 86_400_001 }, 'f:1: "timeoutMs" may be at most 86400000'],
  [{ ...task, tokenBudget: 1.5 }, 'f:1: "tokenBudget" must be a whole number, not 1.5'],
  [{ ...task, tokenBudget: Number.NaN }, 'f:1: "tokenBudget" must be a number, not NaN'],
  [{ ...task, attempts: 0 }, 'f:1: "attempts" must be at least 1'],
  [{ ...task, priority: 2_097_152 }, 'f:1: "priority" may be at most 2097151'],
  [{ ...task, model: 'claude' }, 'f:1: "model" is written provider/model'],
  [{ ...task, metadata: [1] }, 'f:1: "metadata" must be an object with keys and values'],
  [
    { ...task, metadata: { a: { b: Number.POSITIVE_INFINITY } } },
    'f:1: "metadata" holds Infinity, which JSON cannot say',
  ],
  [{ ...task, metadata: { a: new Map() } }, 'f:1: "metadata" holds a value that JSON cannot say'],
  [{ ...task, metadata: { a: 'x'.repeat(100_000) } }, 'f:1: "metadata" may be at most 100000 characters of JSON'],
  [{ ...task, promt: 1 }, 'f:1: key "promt" is not known'],
  [{ ...task, base: null }, 'f:1: "base" must be text, not null'],
  [{ ...task, dependsOn: 'b' }, 'f:1: "dependsOn" must be a list, not "b"'],
  [
    { ...task, dependsOn: ['b', '12'] },
    'f:1: "dependsOn.1" may not be digits only, the queue refuses that: write "task-12"',
  ],
  [{ ...task, dependsOn: ['b', 'c', 'b'] }, 'f:1: "dependsOn.2" names "b" twice'],
  [{ ...task, dependsOn: ['b', 'a'] }, 'f:1: "dependsOn.1" is the task itself'],
  [
    { ...task, dependsOn: Array.from({ length: 101 }, (_, index) => `t${index}`) },
    'f:1: "dependsOn" may name at most 100 tasks',
  ],
])('%# is refused, and the fault reads well', (value, fault) => {
  expect(faultsOf(value)).toEqual([fault]);
});

test('every fault of what a task depends on is named beside those of its other keys', () => {
  expect(faultsOf({ ...task, prompt: '', dependsOn: ['a', 'b', 'b', '../c'] })).toEqual([
    'f:1: "prompt" may not be empty',
    expect.stringMatching(/^f:1: "dependsOn\.3" is made of letters/),
    'f:1: "dependsOn.2" names "b" twice',
    'f:1: "dependsOn.0" is the task itself',
  ]);
});

test('metadata that holds itself, or is nested without end, is a fault and no crash', () => {
  const circle: Record<string, unknown> = {};
  circle.self = circle;
  expect(faultsOf({ ...task, metadata: circle })).toEqual(['f:1: "metadata" is nested deeper than 64 levels']);
  const shared = Array.from({ length: 8 }).reduce<unknown>(inner => Array.from({ length: 10 }, () => inner), 1);
  expect(faultsOf({ ...task, metadata: { shared } })).toEqual(['f:1: "metadata" holds more than 100000 values']);
});

test('a key "__proto__" of a parsed task is refused and pollutes nothing', () => {
  const value: unknown = JSON.parse(
    '{"id":"a","prompt":"x","__proto__":{"x":1},"metadata":{"y":{"__proto__":{"x":1}}}}',
  );
  expect(parseTask(value, 'f:1').task).toBe(null);
  expect(({} as Record<string, unknown>).x).toBe(undefined);
});

test('each fault can stand in a place of its own', () => {
  const { faults } = parseTask({ prompt: '', x: 1 }, path => `at ${path.join('.')}`);
  expect(faults.map(({ where }) => where)).toEqual(['at id', 'at prompt', 'at x']);
});

test('a default that is undefined counts for nothing', () => {
  expect(parseTask(task, 'f:1', { model: undefined, attempts: undefined, base: 'dev' }).task).toEqual({
    ...task,
    base: 'dev',
    timeoutMs: 1_800_000,
    tokenBudget: 50_000,
    attempts: 3,
  });
});

test('a base branch passes only when git takes it as a branch name', () => {
  const bits = fc.constantFrom(
    'a',
    'B',
    '/',
    '.',
    '..',
    '@',
    '{',
    '@{',
    '.lock',
    '-',
    ' ',
    '~',
    '^',
    ':',
    '\\',
    '\u0001',
    'é',
  );
  const name = fc.array(bits, { minLength: 1, maxLength: 5 }).map(parts => parts.join(''));
  const takes = (branch: string) => {
    try {
      execFileSync('git', ['check-ref-format', '--branch', branch], { stdio: 'ignore' });
      return true;
    } catch {
      return false;
    }
  };
  fc.assert(
    fc.property(name, branch => {
      if (taskSchema.shape.base.safeParse(branch).success) expect([branch, takes(branch)]).toEqual([branch, true]);
    }),
    { numRuns: 200 },
  );
  expect(taskSchema.shape.base.safeParse('HEAD').success).toBe(false);
  for (const branch of ['main', 'feature/x.y', 'v1.2', 'a@b', 'Ünïcode']) {
    expect(taskSchema.shape.base.safeParse(branch).success).toBe(true);
  }
});

describe('landing', () => {
  const fault = (more: object) => parseTask({ id: 'a', prompt: 'b', ...more }, 'here').faults.map(({ what }) => what);

  test('a task lands only with a test command: nothing else says that it may', () => {
    expect(fault({ land: 'merge', test: 'make check' })).toEqual([]);
    expect(fault({ land: 'none' })).toEqual([]);
    expect(fault({ land: 'push' })).toEqual([
      '"land" asks for a test command: what lands is what its tests let through',
    ]);
    expect(fault({ land: 'rebase', test: 'x' })).toEqual([expect.stringContaining('"land"')]);
  });

  test('nothing lands on the branch of a task: one that begins at such a branch names its target', () => {
    const given = { land: 'merge', test: 'make check', base: 'cellpool/other' };
    expect(fault(given)).toEqual([
      '"land" asks for "landOn": "cellpool/other" is the branch of a task, on which nothing lands',
    ]);
    expect(fault({ ...given, landOn: 'main' })).toEqual([]);
    expect(fault({ ...given, landOn: '-main' })).toEqual(['"landOn" is not a branch name that git accepts']);
  });
});
