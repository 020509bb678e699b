import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type AttemptResult, OUTCOMES, type Outcome } from '../../../src/job/outcome.ts';
import { CLOSE_ON, type CloseOn, duesOf, type JobSeen } from '../../../src/producer/source/due.ts';
import type { NoteState } from '../../../src/redis/source-ledger.ts';
import { resultOf } from '../../support/jobs.ts';

const notes = (...keys: string[]) => ({ notes: new Map<string, NoteState>(keys.map(key => [key, 'written'])) });

function result(outcome: Outcome, attempt: number, cell = attempt): AttemptResult {
  const commit = outcome === 'committed' ? { commit: 'c0ffee', branch: 'cellpool/a-1' } : {};
  return { ...resultOf('a-1', outcome, attempt), ...commit, artifacts: `/artifacts/a-1/${attempt}-${cell}` };
}

function job(outcomes: readonly Outcome[], more: Partial<JobSeen> = {}): JobSeen {
  const results = outcomes.map((outcome, at) => result(outcome, at + 1));
  return { active: false, isFollowed: true, endedAt: null, results, fault: null, ...more };
}

/** Notes all that is due, and says what it was. */
function look(noted: Map<string, NoteState>, seen: JobSeen | null, closeOn: CloseOn = 'commit'): string[] {
  const { due } = duesOf({ notes: noted }, seen, closeOn);
  for (const { key } of due) {
    expect(noted.has(key)).toBe(false);
    noted.set(key, 'written');
  }
  return due.map(({ news }) => news.kind);
}

const kinds = (seen: JobSeen | null, noted = notes(), closeOn: CloseOn = 'commit') =>
  duesOf(noted, seen, closeOn).due.map(({ news }) => news.kind);

describe('the table', () => {
  test.each<[string, JobSeen | null, string[]]>([
    ['waits for its first attempt', job([]), []],
    ['an attempt has begun', job([], { active: true }), ['claim']],
    ['an attempt ended, another follows', job(['reverted']), ['claim', 'attempt']],
    [
      'what follows is not known yet',
      job(['stalled', 'reverted'], { active: true, isFollowed: false }),
      ['claim', 'attempt'],
    ],
    ['ended committed', job(['reverted', 'committed'], { endedAt: 5 }), ['claim', 'attempt', 'done']],
    ['ended no-changes', job(['no-changes'], { endedAt: 5 }), ['claim', 'unchanged']],
    ['ended cancelled', job(['cancelled'], { endedAt: 5 }), ['claim', 'cancelled']],
    ['is gone', null, ['claim', 'cancelled']],
    ['ended otherwise', job(['stalled'], { endedAt: 5 }), ['claim', 'failed']],
    ['ended before an attempt', job([], { endedAt: 5, fault: 'no job' }), ['claim', 'failed']],
  ])('%s', (_, seen, expected) => {
    expect(kinds(seen)).toEqual(expected);
  });

  test('closed on landing, a committed task only says that it waits for that', () => {
    expect(kinds(job(['committed'], { endedAt: 5 }), notes('claim:0'), 'landed')).toEqual(['awaiting-landing']);
  });

  test('a job that is forgotten after its end was noted is no news', () => {
    const noted = new Map<string, NoteState>();
    expect(look(noted, job(['stalled'], { endedAt: 5 }))).toEqual(['claim', 'failed']);
    expect(look(noted, null)).toEqual([]);
  });

  test('a task that was retried has a second life, also where its attempts take the places of the first ones', () => {
    const noted = new Map<string, NoteState>();
    expect(look(noted, job(['stalled'], { endedAt: 5 }))).toEqual(['claim', 'failed']);
    const waits = job(['stalled']);
    expect(look(noted, waits)).toEqual([]);
    expect(look(noted, { ...waits, active: true })).toEqual(['claim']);
    const again = { ...waits, results: [result('committed', 1, 99)], endedAt: 9 };
    expect(look(noted, again)).toEqual(['done']);
    expect(look(noted, again)).toEqual([]);
  });

  test('a task that is taken off the queue in its second life is released once more', () => {
    const noted = new Map<string, NoteState>();
    look(noted, job(['stalled'], { endedAt: 5 }));
    look(noted, job(['stalled'], { active: true }));
    expect(look(noted, null)).toEqual(['cancelled']);
    expect(look(noted, null)).toEqual([]);
  });

  test('an item that waited for landing is closed when items are closed on commit after all', () => {
    const noted = new Map<string, NoteState>();
    const seen = job(['committed'], { endedAt: 5 });
    expect(look(noted, seen, 'landed')).toEqual(['claim', 'awaiting-landing']);
    expect(look(noted, seen, 'commit')).toEqual(['done']);
  });

  test('of a long failure the end is told', () => {
    const results = [
      { ...resultOf('a-1', 'reverted'), error: { code: 'TESTS_FAILED', message: `${'x'.repeat(1e5)}END` } },
    ];
    const [last] = duesOf(
      notes('claim:0'),
      { active: false, isFollowed: false, endedAt: 5, results, fault: null },
      'commit',
    ).due;
    expect(last?.news).toMatchObject({ kind: 'failed', message: expect.stringMatching(/^x{7997}END$/) });
  });
});

/** What happens to a job: attempts that end, each of which may be the last, and a retry by a person after an end. */
const events = fc.array(
  fc.record({ outcome: fc.constantFrom(...OUTCOMES), ends: fc.boolean(), seen: fc.boolean(), early: fc.boolean() }),
  {
    maxLength: 14,
  },
);

test('looked at at any moments, each result is told once at most, each end that was seen once, each life after a claim', () => {
  fc.assert(
    fc.property(events, fc.constantFrom(...CLOSE_ON), (steps, closeOn) => {
      const noted = new Map<string, NoteState>();
      const told: string[] = [];
      let results: AttemptResult[] = [];
      let attempt = 0;
      let ends = 0;
      steps.forEach(({ outcome, ends: last, seen, early }, at) => {
        attempt += 1;
        // As the worker writes it: an attempt of the same number as the last one takes its place.
        const kept = results.at(-1)?.attempt === attempt ? results.slice(0, -1) : results;
        results = [...kept, result(outcome, attempt, at)];
        // Its result stands there, and what becomes of the task is not said yet.
        const written: JobSeen = { active: true, isFollowed: false, endedAt: null, results, fault: null };
        if (early) told.push(...look(noted, written, closeOn));
        const now: JobSeen = {
          active: false,
          isFollowed: !last,
          endedAt: last ? 1_000 + at : null,
          results,
          fault: null,
        };
        if (seen) {
          told.push(...look(noted, now, closeOn));
          expect(look(noted, now, closeOn)).toEqual([]);
          if (last) ends += 1;
        }
        // Retried by a person: the attempts are numbered anew.
        if (last) attempt = 0;
      });
      const isEnd = (kind: string) => kind !== 'claim' && kind !== 'attempt';
      expect(told.filter(isEnd)).toHaveLength(ends);
      told.forEach((kind, at) => {
        if (at === 0 || isEnd(told[at - 1] ?? '')) expect(kind).toBe('claim');
        else expect(kind).not.toBe('claim');
      });
      // Each result is in one note: no digest twice.
      const digests = [...noted.keys()]
        .filter(key => !key.startsWith('claim'))
        .map(key => key.split(':').at(key.startsWith('end') ? 2 : 1));
      expect(new Set(digests).size).toBe(digests.length);
      expect(told.filter(kind => kind !== 'claim').length).toBeLessThanOrEqual(steps.length);
    }),
  );
});
