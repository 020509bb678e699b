import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import {
  FAR_MS,
  type Heard,
  type HeardNotice,
  LONG_MS,
  MANY_NOTICES,
  ProviderWatch,
  troubleLasts,
  withNotice,
} from '../../src/cell/provider-trouble.ts';
import type { CellpoolError } from '../../src/errors.ts';

describe('the rule when a session is ended', () => {
  const nothing: Heard = { lastProgress: 0, notices: [] };
  let tries = 0;
  const notice = (at: number, waitMs: number, sessionId = 'ses_1'): HeardNotice => {
    tries += 1;
    return { sessionId, attempt: tries, next: tries, at, waitMs };
  };
  const shortWait = fc.integer({ min: 0, max: FAR_MS });

  test('a session of which nothing is heard goes on, however long', () => {
    expect(troubleLasts(nothing, 10 * LONG_MS)).toBeNull();
  });

  test('a next try that is too far away ends it at once, one just within reach does not', () => {
    expect(troubleLasts(withNotice(nothing, notice(1, FAR_MS)), 1)).toBeNull();
    expect(troubleLasts(withNotice(nothing, notice(1, FAR_MS + 1)), 1)).toBe('far');
  });

  test('sessions side by side that meet one hiccup count for themselves', () => {
    const heard = ['ses_1', 'ses_2', 'ses_3', 'ses_4'].reduce((so, id) => withNotice(so, notice(1, 10, id)), nothing);
    expect(troubleLasts(heard, 2)).toBeNull();
  });

  test('a notice that is told again counts once', () => {
    const once = notice(1, 10);
    const heard = [once, { ...once, at: 2 }, { ...once, at: 3 }].reduce(withNotice, nothing);
    expect(troubleLasts(heard, 4)).toBeNull();
  });

  test('a session that makes progress before too many notices or too long a time is never ended', () => {
    const spell = fc.record({
      waits: fc.array(shortWait, { maxLength: MANY_NOTICES - 1 }),
      // From the first notice to the progress after the last, shorter than the limit.
      within: fc.integer({ min: MANY_NOTICES, max: LONG_MS - 1 }),
      pause: fc.integer({ min: 1, max: 10 * LONG_MS }),
    });
    fc.assert(
      fc.property(fc.array(spell, { maxLength: 30 }), spells => {
        let now = 0;
        let heard = nothing;
        for (const { waits, within, pause } of spells) {
          now += pause;
          expect(troubleLasts(heard, now)).toBeNull();
          const first = now;
          for (const [index, waitMs] of waits.entries()) {
            now = first + Math.floor((index * within) / MANY_NOTICES);
            heard = withNotice(heard, notice(now, waitMs));
            expect(troubleLasts(heard, now)).toBeNull();
          }
          now = first + within;
          expect(troubleLasts(heard, now)).toBeNull();
          heard = { ...heard, lastProgress: now };
        }
      }),
    );
  });

  test('a session that only gets notices is ended by the third of them, and after 30 s in any case', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 1_000_000 }),
        fc.array(fc.tuple(fc.integer({ min: 1, max: 60_000 }), fc.integer({ min: 0, max: 3_600_000 })), {
          minLength: 1,
          maxLength: 6,
        }),
        (start, told) => {
          let heard: Heard = { lastProgress: start - 1, notices: [] };
          let now = start;
          let count = 0;
          let ended: string | null = null;
          for (const [pause, waitMs] of told) {
            ended = troubleLasts(heard, now);
            if (ended !== null) break;
            count += 1;
            heard = withNotice(heard, notice(now, waitMs));
            ended = troubleLasts(heard, now);
            if (ended !== null) break;
            now += pause;
          }
          expect(count).toBeLessThanOrEqual(MANY_NOTICES);
          expect(now - start).toBeLessThan(LONG_MS + 60_000);
          expect(ended ?? troubleLasts(heard, start + LONG_MS)).not.toBeNull();
        },
      ),
    );
  });

  test('progress forgets all that was before it', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.integer({ min: 1, max: 1_000 }), fc.nat()), { maxLength: 10 }), told => {
        const heard = told.reduce((so, [at, waitMs]) => withNotice(so, notice(at, waitMs)), nothing);
        expect(troubleLasts({ ...heard, lastProgress: 1_001 }, 10 * LONG_MS)).toBeNull();
      }),
    );
  });
});

// Half a minute of silence cannot be waited for in a test: here, and only here, the clock is turned by hand.
describe('the watch over one execution', () => {
  beforeEach(() => vi.useFakeTimers());
  afterEach(() => vi.useRealTimers());

  let attempt = 0;
  const hiccup = (waitMs = 2_000) => {
    attempt += 1;
    return { sessionId: 'ses_1', attempt, message: 'Overloaded', next: Date.now() + waitMs };
  };
  function watched() {
    const told: unknown[] = [];
    const ended: CellpoolError[] = [];
    const listeners = {
      onProviderTrouble: (trouble: unknown) => told.push(trouble),
      onProviderWell: () => told.push('well'),
    };
    return { watch: new ProviderWatch(listeners, error => ended.push(error)), told, ended };
  }

  test('a try that hangs after a notice is ended when 30 s have passed since the first', () => {
    const { watch, ended } = watched();
    watch.notice(hiccup());
    vi.advanceTimersByTime(20_000);
    watch.notice(hiccup());
    vi.advanceTimersByTime(LONG_MS - 20_001);
    expect(ended).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(ended.map(error => error.message)).toEqual(['the provider is busy: Overloaded (no answer for 30 s)']);
    expect(ended[0]).toMatchObject({ code: 'PROVIDER_BUSY', facts: { retryAfterMs: 0 } });
    watch.close();
  });

  test('progress stops that clock', () => {
    const { watch, told, ended } = watched();
    watch.notice(hiccup());
    vi.advanceTimersByTime(LONG_MS - 1);
    watch.progress();
    vi.advanceTimersByTime(LONG_MS * 10);
    expect(ended).toEqual([]);
    expect(vi.getTimerCount()).toBe(0);
    expect(told).toEqual([{ kind: 'busy', retryAfterMs: 2_000, reason: 'Overloaded' }, 'well']);
    watch.close();
  });

  test('nothing is told after the end, and no clock goes on', () => {
    const { watch, told, ended } = watched();
    watch.notice(hiccup());
    told.length = 0;
    watch.close();
    watch.progress();
    watch.notice(hiccup(FAR_MS + 1_000));
    vi.advanceTimersByTime(LONG_MS * 2);
    expect([told, ended, vi.getTimerCount()]).toEqual([[], [], 0]);
  });

  test('a time that is no time is taken as now', () => {
    const { watch, told, ended } = watched();
    watch.notice({ ...hiccup(), next: Number.NaN });
    expect(told).toEqual([{ kind: 'busy', retryAfterMs: 0, reason: 'Overloaded' }]);
    expect(ended).toEqual([]);
    watch.close();
  });
});
