import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { OUTCOMES, type Outcome } from '../../../src/job/outcome.ts';
import { CLOSE_ON, type CloseOn, duesOf, type JobSeen } from '../../../src/producer/source/due.ts';
import type { NoteState } from '../../../src/redis/source-ledger.ts';
import { resultOf } from '../../support/jobs.ts';

const notes = (...keys: string[]) => ({ notes: new Map<string, NoteState>(keys.map(key => [key, 'written'])) });

function job(outcomes: readonly Outcome[], more: Partial<JobSeen> = {}): JobSeen {
  const results = outcomes.map((outcome, at) => ({
    ...resultOf('a-1', outcome, at + 1),
    ...(outcome === 'committed' ? { commit: 'c0ffee', branch: 'cellpool/a-1' } : {}),
  }));
  return { begun: outcomes.length > 0, ended: false, results, fault: null, ...more };
}

const kinds = (seen: JobSeen | null, noted = notes(), closeOn: CloseOn = 'commit') =>
  duesOf(noted, seen, closeOn).due.map(({ news }) => news.kind);

describe('the table', () => {
  test.each<[string, JobSeen | null, string[]]>([
    ['waits for its first attempt', job([]), []],
    ['an attempt has begun', job([], { begun: true }), ['claim']],
    ['an attempt ended, another follows', job(['reverted']), ['claim', 'attempt']],
    ['ended committed', job(['reverted', 'committed'], { ended: true }), ['claim', 'attempt', 'done']],
    ['ended no-changes', job(['no-changes'], { ended: true }), ['claim', 'unchanged']],
    ['ended cancelled', job(['cancelled'], { ended: true }), ['claim', 'cancelled']],
    ['is gone', null, ['claim', 'cancelled']],
    ['ended otherwise', job(['stalled'], { ended: true }), ['claim', 'failed']],
    ['ended before an attempt', job([], { begun: true, ended: true, fault: 'no job' }), ['claim', 'failed']],
  ])('%s', (_, seen, expected) => {
    expect(kinds(seen)).toEqual(expected);
  });

  test('closed on landing, a committed task only says that it waits for that', () => {
    expect(kinds(job(['committed'], { ended: true }), notes('claim:0'), 'landed')).toEqual(['awaiting-landing']);
  });

  test('a job that is forgotten after its end was noted is no news', () => {
    expect(kinds(null, notes('claim:0', 'end:1'))).toEqual([]);
  });

  test('of a long failure the end is told', () => {
    const results = [
      { ...resultOf('a-1', 'reverted'), error: { code: 'TESTS_FAILED', message: `${'x'.repeat(1e5)}END` } },
    ];
    const [last] = duesOf(notes('claim:0'), { begun: true, ended: true, results, fault: null }, 'commit').due;
    expect(last?.news).toMatchObject({ kind: 'failed', message: expect.stringMatching(/^x{7997}END$/) });
  });
});

/** A job's life: attempts that end one way or the other, with retries by hand after an end. */
const life = fc.array(fc.record({ outcome: fc.constantFrom(...OUTCOMES), ends: fc.boolean(), seen: fc.boolean() }), {
  maxLength: 12,
});

test('whenever it is looked, each attempt and each end is told once, in order, and each life after a claim', () => {
  fc.assert(
    fc.property(life, fc.constantFrom(...CLOSE_ON), (steps, closeOn) => {
      const noted = new Map<string, NoteState>();
      const told: { key: string; kind: string }[] = [];
      const look = (seen: JobSeen) => {
        for (const { key, news } of duesOf({ notes: noted }, seen, closeOn).due) {
          expect(noted.has(key)).toBe(false);
          noted.set(key, 'waits');
          told.push({ key, kind: news.kind });
        }
      };
      const outcomes: Outcome[] = [];
      let lives = 0;
      let unseen = 0;
      for (const { outcome, ends, seen } of steps) {
        outcomes.push(outcome);
        unseen += 1;
        // A bridge that was away may miss an end that was followed by a retry: then that attempt is like any other.
        if (!seen) continue;
        look(job(outcomes, { begun: true, ended: ends }));
        if (ends) lives += 1;
        unseen = 0;
      }
      const results = told.filter(({ kind }) => kind !== 'claim').map(({ key }) => Number(key.split(':')[1]));
      expect(results).toEqual(Array.from({ length: outcomes.length - unseen }, (_, at) => at + 1));
      const ends = told.filter(({ key }) => key.startsWith('end:'));
      expect(ends).toHaveLength(lives);
      told.forEach(({ kind }, at) => {
        if (at === 0 || told[at - 1]?.key.startsWith('end:')) expect(kind).toBe('claim');
      });
    }),
  );
});
