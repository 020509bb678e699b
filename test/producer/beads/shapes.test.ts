import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CellpoolError } from '../../../src/errors.ts';
import { isGone, troubleOf, unanswered } from '../../../src/producer/beads/bd-trouble.ts';
import { commentsIn, issuesIn, type Printed, readAnswer } from '../../../src/producer/beads/shapes.ts';
import { anyText } from './support.ts';

interface Fixture {
  /** Where the shapes come from. */
  from: string;
  prints: Record<string, { json?: unknown; stdout?: string; stderr?: string; exitCode?: number }>;
}

function printed(version: string, name: string): Printed {
  const path = new URL(`./fixtures/${version}.json`, import.meta.url);
  const one = (JSON.parse(readFileSync(path, 'utf8')) as Fixture).prints[name];
  if (one === undefined) throw new Error(`no ${name} in ${path.pathname}`);
  const stdout = one.json === undefined ? (one.stdout ?? '') : `${JSON.stringify(one.json, null, 2)}\n`;
  return { stdout, stderr: one.stderr ?? '', exitCode: one.exitCode ?? 0 };
}

function takenFrom(from: Printed): unknown {
  const answer = readAnswer(from);
  if (!answer.ok) throw new Error(`refused: ${answer.said}`);
  return answer.value;
}

const issuesOf = (from: Printed) => issuesIn(takenFrom(from), from.stdout);
const commentsOf = (from: Printed) => commentsIn(takenFrom(from), from.stdout);
const plain = (stdout: string, stderr = '', exitCode = 0): Printed => ({ stdout, stderr, exitCode });

function saidOf(from: Printed): string {
  const answer = readAnswer(from);
  if (answer.ok) throw new Error('it was taken');
  return answer.said;
}

describe('issues that bd prints', () => {
  test('of 0.4x: numeric comment ids, a status that nobody knows any more, a parent among the dependencies', () => {
    expect(issuesOf(printed('0.4x', 'show'))).toEqual([
      expect.objectContaining({
        id: 'gt-hd.1',
        status: 'hooked',
        labels: ['ground'],
        parent: 'gt-hd',
        commentCount: 1,
        relations: [{ id: 'gt-hd', title: 'The house', status: 'open', closeReason: '', kind: 'parent-child' }],
      }),
    ]);
  });

  test('of 0.4x: warnings before the list, brackets in them and in it', () => {
    expect(issuesOf(printed('0.4x', 'ready'))).toEqual([
      expect.objectContaining({ id: 'gt-2', title: 'A [bracket] and a {brace}', priority: 0, type: 'bug', labels: [] }),
    ]);
  });

  test.each(['ready-none-json', 'ready-none-text', 'list-none-text'])('of 0.4x: %s is no issue', name => {
    expect(issuesOf(printed('0.4x', name))).toEqual([]);
  });

  test('a single object is a list of one', () => {
    expect(issuesOf(printed('0.4x', 'create'))?.map(({ id }) => id)).toEqual(['gt-3']);
    expect(issuesOf(printed('1.1', 'object-with-version'))?.map(({ id }) => id)).toEqual(['bd-2']);
  });

  test('of 1.1: what is in the envelope counts', () => {
    expect(issuesOf(printed('1.1', 'show-enveloped'))?.map(({ id }) => id)).toEqual(['bd-1']);
  });

  test('of 1.1: relations are issues in `show` and edges in `list`', () => {
    expect(issuesOf(printed('1.1', 'show'))?.[0]?.relations).toEqual([
      { id: 'bd-sandbox-ccl', title: 'Second', status: 'closed', closeReason: 'said hello before', kind: 'blocks' },
    ]);
    expect(issuesOf(printed('1.1', 'list'))?.[0]?.relations).toEqual([
      { id: 'bd-sandbox-zk3', title: '', status: '', closeReason: '', kind: 'parent-child' },
    ]);
  });

  test('of 1.3: how many comments there are, and none of them', () => {
    const [bead] = issuesOf(printed('1.3', 'show-claimed')) ?? [];
    expect(bead).toMatchObject({ id: 'p-d8v', status: 'in_progress', assignee: 'cellpool/t-1', commentCount: 0 });
    expect(issuesOf(printed('1.3', 'show-part'))?.[0]).toMatchObject({ id: 'p-d8v', assignee: '', commentCount: 1 });
  });

  test('of 1.3: the issue as it is after a change', () => {
    expect(issuesOf(printed('1.3', 'claim'))?.[0]?.assignee).toBe('cellpool/t-1');
    expect(issuesOf(printed('1.3', 'release'))?.[0]).toMatchObject({ status: 'open', assignee: '' });
    expect(issuesOf(printed('1.3', 'close'))?.[0]?.closeReason).toBe('Done by cellpool: commit abc on branch x.');
  });

  test.each(['list-none', 'ready-none', 'envelope-ready'])('of 1.3: %s is no issue', name => {
    expect(issuesOf(printed('1.3', name))).toEqual([]);
  });

  test.each([
    ['{"id": 5}'],
    ['[{"title": "no id"}]'],
    ['[{"id": "a", "status": 3}]'],
    ['[{"id": "a", "assignee": {"name": "anna"}}]'],
    ['[{"id": "a", "labels": "cellpool-failed"}]'],
    ['All is well.'],
    [''],
  ])('%j is no answer: what decides something is not guessed', stdout => {
    expect(issuesOf(plain(stdout))).toBeNull();
  });

  test('hints behind the list, and kinds of what only people read, do not matter', () => {
    const stdout =
      'note: hello\n[{"id": "a", "notes": null, "priority": "high", "comments": 3}]\nNOTE: the format changes\n';
    expect(issuesOf(plain(stdout))).toEqual([expect.objectContaining({ id: 'a', notes: '', priority: null })]);
  });
});

