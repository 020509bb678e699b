import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { InvalidInput } from '../../../src/errors.ts';
import { parseTask } from '../../../src/job/task.ts';
import { taskOf, WISHES } from '../../../src/producer/beads/bead-task.ts';
import type { Issue } from '../../../src/producer/beads/shapes.ts';
import { anyText, issue } from './support.ts';

const ALL = new Set<string>(WISHES);
const NONE = new Set<string>();

function faultsOf(bead: Issue, allowed = ALL): string[] {
  try {
    taskOf(bead, [], allowed);
  } catch (error) {
    if (error instanceof InvalidInput) return error.faults.map(({ where, what }) => `${where}: ${what}`);
    throw error;
  }
  return [];
}

describe('a bead as a task', () => {
  test('carries its title, where it comes from, and nothing that the operator decides', () => {
    const { task, remarks } = taskOf(issue({ id: 'p-a1', title: ' Fix\n it\u0007 ' }), [], ALL);
    expect(task).toEqual({
      prompt: expect.stringContaining('Issue: p-a1'),
      title: 'Fix it',
      priority: 3,
      metadata: { source: 'beads', item: 'p-a1' },
    });
    expect(remarks).toEqual([]);
  });

  test.each([
    [0, 1],
    [1, 2],
    [2, 3],
    [3, 4],
    [4, 5],
    [null, 5],
    [17, 5],
    [-1, 5],
  ])('priority %s of Beads is %s of the queue: never 0, which would go before all', (priority, expected) => {
    expect(taskOf(issue({ priority }), [], NONE).task.priority).toBe(expected);
  });

  test('has its wishes honoured when the operator allows them', () => {
    const labels = [
      'agent',
      'cellpool:model=anthropic/claude-sonnet-4-5',
      'cellpool:budget=20000',
      'cellpool:test=npm test -- --grep a=b',
    ];
    const { task, remarks } = taskOf(issue({ labels }), [], ALL);
    expect(task).toMatchObject({
      model: 'anthropic/claude-sonnet-4-5',
      tokenBudget: 20_000,
      test: 'npm test -- --grep a=b',
    });
    expect(remarks).toEqual([]);
  });

  test('has a remark for each wish that is not allowed or not known, and is worked without', () => {
    const labels = ['cellpool:model=a/b', 'cellpool:budget=10', 'cellpool:shell=rm', 'cellpool-failed-once'];
    const { task, remarks } = taskOf(issue({ labels }), [], new Set(['budget']));
    expect(task).not.toHaveProperty('model');
    expect(task.tokenBudget).toBe(10);
    expect(remarks).toEqual([
      'p-1, label "cellpool:model=a/b": not honoured, for --allow-labels does not name model',
      'p-1, label "cellpool:shell=rm": there is no such wish; there are model, budget, test',
    ]);
  });

  test.each([
    [['cellpool:budget=lots'], ['p-1, label "cellpool:budget=lots": a budget is a whole number of tokens']],
    [['cellpool:budget=0'], ['p-1, label "cellpool:budget=0": a budget is a whole number of tokens']],
    [['cellpool:budget'], ['p-1, label "cellpool:budget": is written cellpool:budget=...']],
    [['cellpool:test= '], ['p-1, label "cellpool:test= ": is written cellpool:test=...']],
    [['cellpool:model=sonnet'], ['p-1, label "cellpool:model": "model" is written provider/model']],
    [
      ['cellpool:model=a/b', 'cellpool:model=c/d', 'cellpool:budget=x'],
      [
        'p-1, label "cellpool:model=c/d": another label asks for a model as well',
        'p-1, label "cellpool:budget=x": a budget is a whole number of tokens',
      ],
    ],
  ])('%j is a fault, and all faults are told', (labels, faults) => {
    expect(faultsOf(issue({ labels }))).toEqual(faults);
    expect(faultsOf(issue({ labels }), NONE)).toEqual([]);
  });

  test('is a task that the schema takes, or has faults: whatever people write', () => {
    const text = anyText();
    const label = fc.oneof(
      text,
      text.map(value => `cellpool:test=${value}`),
      text.map(value => `cellpool:model=${value}`),
    );
    fc.assert(
      fc.property(text, text, fc.array(label, { maxLength: 4 }), (title, description, labels) => {
        try {
          const { task } = taskOf(issue({ title, description, labels }), [], ALL);
          expect(parseTask({ ...task, id: 'x' }, 'here').faults).toEqual([]);
        } catch (error) {
          if (!(error instanceof InvalidInput)) throw error;
        }
      }),
    );
  });
});
