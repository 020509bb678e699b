import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { branchOf, jobIdOf, TASK_ID_MAX, taskIdFault } from '../../src/job/names.ts';

test.each([
  'a',
  'bd-a1b2.3',
  'A_b-c.d',
  '0x1f',
  '007a',
  'x'.repeat(TASK_ID_MAX),
  'lock',
  'a.lock.b',
  'waiting',
  'HEAD',
])('%s can be a task id', id => {
  expect(taskIdFault(id)).toBe(null);
});

test.each([
  ['', 'may not be empty'],
  ['x'.repeat(TASK_ID_MAX + 1), 'may have at most 100 characters, this one has 101'],
  ['a:b', 'is made of letters, digits, ".", "_" and "-" and begins with a letter or digit: "a:b"'],
  ['a/b', 'is made of letters, digits, ".", "_" and "-" and begins with a letter or digit: "a/b"'],
  ['-x', 'is made of letters, digits, ".", "_" and "-" and begins with a letter or digit: "-x"'],
  ['a\n', 'is made of letters, digits, ".", "_" and "-" and begins with a letter or digit: "a\\n"'],
  ['12', 'may not be digits only, the queue refuses that: write "task-12"'],
  ['wait', 'may not be "wait", a name the queue keeps for itself: write "task-wait"'],
  ['a..b', 'may not contain "..", which git refuses in a branch name: "a..b"'],
  ['a.', 'may not end with ".", which git refuses in a branch name: "a."'],
  ['a.LOCK', 'may not end with ".lock", which git refuses in a branch name: "a.LOCK"'],
])('%j cannot, and the reason is told', (id, fault) => {
  expect(taskIdFault(id)).toBe(fault);
});

test('no name that BullMQ keeps beside its jobs can be a task id', () => {
  // Read from BullMQ itself, so that a new version with a new name is noticed.
  const main = createRequire(import.meta.url).resolve('bullmq');
  const source = readFileSync(join(dirname(main), 'classes/queue-keys.js'), 'utf8');
  const names = [...source.matchAll(/^ {12}'([\w-]+)'/gm)].map(match => match[1] ?? '');
  expect(names).toContain('stalled-check');
  expect(names.filter(name => taskIdFault(name) === null)).toEqual([]);
});

test('every id that passes is a branch name for git, one folder, and an id for BullMQ', () => {
  const near = fc.stringMatching(/^[A-Za-z0-9._-]{1,12}$/);
  fc.assert(
    fc.property(fc.oneof(near, near, fc.string({ maxLength: 8 })), id => {
      if (taskIdFault(id) !== null) return;
      expect(basename(join('/cells', id))).toBe(id);
      expect(String(Number.parseInt(jobIdOf(id), 10))).not.toBe(id);
      execFileSync('git', ['check-ref-format', `refs/heads/${branchOf(id)}`]);
    }),
    { numRuns: 150 },
  );
});
