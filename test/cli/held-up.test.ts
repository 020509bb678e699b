import { expect, test } from 'vitest';
import { HeldUp } from '../../src/cli/held-up.ts';
import { parseTask, type Task } from '../../src/job/task.ts';

function taskOf(id: string, model?: string, dependsOn: string[] = []): Task {
  const given = { id, prompt: 'do it', dependsOn, ...(model === undefined ? {} : { model }) };
  const { task, faults } = parseTask(given, id);
  if (task === null) throw new Error(JSON.stringify(faults));
  return task;
}

function heldUp(fallback?: string) {
  const said: string[] = [];
  const tasks = [taskOf('a', 'one/model'), taskOf('b', 'two/model'), taskOf('c')];
  return { said, held: new HeldUp(tasks, fallback, message => said.push(message)) };
}

test('there is hope while one of the tasks that are left has another provider', () => {
  const { held } = heldUp('two/other');
  expect(held.hopeless(['a', 'b', 'c'])).toBeNull();
  held.refused('one', '401');
  expect(held.hopeless(['a', 'b', 'c'])).toBeNull();
  expect(held.hopeless(['b'])).toBeNull();
  expect(held.hopeless(['a'])).toMatchObject({ code: 'PROVIDER_REFUSED', exitCode: 3 });
  held.refused('two', '403');
  expect(held.hopeless(['a', 'b', 'c'])?.message).toBe('one: 401; two: 403');
});

test('a task whose provider is not known always has hope, and without tasks nothing is lost', () => {
  const { held } = heldUp();
  held.refused('one', '401');
  held.refused('two', '401');
  expect(held.hopeless(['a', 'c'])).toBeNull();
  expect(held.hopeless([])).toBeNull();
});

test('a reason that many tasks share is said once, and so is a host that is full', () => {
  const { held, said } = heldUp();
  held.waits('a', 'too many requests');
  held.waits('b', 'too many requests');
  held.held('disk: 3 MiB free');
  held.held('disk: 2 MiB free');
  held.held(null);
  held.held('disk: 1 MiB free');
  expect(said).toEqual([
    'a waits, and others may: too many requests',
    'No more cells for now: disk: 3 MiB free.',
    'No more cells for now: disk: 1 MiB free.',
  ]);
});

test('a host that is full for something else says so', () => {
  const { held, said } = heldUp();
  for (const why of ['disk: 3 MiB free', 'disk: 2 MiB free', 'memory: 9 MiB free', 'the fleet is full']) held.held(why);
  expect(said).toEqual([
    'No more cells for now: disk: 3 MiB free.',
    'No more cells for now: memory: 9 MiB free.',
    'No more cells for now: the fleet is full.',
  ]);
});

test('a task that waits for one whose provider refuses us has no hope of its own', () => {
  const tasks = [
    taskOf('last', 'two/model', ['next']),
    taskOf('next', 'two/model', ['first']),
    taskOf('first', 'one/model'),
  ];
  const held = new HeldUp(tasks, undefined, () => undefined);
  held.waits('next', '"first" has not ended yet');
  expect(held.hopeless(['last', 'next', 'first'])).toBeNull();
  held.refused('one', '401');
  expect(held.hopeless(['last', 'next', 'first'])?.message).toBe('one: 401');
  // The first has ended: what is left can go on.
  expect(held.hopeless(['last', 'next'])).toBeNull();
});
