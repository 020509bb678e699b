/** Issues as bd gives them, with what a test does not care about filled in. */
import type { Issue, Relation } from '../../../src/producer/beads/shapes.ts';

export function issue(parts: Partial<Issue>): Issue {
  return {
    id: 'p-1',
    title: 'Do it',
    status: 'open',
    assignee: '',
    labels: [],
    priority: 2,
    type: 'task',
    description: '',
    acceptance: '',
    design: '',
    notes: '',
    closeReason: '',
    parent: '',
    isBlocked: false,
    relations: [],
    commentCount: 0,
    ...parts,
  };
}

export function relation(parts: Partial<Relation>): Relation {
  return { id: 'p-2', title: '', status: 'open', closeReason: '', kind: 'blocks', ...parts };
}
