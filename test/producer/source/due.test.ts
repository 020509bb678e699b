import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Fate } from '../../../src/job/fate.ts';
import { type AttemptResult, endedWell, OUTCOMES, type Outcome } from '../../../src/job/outcome.ts';
import { CLOSE_ON, type CloseOn, duesOf, isFollowed, type JobSeen } from '../../../src/producer/source/due.ts';
import type { NoteState } from '../../../src/redis/source-ledger.ts';
import { resultOf } from '../../support/jobs.ts';

const notes = (...keys: string[]) => ({ notes: new Map<string, NoteState>(keys.map(key => [key, 'written'])) });

const UNSEEN: JobSeen = {
  ...{ active: false, isFollowed: false, endedAt: null, results: [], kept: 0 },
  ...{ returned: null, landing: null, fault: null },
};

function result(outcome: Outcome, attempt: number, cell = attempt): AttemptResult {
  const commit = outcome === 'committed' ? { commit: 'c0ffee', branch: 'cellpool/a-1' } : {};
  return { ...resultOf('a-1', outcome, attempt), ...commit, artifacts: `/artifacts/a-1/${attempt}-${cell}` };
}

function job(outcomes: readonly Outcome[], more: Partial<JobSeen> = {}): JobSeen {
  const results = outcomes.map((outcome, at) => result(outcome, at + 1));
  return { ...UNSEEN, isFollowed: true, results, ...more };
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

  const fateOf = (kind: Fate['kind'], message = ''): JobSeen['landing'] => ({
    target: 'main',
    fate: { kind, message, commit: kind === 'landed' ? 'f00d' : null, batch: [], flaky: false, at: 1 },
  });
  const ended = (landing: JobSeen['landing']) => job(['committed'], { endedAt: 5, landing });
  /** Its work came back, and no attempt has ended since. */
  const back = job(['committed'], { kept: 1, returned: { commit: 'c0ffee', target: 'main', message: 'a.txt' } });

  test('closed on landing, an item is closed with the commit by which its target has the work', () => {
    const noted = new Map<string, NoteState>();
    expect(look(noted, ended({ target: 'main' }), 'landed')).toEqual(['claim', 'awaiting-landing']);
    const { due, end } = duesOf({ notes: noted }, ended(fateOf('landed')), 'landed');
    expect(due.map(({ news }) => news)).toEqual([{ kind: 'done', attempt: 1, commit: 'f00d', branch: 'main' }]);
    expect(end).toBe('done');
  });

  test('closed on landing, it is released with the reason when its landing is refused, and closed if it lands later', () => {
    const noted = new Map<string, NoteState>();
    look(noted, ended(null), 'landed');
    const refused = ended(fateOf('refused', 'expected 3'));
    const [due] = duesOf({ notes: noted }, refused, 'landed').due;
    const message = 'it did not land on main: expected 3';
    expect(due?.news).toMatchObject({ kind: 'not-landed', commit: 'c0ffee', branch: 'cellpool/a-1', message });
    expect(look(noted, refused, 'landed')).toEqual(['not-landed']);
    expect(look(noted, ended(null), 'landed')).toEqual([]);
    expect(look(noted, ended(fateOf('landed')), 'landed')).toEqual(['claim', 'done']);
    expect(look(noted, ended(null), 'landed')).toEqual([]);
  });

  test('closed on landing, an item whose work comes back stays claimed, and is told why', () => {
    const noted = new Map<string, NoteState>();
    look(noted, ended(null), 'landed');
    const [claim, attempt] = duesOf({ notes: noted }, back, 'landed').due.map(({ news }) => news);
    expect(claim).toEqual({ kind: 'claim' });
    expect(attempt).toMatchObject({ kind: 'attempt', message: 'it could not land on main: a.txt' });
    expect(look(noted, back, 'landed')).toEqual(['claim', 'attempt']);
    const again = { ...back, results: [...back.results, result('committed', 1, 2)], endedAt: 9 };
    expect(look(noted, { ...again, landing: fateOf('landed') }, 'landed')).toEqual(['done']);
  });

  test('closed on landing, an item whose work came back is not told as unchanged when nothing comes of the second try', () => {
    const noted = new Map<string, NoteState>();
    look(noted, back, 'landed');
    const again = { ...back, results: [...back.results, result('no-changes', 1, 2)], endedAt: 9 };
    const [due] = duesOf({ notes: noted }, again, 'landed').due;
    expect(due?.news).toMatchObject({ kind: 'not-landed', commit: 'c0ffee', branch: 'cellpool/a-1' });
    expect(due?.news).toMatchObject({ message: expect.stringContaining('a.txt') });
  });

  test('an attempt that never was, after work came back, is no work that is done', () => {
    const seen = { ...back, isFollowed: false, endedAt: 9, fault: 'its workers died' };
    expect(kinds(seen, notes(), 'landed')).toEqual(['claim', 'attempt', 'failed']);
  });

  test('closed on commit, an item stays closed whatever comes back', () => {
    const noted = new Map<string, NoteState>();
    expect(look(noted, ended(fateOf('refused')))).toEqual(['claim', 'done']);
    for (const seen of [back, { ...back, active: true }, job(['committed', 'stalled'], { ...back, endedAt: 9 })]) {
      expect(duesOf({ notes: noted }, seen, 'commit')).toEqual({ due: [], end: 'done' });
    }
  });

  test('of a long failure the end is told', () => {
    const results = [
      { ...resultOf('a-1', 'reverted'), error: { code: 'TESTS_FAILED', message: `${'x'.repeat(1e5)}END` } },
    ];
    const [last] = duesOf(notes('claim:0'), { ...UNSEEN, endedAt: 5, results }, 'commit').due;
    expect(last?.news).toMatchObject({ kind: 'failed', message: expect.stringMatching(/^x{7997}END$/) });
  });
});

