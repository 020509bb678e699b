/** Server-sent events over real HTTP and a real Redis. */
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from 'vitest';
import { LiveStreams } from '../../src/board/live-streams.ts';
import { enterCell, openBoard, openEvents, type TestBoard } from '../support/board.ts';
import { addJob, jobOf } from '../support/jobs.ts';
import { type TestRedis, testRedis } from '../support/redis.ts';

let server: TestRedis;
beforeAll(async () => {
  server = await testRedis();
});
afterAll(() => server.close());

type Told = { at: number; parts: Record<string, string> };

const until = (condition: () => boolean) => vi.waitUntil(condition, { timeout: 20_000, interval: 5 });
const topic = ({ running }: TestBoard) => running.streams.state.topics[0];

test('the first event tells the whole page, the next ones what has changed', async () => {
  const board = await openBoard(server);
  const events = await openEvents(`${board.url}/events`);
  expect(events.response.headers.get('content-type')).toBe('text/event-stream; charset=utf-8');
  const first = (await events.next()) as { event: string; data: Told };
  expect(first.event).toBe('parts');
  expect(Object.keys(first.data.parts).sort()).toEqual(
    ['cells', 'cooldowns', 'hours', 'landing', 'latest', 'queues', 'summary', 'workers'].sort(),
  );
  const { cellId, registry } = await enterCell(board, 'seen');
  const second = (await events.next()) as { event: string; data: Told };
  expect(second.data.parts.cells).toContain('/tasks/seen');
  expect(Object.keys(second.data.parts).sort()).toEqual(['cells', 'summary']);
  registry.stage(cellId, 'execute');
  const third = (await events.next()) as { event: string; data: Told };
  expect(Object.keys(third.data.parts)).toEqual(['cells']);
  expect(third.data.parts.cells).toContain('>execute</span>');
  expect(third.data.at).toBeGreaterThanOrEqual(second.data.at);
});

test('several listeners share one reader; one that goes frees its stream, the last one the reader', async () => {
  const board = await openBoard(server);
  const { streams } = board.running;
  const one = await openEvents(`${board.url}/events`);
  await one.next();
  const other = await openEvents(`${board.url}/events`);
  await other.next();
  expect(streams.state.streams).toBe(2);
  expect(streams.state.topics).toMatchObject([{ name: 'pool', listeners: 2 }]);
  await addJob(board.queue, jobOf('new'));
  for (const events of [one, other]) {
    expect(((await events.next()).data as Told).parts.queues).toBeDefined();
  }
  one.close();
  await until(() => streams.state.streams === 1);
  expect(topic(board)?.listeners).toBe(1);
  other.close();
  await until(() => streams.state.streams === 0);
  expect(streams.state.topics).toEqual([]);
});

test('the reader is as fast as it may be, however many listen', async () => {
  const board = await openBoard(server, { live: { everyMs: 3_600_000 } });
  for (let index = 0; index < 5; index += 1) await (await openEvents(`${board.url}/events`)).next();
  expect(topic(board)).toMatchObject({ listeners: 5, readings: 1 });
});

test('a task has a stream of its own', async () => {
  const board = await openBoard(server);
  await addJob(board.queue, jobOf('one'));
  await addJob(board.queue, jobOf('two'));
  const events = await openEvents(`${board.url}/events?task=one`);
  const first = (await events.next()).data as Told;
  expect(Object.keys(first.parts)).toEqual(['task-state', 'attempts', 'log']);
  const job = await board.queue.getJob('two');
  await job?.log('of the other');
  await (await board.queue.getJob('one'))?.log('of this one');
  const second = (await events.next()).data as Told;
  expect(Object.keys(second.parts)).toEqual(['log']);
  expect(second.parts.log).toContain('of this one');
});

test('a quiet stream beats, so that neither proxies nor pages take it for gone', async () => {
  const board = await openBoard(server, { live: { everyMs: 3_600_000, heartbeatMs: 5 } });
  const response = await fetch(`${board.url}/events`);
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  let seen = '';
  while (!seen.includes('event: beat\ndata: {}\n\nevent: beat')) {
    const { value, done } = (await reader?.read()) ?? { done: true };
    if (done === true) break;
    seen += value;
  }
  expect(seen).toMatch(/^retry: \d+\n\n/);
  expect(seen).toContain('event: beat\ndata: {}\n\nevent: beat');
  await reader?.cancel();
});

test('a listener that reads nothing is let go, so that nothing piles up for it', async () => {
  const streams = new LiveStreams({ everyMs: 1 });
  onTestFinished(() => streams.close());
  let reading = 0;
  streams.open('much', async () => {
    reading += 1;
    return { at: reading, parts: { a: `${reading}`.padEnd(1024 * 1024, '.') } };
  });
  expect(streams.state.streams).toBe(1);
  await until(() => streams.state.streams === 0);
  expect(streams.state.topics).toEqual([]);
});

test('what the reading fails with is said by the board, with what it was read for', async () => {
  const said: string[] = [];
  const streams = new LiveStreams({ everyMs: 1, say: message => said.push(message) });
  onTestFinished(() => streams.close());
  streams.open('pool', async () => {
    throw new TypeError('a fault of ours');
  });
  await until(() => (streams.state.topics[0]?.readings ?? 0) > 3);
  expect(said).toEqual(['The board failed at reading for its live pages (pool): a fault of ours']);
});

test('more streams than there may be are refused, and one that goes makes room', async () => {
  const board = await openBoard(server, { live: { everyMs: 20, most: 1 } });
  const one = await openEvents(`${board.url}/events`);
  await one.next();
  expect((await board.get('/events')).status).toBe(503);
  one.close();
  await until(() => board.running.streams.state.streams === 0);
  await (await openEvents(`${board.url}/events`)).next();
  expect(board.said).toEqual([]);
});

test('the page of a task that leaves the queue says so', async () => {
  const board = await openBoard(server);
  await addJob(board.queue, jobOf('goes'));
  const events = await openEvents(`${board.url}/events?task=goes`);
  await events.next();
  await board.post('/api/tasks/goes/cancel');
  const { data } = await events.next();
  expect(Object.keys((data as Told).parts)).toEqual(['task-state']);
  expect((data as Told).parts['task-state']).toContain('not on the queue any more');
});

test('HEAD opens no stream', async () => {
  const board = await openBoard(server);
  const response = await fetch(`${board.url}/events`, { method: 'HEAD' });
  expect(response.headers.get('content-type')).toBe('text/event-stream; charset=utf-8');
  expect(board.running.streams.state.streams).toBe(0);
});

test('a board that is closed ends its streams', async () => {
  const board = await openBoard(server);
  const events = await openEvents(`${board.url}/events`);
  await events.next();
  await Promise.all([board.running.close(), events.ended()]);
  expect(board.running.streams.state).toEqual({ streams: 0, topics: [] });
  await expect(fetch(board.url)).rejects.toThrow();
});
