import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Watchdog } from '../../src/worker/watchdog.ts';

// The clock is the one thing that stands between a watchdog and an instant test of it.
beforeEach(() => void vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] }));
afterEach(() => void vi.useRealTimers());

const LIMIT_MS = 7_000;

function watched() {
  const silent: string[] = [];
  return { silent, watchdog: new Watchdog(LIMIT_MS, id => silent.push(id)) };
}

test('a job whose lock is renewed in time is never told of', () => {
  const { silent, watchdog } = watched();
  watchdog.taken('a');
  for (let round = 0; round < 20; round++) {
    vi.advanceTimersByTime(LIMIT_MS - 500);
    watchdog.renewed(['a']);
  }
  expect(silent).toEqual([]);
  watchdog.close();
});

test('a job whose lock is not renewed is told of once, at the limit and before the next look is over', () => {
  const { silent, watchdog } = watched();
  watchdog.taken('a');
  vi.advanceTimersByTime(LIMIT_MS - 1);
  expect(silent).toEqual([]);
  vi.advanceTimersByTime(500);
  expect(silent).toEqual(['a']);
  vi.advanceTimersByTime(10 * LIMIT_MS);
  expect(silent).toEqual(['a']);
  watchdog.close();
});

test('a job that has ended is not watched any more, and a renewal that comes late does not bring it back', () => {
  const { silent, watchdog } = watched();
  watchdog.taken('a');
  watchdog.done('a');
  watchdog.renewed(['a']);
  vi.advanceTimersByTime(10 * LIMIT_MS);
  expect(silent).toEqual([]);
  watchdog.close();
});

test('the renewal of one lock says nothing of another', () => {
  const { silent, watchdog } = watched();
  watchdog.taken('a');
  watchdog.taken('b');
  vi.advanceTimersByTime(LIMIT_MS - 500);
  watchdog.renewed(['b']);
  vi.advanceTimersByTime(1_000);
  expect(silent).toEqual(['a']);
  watchdog.close();
});