describe('whether another attempt follows the last result', () => {
  const followed = (outcomes: readonly Outcome[], attemptsMade: number, kept?: number) =>
    isFollowed({ results: job(outcomes).results, kept }, { attemptsMade, finishedOn: null });

  test('is known once BullMQ has counted that attempt', () => {
    expect([followed(['reverted'], 0), followed(['reverted'], 1)]).toEqual([false, true]);
    expect([followed(['reverted', 'stalled'], 1), followed(['reverted', 'stalled'], 2)]).toEqual([false, true]);
  });

  test('is known of a task that a person has retried, whose attempts are counted from none again', () => {
    expect([followed(['stalled'], 0, 1), followed(['stalled'], 0)]).toEqual([true, false]);
  });

  test('is known of one whose work came back, though the round before ended well', () => {
    expect([followed(['committed'], 0, 1), followed(['committed', 'committed'], 0, 1)]).toEqual([true, false]);
  });

  test('is never so after an attempt that ended well, whichever attempt is said to have done it', () => {
    expect(followed(['committed'], 3)).toBe(false);
    expect(isFollowed({ results: job(['stalled']).results }, { attemptsMade: 1, finishedOn: 5 })).toBe(false);
  });
});

test('an item is claimed also when the worker of its first attempt died before anybody had looked', () => {
  expect(kinds(job(['stalled'], { isFollowed: false }))).toEqual(['claim']);
});

test('the same end of an attempt without a cell, in two lives of a task, is told in both', () => {
  const alike = { ...result('failed', 1), artifacts: '' };
  const noted = new Map<string, NoteState>();
  expect(look(noted, { ...job([]), results: [alike], endedAt: 5 })).toEqual(['claim', 'failed']);
  expect(look(noted, { ...job([]), results: [alike, alike] })).toEqual(['claim', 'attempt']);
});

/** What happens to a job: attempts that end, each of which may be the last, and a retry by a person after an end. */
const events = fc.array(
  fc.record({
    outcome: fc.constantFrom(...OUTCOMES),
    ends: fc.boolean(),
    /** Its worker dies after it has written the result: the attempt is made again, under the same number. */
    dies: fc.boolean(),
    early: fc.boolean(),
    seen: fc.boolean(),
  }),
  { maxLength: 14 },
);