describe('comments that bd prints', () => {
  test('may have numbers or texts as ids', () => {
    expect(commentsOf(printed('0.4x', 'comments'))).toEqual([
      { author: 'mayor', text: 'dig', createdAt: '2026-01-03T21:21:00Z' },
    ]);
    expect(commentsOf(printed('0.4x', 'comments-none'))).toEqual([]);
    expect(commentsOf(printed('1.3', 'comments'))?.map(({ text }) => text)).toEqual([
      '[cellpool job=t-1 note=k] hello\n\n    line',
    ]);
  });
});

describe('what bd says instead of an answer', () => {
  test.each([
    ['0.4x', 'not-found-stderr'],
    ['1.1', 'not-found'],
    ['1.3', 'show-missing'],
  ])('%s, %s: there is no such issue', (version, name) => {
    const from = printed(version, name);
    expect(isGone(saidOf(from))).toBe(true);
  });

  test('that it could not look is not that there is none', () => {
    const from = printed('1.1', 'could-not-look');
    expect(isGone(saidOf(from))).toBe(false);
    expect(troubleOf('bd show', { said: saidOf(from), exitCode: 1 })?.hint).toMatch(/bd dolt start/);
  });

  test.each([
    ['1.1', 'error-enveloped', 'no database selected\nrun bd init'],
    ['1.1', 'error-with-exit-0', 'it went wrong\ntry again'],
    ['1.1', 'claim-refused', 'Error updating bd-1: issue already claimed by anna'],
  ])('%s, %s is an error, with its hint', (version, name, said) => {
    expect(saidOf(printed(version, name))).toBe(said);
  });

  test.each([
    ['claim-other', 'issue already claimed by cellpool/t-1'],
    ['guard-mismatch', 'expected "cellpool/t-9"'],
    ['close-refused', 'open child issue(s)'],
    ['update-missing', 'no issue found matching'],
    ['comment-missing', 'no issue found matching'],
  ])('of 1.3: %s is a refusal, which no other call will change', (name, said) => {
    const answer = readAnswer(printed('1.3', name));
    expect(answer).toMatchObject({ ok: false, said: expect.stringContaining(said) });
    if (!answer.ok) expect(troubleOf('bd', answer)).toBeNull();
  });

  test.each(['no-database', 'context-none'])('of 1.3: %s is told with what to do', name => {
    const answer = readAnswer(printed('1.3', name));
    if (!answer.ok) expect(unanswered('bd ready', answer).hint).toContain('bd init');
    expect(answer.ok).toBe(false);
  });

  test('nothing on stdout and something on stderr is an error, whatever the exit code', () => {
    expect(saidOf(plain('', 'Issue bd-9 not found\n'))).toBe('Issue bd-9 not found');
    expect(readAnswer(plain('', ''))).toEqual({ ok: true, value: undefined });
    expect(readAnswer(plain('[]', 'NOTE: something\n'))).toEqual({ ok: true, value: [] });
  });

  test('a database that is missing is told with what to do', () => {
    const from = printed('0.4x', 'no-database');
    expect(unanswered('bd ready', { said: saidOf(from), exitCode: 1 })).toMatchObject({
      code: 'SOURCE_UNAVAILABLE',
      hint: expect.stringContaining('bd init'),
    });
  });

  test('any text is an answer, or an error of ours', () => {
    const json = fc.json({ maxDepth: 4 });
    const text = fc.oneof(
      anyText(),
      json,
      fc.tuple(fc.string(), json, fc.string()).map(parts => parts.join('\n')),
      fc.constantFrom('{"error": "x"}', '{"schema_version": 1, "data": null}', '[{"id": "a"}]', 'null', '[', '{'),
    );
    fc.assert(
      fc.property(text, text, fc.integer({ min: 0, max: 255 }), (stdout, stderr, exitCode) => {
        const answer = readAnswer({ stdout, stderr, exitCode });
        if (!answer.ok) {
          expect(unanswered('bd show', answer)).toBeInstanceOf(CellpoolError);
          isGone(answer.said);
          return;
        }
        expect(exitCode).toBe(0);
        for (const issue of issuesIn(answer.value, stdout) ?? []) expect(typeof issue.id).toBe('string');
        for (const comment of commentsIn(answer.value, stdout) ?? []) expect(typeof comment.text).toBe('string');
      }),
    );
  });
});
