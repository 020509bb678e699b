/** Issues as bd gives them, with what a test does not care about filled in. */
import fc from 'fast-check';
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

/** Characters of all kinds: plain ones, control characters, and halves of others. */
const unit = fc.oneof(
  fc.integer({ min: 0, max: 0x7f }),
  fc.constantFrom(0x1b, 0x0a, 0x0d, 0x07, 0x9b, 0xd800, 0xdfff),
  fc.integer({ min: 0, max: 0x10ffff }),
);

export const anyText = (maxLength = 60) =>
  fc.array(unit, { maxLength }).map(codes => codes.map(code => String.fromCodePoint(code)).join(''));
