/** One reader for all listeners. What is read is made by the test: it is to change, and to fail, when the test says. */
import { expect, onTestFinished, test, vi } from 'vitest';
import { type LiveMessage, LiveTopic } from '../../src/board/live.ts';
import { CellpoolError } from '../../src/errors.ts';

/** A topic whose parts the test sets, and listeners that keep what they are told. */
function topicOf(first: Record<string, string>) {
  const site = { parts: first, error: null as Error | null, idle: 0, faults: [] as string[] };
  const topic = new LiveTopic({
    read: async () => {
      if (site.error !== null) throw site.error;
      return { at: 1, parts: site.parts };
    },
    everyMs: 5,
    onFault: reason => site.faults.push(reason),
    onIdle: () => {
      site.idle += 1;
    },
  });
  const listen = () => {
    const told: LiveMessage[] = [];
    const leave = topic.listen(message => told.push(message));
    onTestFinished(leave);
    return { told, leave };
  };
  return { site, topic, listen };
}

const parts = (given: Record<string, string>) => ({ kind: 'parts', at: 1, parts: given });

/** Until it has been read so often again: whatever was to be told by then has been. */
async function read(topic: LiveTopic, times = 2): Promise<void> {
  const before = topic.readings;
  await vi.waitUntil(() => topic.readings >= before + times, { timeout: 20_000, interval: 1 });
}

test('the first message tells all, later ones what has changed, and nothing when nothing has', async () => {
  const { site, topic, listen } = topicOf({ a: '1', b: '1' });
  const { told } = listen();
  await read(topic, 3);
  expect(told).toEqual([parts({ a: '1', b: '1' })]);
  site.parts = { a: '1', b: '2' };
  await read(topic);
  expect(told.slice(1)).toEqual([parts({ b: '2' })]);
});

test('listeners share one reader; one that comes later is told all at once', async () => {
  const { site, topic, listen } = topicOf({ a: '1' });
  const first = listen();
  await read(topic);
  const before = topic.readings;
  const second = listen();
  expect(second.told).toEqual([parts({ a: '1' })]);
  expect(topic.readings).toBe(before);
  site.parts = { a: '2' };
  await read(topic);
  expect(first.told.at(-1)).toEqual(parts({ a: '2' }));
  expect(second.told.at(-1)).toEqual(parts({ a: '2' }));
  expect(topic.listeners).toBe(2);
});

test('nothing is read when nobody listens, and who comes then is told nothing old', async () => {
  const { site, topic, listen } = topicOf({ a: '1' });
  const first = listen();
  await read(topic);
  first.leave();
  first.leave();
  expect(site.idle).toBe(1);
  const before = topic.readings;
  await new Promise(resolve => setTimeout(resolve, 50));
  expect(topic.readings).toBeLessThanOrEqual(before + 1);
  site.parts = { a: '2' };
  const second = listen();
  expect(second.told).toEqual([]);
  await read(topic);
  expect(second.told).toEqual([parts({ a: '2' })]);
});

test('trouble is told once, to those who come later too, and its end with whatever has changed', async () => {
  const { site, topic, listen } = topicOf({ a: '1' });
  const first = listen();
  await read(topic);
  site.error = new CellpoolError('REDIS_UNAVAILABLE', 'Redis does not answer.');
  await read(topic, 4);
  const away = { kind: 'away', reason: 'Redis does not answer.' };
  expect(first.told).toEqual([parts({ a: '1' }), away]);
  const second = listen();
  expect(second.told).toEqual([parts({ a: '1' }), away]);
  site.error = null;
  await read(topic);
  expect(first.told.slice(2)).toEqual([parts({})]);
  expect(site.faults).toEqual([]);
});

test('a fault of our own is told once where we are heard, and in words that are not its own to listeners', async () => {
  const { site, topic, listen } = topicOf({ a: '1' });
  const { told } = listen();
  await read(topic);
  site.error = new TypeError("Cannot read properties of undefined (reading 'id')");
  await read(topic, 4);
  expect(site.faults).toEqual([site.error.message]);
  expect(told.slice(1)).toEqual([{ kind: 'away', reason: expect.stringContaining('on its own output') }]);
  // What pages show is to be the reason that holds now.
  site.error = new CellpoolError('REDIS_UNAVAILABLE', 'Redis does not answer.');
  await read(topic, 4);
  expect(told.slice(2)).toEqual([{ kind: 'away', reason: 'Redis does not answer.' }]);
  site.error = null;
  await read(topic);
  site.error = new TypeError('another');
  await read(topic);
  expect(site.faults.slice(1)).toEqual(['another']);
});