test('looked at at any moments, each result that stays is told once, each end that was seen once, each life after a claim', () => {
  fc.assert(
    fc.property(events, fc.constantFrom(...CLOSE_ON), (steps, closeOn) => {
      const noted = new Map<string, NoteState>();
      const told: string[] = [];
      const lookAt = (seen: JobSeen) => {
        told.push(...look(noted, seen, closeOn));
        expect(look(noted, seen, closeOn)).toEqual([]);
      };
      let results: AttemptResult[] = [];
      let [attempt, kept, ends] = [1, 0, 0];
      steps.forEach(({ outcome, ends: last, dies, early, seen }, at) => {
        const isLast = last || endedWell(outcome);
        // As the worker writes it: an attempt of the same number as the last one of its round takes its place.
        const before = results.length > kept && results.at(-1)?.attempt === attempt ? results.slice(0, -1) : results;
        results = [...before, result(outcome, attempt, at)];
        const seenAt = (attemptsMade: number, more: Partial<JobSeen>): JobSeen => ({
          ...{ ...UNSEEN, results, kept },
          isFollowed: isFollowed({ results, kept }, { attemptsMade, finishedOn: more.endedAt ?? null }),
          ...more,
        });
        if (early) lookAt(seenAt(attempt - 1, { active: !dies }));
        if (dies && !endedWell(outcome)) return;
        if (!isLast) attempt += 1;
        if (seen) lookAt(seenAt(isLast ? attempt : attempt - 1, isLast ? { endedAt: 1_000 + at } : {}));
        if (!isLast) return;
        if (seen) {
          ends += 1;
          // All that stands in the job at its end is told, each result in one note.
          const digests = [...noted.keys()]
            .filter(key => !key.startsWith('claim'))
            .map(key => key.split(':').at(key.startsWith('end') ? 2 : 1));
          expect(new Set(digests).size).toBe(digests.length);
          expect(digests).toHaveLength(results.length);
        }
        // Retried by a person: what there is is kept, and attempts are numbered anew.
        [attempt, kept] = [1, results.length];
        if (early) lookAt(seenAt(0, {}));
      });
      const isEnd = (kind: string) => kind !== 'claim' && kind !== 'attempt';
      expect(told.filter(isEnd)).toHaveLength(ends);
      told.forEach((kind, at) => {
        if (at === 0 || isEnd(told[at - 1] ?? '')) expect(kind).toBe('claim');
        else expect(kind).not.toBe('claim');
      });
    }),
  );
});

/** A task that is to land: attempts that fail, a commit, and what becomes of that. */
const rounds = fc.array(
  fc.record({
    fails: fc.integer({ min: 0, max: 2 }),
    /** Whether somebody looks while it is worked, while it waits for its landing, and when it has a fate. */
    looks: fc.tuple(fc.boolean(), fc.boolean(), fc.boolean()),
    returns: fc.boolean(),
  }),
  { minLength: 1, maxLength: 6 },
);

test('looked at at any moments, an item is claimed until its work has landed or is refused, however often it comes back', () => {
  fc.assert(
    fc.property(rounds, fc.constantFrom('landed' as const, 'refused' as const), (all, last) => {
      const noted = new Map<string, NoteState>();
      let item = 'open';
      const lookAt = (seen: JobSeen) => {
        for (const kind of look(noted, seen, 'landed')) {
          if (kind === 'claim') item = 'claimed';
          else expect(item).toBe('claimed');
          if (kind === 'done') item = 'closed';
          if (kind === 'not-landed') item = 'released';
        }
        expect(look(noted, seen, 'landed')).toEqual([]);
      };
      let seen: JobSeen = { ...UNSEEN };
      all.forEach(({ fails, looks, returns }, at) => {
        const [worked, waits, decided] = looks;
        const results = [...seen.results];
        for (let fail = 1; fail <= fails; fail += 1) results.push(result('stalled', fail, results.length));
        if (worked) lookAt({ ...seen, results: [...results], isFollowed: true, active: true });
        results.push(result('committed', fails + 1, results.length));
        const end: JobSeen = { ...seen, results, isFollowed: false, endedAt: 1_000 + at, landing: { target: 'main' } };
        if (waits) lookAt(end);
        const isLast = at === all.length - 1;
        if (!isLast || returns) {
          seen = { ...UNSEEN, results, kept: results.length, isFollowed: true };
          seen = { ...seen, returned: { commit: 'c0ffee', target: 'main', message: 'a.txt' } };
          if (decided) lookAt(seen);
          if (waits || decided) expect(item).toBe('claimed');
          return;
        }
        const fate: Fate = { kind: last, message: '', commit: null, batch: [], flaky: false, at: 1 };
        lookAt({ ...end, landing: { target: 'main', fate } });
        expect(item).toBe(last === 'landed' ? 'closed' : 'released');
      });
    }),
  );
});
