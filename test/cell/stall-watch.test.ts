import type { Event } from '@opencode-ai/sdk/v2/client';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { progressIn } from '../../src/cell/progress.ts';
import { StallWatch } from '../../src/cell/stall-watch.ts';
import type { CellpoolError } from '../../src/errors.ts';

const STALL_MS = 300_000;

// Minutes of silence cannot be waited for in a test: here the clock is turned by hand.
describe('the watch over one execution', () => {
  beforeEach(() => {
    vi.useFakeTimers({ now: Date.parse('2026-05-01T10:00:00Z') });
  });
  afterEach(() => vi.useRealTimers());

  function watched() {
    const stalled: CellpoolError[] = [];
    return { watch: new StallWatch(STALL_MS, error => stalled.push(error)), stalled };
  }

  test('tells when there was no progress for so long, with what the last was and when', () => {
    const { watch, stalled } = watched();
    vi.advanceTimersByTime(STALL_MS - 1);
    watch.progress(() => 'bash "npm test" was at work');
    vi.advanceTimersByTime(STALL_MS - 1);
    expect(stalled).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(stalled).toHaveLength(1);
    expect(stalled[0]).toMatchObject({
      code: 'STALLED',
      retryable: true,
      message: 'no progress for 300000 ms; at 2026-05-01T10:04:59.999Z bash "npm test" was at work',
      facts: { lastProgress: 'bash "npm test" was at work', lastProgressAt: '2026-05-01T10:04:59.999Z' },
    });
    vi.advanceTimersByTime(10 * STALL_MS);
    expect(stalled).toHaveLength(1);
    watch.close();
  });

  test('tells it also when nothing was ever heard', () => {
    const { watch, stalled } = watched();
    vi.advanceTimersByTime(STALL_MS);
    expect(stalled[0]?.facts.lastProgress).toBe('the session was being started');
    watch.close();
  });

  test('waits while it is suspended, and goes on with the next progress', () => {
    const { watch, stalled } = watched();
    watch.suspend();
    vi.advanceTimersByTime(3 * STALL_MS);
    expect(stalled).toEqual([]);
    watch.progress(() => 'the model was answering');
    vi.advanceTimersByTime(STALL_MS);
    expect(stalled).toHaveLength(1);
    watch.close();
  });

  test('says nothing once it is closed, and leaves no clock behind', () => {
    const { watch, stalled } = watched();
    watch.close();
    watch.progress(() => 'the model was answering');
    vi.advanceTimersByTime(2 * STALL_MS);
    expect([stalled, vi.getTimerCount()]).toEqual([[], 0]);
  });
});

describe('progress', () => {
  const event = (type: string, properties: object) => ({ id: 'evt_1', type, properties }) as unknown as Event;
  const part = (more: object) => event('message.part.updated', { sessionID: 's', part: more, time: 1 });
  const tool = (status: string, input: object = { command: 'npm test' }) =>
    part({ type: 'tool', tool: 'bash', callID: 'c', state: { status, input } });

  test.each([
    [event('message.part.delta', { delta: 'x' }), 'the model was answering'],
    [part({ type: 'step-finish' }), 'the model had answered'],
    [tool('pending', {}), 'bash "{}" was at work'],
    [tool('running'), 'bash "npm test" was at work'],
    [tool('completed'), 'bash "npm test" had ended'],
    [tool('error'), 'bash "npm test" had ended'],
  ])('is %j', (one, said) => {
    expect(progressIn(one)?.()).toBe(said);
  });

  test.each([
    event('server.heartbeat', {}),
    event('message.part.delta', { delta: '' }),
    event('session.status', { sessionID: 's', status: { type: 'busy' } }),
    event('session.status', { sessionID: 's', status: { type: 'retry', attempt: 1, message: 'x', next: 1 } }),
    part({ type: 'step-start' }),
    part({ type: 'text', text: 'the prompt' }),
  ])('is not %j', one => {
    expect(progressIn(one)).toBeNull();
  });

  test('is told in few words, on one line, without what looks like a key', () => {
    const said = progressIn(
      tool('running', { command: `curl -H "Authorization: Bearer sk-1234567890"\n${'x '.repeat(999)}` }),
    );
    expect(said?.()).not.toContain('1234567890');
    expect(said?.().length).toBeLessThan(200);
    expect(said?.()).not.toContain('\n');
  });
});
