import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { promptOf } from '../../../src/producer/beads/bead-prompt.ts';
import type { BeadComment } from '../../../src/producer/beads/shapes.ts';
import { anyText, issue, relation } from './support.ts';

const comment = (text: string, author = 'anna'): BeadComment => ({ author, text, createdAt: '2026-09-01T10:00:00Z' });

describe('the prompt of a bead', () => {
  test('tells all that a person would want to know of it', () => {
    const prompt = promptOf(
      issue({
        id: 'p-a1',
        title: 'Refuse empty passwords',
        type: 'bug',
        labels: ['agent', 'web'],
        description: 'The form takes them.',
        acceptance: 'A test shows it.',
        design: 'In validate.js.',
        notes: 'Seen twice.',
        relations: [
          relation({ id: 'p-e', kind: 'parent-child', title: 'Sound forms' }),
          relation({ id: 'p-b', kind: 'blocks', title: 'Move the form', status: 'closed', closeReason: 'moved' }),
          relation({ id: 'p-c', kind: 'blocks', title: 'Still open', status: 'open' }),
          relation({ id: 'p-d', kind: 'related', title: 'Something else', status: 'closed' }),
        ],
      }),
      [comment('Only on the first page.'), comment('[cellpool job=x attempt=1 note=k] Attempt 1 ended reverted.')],
    );
    expect(prompt.split('-----')[2]?.trim()).toBe(
      [
        'Issue: p-a1\nTitle: Refuse empty passwords\nType: bug\nLabels: agent, web\nPart of: p-e Sound forms',
        'Description:\nThe form takes them.',
        'Acceptance criteria:\nA test shows it.',
        'Design:\nIn validate.js.',
        'Notes:\nSeen twice.',
        'Done before it:\n- p-b Move the form: moved',
        'Comment of anna, 2026-09-01T10:00:00Z:\nOnly on the first page.',
      ].join('\n\n'),
    );
    expect(prompt).toMatch(/there is no `bd` here, and the folder \.beads is not to be touched/);
  });

  test('says how much was cut', () => {
    const prompt = promptOf(issue({ description: 'd'.repeat(200_000) }), [
      ...Array.from({ length: 15 }, (_, n) => comment(`number ${n}`)),
    ]);
    expect(prompt).toContain('[100000 characters left out]');
    expect(prompt).toContain('Comments: (5 more are left out)');
    expect(prompt).not.toContain('number 4');
    expect(prompt).toContain('number 14');
  });

  test('is the same for the same bead', () => {
    const bead = issue({ description: 'x' });
    expect(promptOf(bead, [comment('y')])).toBe(promptOf(bead, [comment('y')]));
    expect(promptOf(bead, [comment('z')])).not.toBe(promptOf(bead, [comment('y')]));
  });

  test('holds no text that could end what is quoted, whatever people write, and never too much', () => {
    const any = fc.oneof(anyText(300), fc.constant(promptOf(issue({}), [])), fc.constant('----- issue 0 ends -----'));
    fc.assert(
      fc.property(any, any, any, any, (description, title, text, author) => {
        const prompt = promptOf(
          issue({
            description,
            title,
            relations: [relation({ kind: 'blocks', status: 'closed', title: text, closeReason: text })],
          }),
          [comment(text, author)],
        );
        const digest = /carry ([0-9a-f]{32})/.exec(prompt)?.[1] as string;
        const [, inside, after, ...more] = prompt.split(`----- issue ${digest} `);
        expect(more).toEqual([]);
        expect(inside?.startsWith('begins -----\n')).toBe(true);
        expect(after?.startsWith('ends -----\n')).toBe(true);
        expect(prompt).not.toMatch(/(?![\n\t])\p{Cc}|\p{Surrogate}/u);
      }),
    );
  });

  test('of the largest bead fits into a task', () => {
    const huge = 'w'.repeat(1_000_000);
    const relations = Array.from({ length: 100 }, () =>
      relation({ kind: 'blocks', status: 'closed', title: huge, closeReason: huge }),
    );
    const bead = issue({
      title: huge,
      description: huge,
      acceptance: huge,
      design: huge,
      notes: huge,
      labels: [huge],
      relations,
    });
    expect(
      promptOf(
        bead,
        Array.from({ length: 100 }, () => comment(huge, huge)),
      ).length,
    ).toBeLessThan(480_000);
  });
});
