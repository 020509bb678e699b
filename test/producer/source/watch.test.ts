import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { CellpoolError } from '../../../src/errors.ts';
import { openLandingQueue } from '../../../src/job/landing.ts';
import { openQueue } from '../../../src/job/queue.ts';
import type { Bridge, Looked, WroteBack } from '../../../src/producer/source/bridge.ts';
import { Stir } from '../../../src/producer/source/stir.ts';
import { watch } from '../../../src/producer/source/watch.ts';
import { BOUND } from '../../support/bound.ts';
import { addJob, jobOf } from '../../support/jobs.ts';
import { addLanding, committedAs, LANDED, landWith } from '../../support/landings.ts';
import { type TestRedis, testRedis } from '../../support/redis.ts';

let server: TestRedis;
beforeAll(async () => {
  server = await testRedis();
});
afterAll(() => server.close());

const HOUR = 3_600_000;
const NOTHING: Looked = { queued: 0, faulty: 0, open: 0, waiting: 0 };

/** What a bridge is asked, in order; `answers` say how each call goes. Only the order of calls is looked at here. */
function asked(answers: { writeBack?: () => Partial<WroteBack>; look?: () => void } = {}) {
  const calls: string[] = [];
  const bridge: Pick<Bridge, 'writeBack' | 'look'> = {
    async writeBack() {
      calls.push('writeBack');
      return { freed: false, againMs: null, ...answers.writeBack?.() };
    },
    async look() {
      calls.push('look');
      answers.look?.();
      return NOTHING;
    },
  };
  return { calls, bridge: bridge as Bridge };
}

async function withStir<T>(work: (stir: Stir, prefix: string) => Promise<T>): Promise<T> {
  const prefix = server.prefix();
  const stir = await Stir.open(await server.connect('worker'), prefix);
  try {
    return await work(stir, prefix);
  } finally {
    await stir.close();
  }
}

test('it writes back when a branch has landed', () =>
  withStir(async (stir, prefix) => {
    const { calls, bridge } = asked();
    const over = new AbortController();
    const watching = watch({ bridge, stir, intervalMs: HOUR, signal: over.signal, onAway: () => undefined });
    await vi.waitUntil(() => calls.length === 2, BOUND);
    const redis = await server.connect('producer');
    const [queue, landings] = [openQueue(redis, prefix), openLandingQueue(redis, prefix)];
    await addLanding(landings, jobOf('a-1', { test: 'true', land: 'merge' }), committedAs('1', 'a-1'));
    const lander = landWith(await server.connect('worker'), prefix, queue, () => LANDED);
    await vi.waitUntil(() => calls.length > 2, { timeout: 10_000 });
    over.abort();
    await watching;
    await Promise.all([lander.close(), queue.close(), landings.close()]);
    expect(new Set(calls.slice(2))).toEqual(new Set(['writeBack']));
  }));

test('it looks at once, and then writes back when something happens on the queue, without waiting for its time', () =>
  withStir(async (stir, prefix) => {
    const { calls, bridge } = asked();
    const over = new AbortController();
    const watching = watch({ bridge, stir, intervalMs: HOUR, signal: over.signal, onAway: () => undefined });
    await vi.waitUntil(() => calls.length === 2, BOUND);
    const queue = openQueue(await server.connect('producer'), prefix);
    await addJob(queue, jobOf('a-1'), HOUR);
    await vi.waitUntil(() => calls.length === 3, { timeout: 10_000 });
    over.abort();
    await watching;
    await queue.close();
    expect(calls).toEqual(['writeBack', 'look', 'writeBack']);
  }));

test('after an item was closed it looks for what that has made ready, long before its time', () =>
  withStir(async (stir, prefix) => {
    const over = new AbortController();
    let closed = false;
    const { calls, bridge } = asked({
      writeBack: () => ({ freed: closed }),
      look: () => {
        if (closed) over.abort();
      },
    });
    const watching = watch({ bridge, stir, intervalMs: HOUR, signal: over.signal, onAway: () => undefined });
    await vi.waitUntil(() => calls.length === 2, BOUND);
    closed = true;
    const queue = openQueue(await server.connect('producer'), prefix);
    await addJob(queue, jobOf('a-1'), HOUR);
    await watching;
    await queue.close();
    expect(calls).toEqual(['writeBack', 'look', 'writeBack', 'look']);
  }));

test('where another bridge is writing, or a note is stuck, it looks again soon', () =>
  withStir(async stir => {
    const over = new AbortController();
    let looks = 0;
    const { bridge } = asked({
      writeBack: () => ({ againMs: 20 }),
      look: () => {
        looks += 1;
        if (looks === 2) over.abort();
      },
    });
    await watch({ bridge, stir, intervalMs: HOUR, signal: over.signal, onAway: () => undefined });
    expect(looks).toBe(2);
  }));

test('a source that is away is told once, tried again, and told once when it is back', () =>
  withStir(async stir => {
    const over = new AbortController();
    const told: (string | null)[] = [];
    let tries = 0;
    const { bridge } = asked({
      writeBack: () => {
        tries += 1;
        if (tries <= 2) throw new CellpoolError('SOURCE_UNAVAILABLE', 'bd is away');
        return {};
      },
      look: () => over.abort(),
    });
    await watch({
      bridge,
      stir,
      intervalMs: HOUR,
      signal: over.signal,
      onAway: error => told.push(error?.message ?? null),
    });
    expect(told).toEqual(['bd is away', null]);
    expect(tries).toBe(3);
  }));

test('what is no matter of somebody being away ends it with that error', () =>
  withStir(async stir => {
    const { bridge } = asked({
      look: () => {
        throw new Error('a fault of ours');
      },
    });
    const signal = new AbortController().signal;
    await expect(watch({ bridge, stir, intervalMs: HOUR, signal, onAway: () => undefined })).rejects.toThrow('ours');
  }));
