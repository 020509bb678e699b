import type { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from 'vitest';
import { InvalidInput } from '../../src/errors.ts';
import { Control, type ControlMessage } from '../../src/redis/control.ts';
import { Fence } from '../../src/redis/fence.ts';
import { controlChannel, taskKeys } from '../../src/redis/keys.ts';
import { BOUND } from '../support/bound.ts';
import { redisForFile } from './support.ts';

const WEEK_MS = 7 * 86_400_000;
const enqueuedAt = 1_700_000_000_000;

let server: Awaited<ReturnType<typeof redisForFile>>;
let redis: Redis;
beforeAll(async () => {
  server = await redisForFile();
  redis = server.client();
});
afterAll(() => server.close());

let prefixes = 0;
const newPrefix = () => {
  prefixes += 1;
  return `control-${prefixes}`;
};

/** A listener that keeps what it heard; closed when the test ends. */
async function listen(
  prefix: string,
  connection = redis,
): Promise<{ heard: ControlMessage[]; close(): Promise<void> }> {
  const heard: ControlMessage[] = [];
  const { close } = await Control.subscribe(connection, prefix, message => heard.push(message));
  onTestFinished(close);
  return { heard, close };
}

/** How many connections carry the name. */
const named = async (name: string) => String(await redis.client('LIST')).split(` name=${name} `).length - 1;

test('every listener hears each message, in order, and the publisher learns how many there were', async () => {
  const prefix = newPrefix();
  const control = new Control(redis, { prefix });
  expect(await control.publish({ kind: 'cancel', taskId: 'a' })).toBe(0);
  const listeners = [await listen(prefix), await listen(prefix)];
  const sent: ControlMessage[] = [
    { kind: 'cancel', taskId: 'a' },
    { kind: 'drain', host: 'here' },
    { kind: 'drain', host: null },
  ];
  for (const message of sent) expect(await control.publish(message)).toBe(2);
  for (const { heard } of listeners) await vi.waitFor(() => expect(heard).toEqual(sent), BOUND);
});

test('pools of another prefix hear nothing', async () => {
  const [here, there] = [newPrefix(), newPrefix()];
  const [mine, theirs] = [await listen(here), await listen(there)];
  expect(await new Control(redis, { prefix: here }).publish({ kind: 'drain', host: null })).toBe(1);
  await vi.waitFor(() => expect(mine.heard).toHaveLength(1), BOUND);
  expect(theirs.heard).toEqual([]);
});

test('nonsense on the channel is passed over, and what comes after it is heard', async () => {
  const prefix = newPrefix();
  const { heard } = await listen(prefix);
  const nonsense = [
    '',
    '{',
    'null',
    '[]',
    '{"kind":"reboot"}',
    '{"kind":"cancel"}',
    '{"kind":"cancel","taskId":"../../etc"}',
    '{"kind":"cancel","taskId":7}',
    '{"kind":"drain"}',
    '{"kind":"drain","host":1}',
  ];
  for (const text of nonsense) await redis.publish(controlChannel(prefix), text);
  await redis.publish(controlChannel(prefix), '{"kind":"cancel","taskId":"a","more":1}');
  await vi.waitFor(() => expect(heard).toEqual([{ kind: 'cancel', taskId: 'a' }]), BOUND);
});

test('the given connection stays usable, and closing ends the listener’s own, also when asked twice', async () => {
  const prefix = newPrefix();
  const connection = server.client().duplicate({ connectionName: prefix });
  onTestFinished(() => connection.disconnect());
  const { heard, close } = await listen(prefix, connection);
  expect(await connection.ping()).toBe('PONG');
  expect(await named(prefix)).toBe(2);
  await close();
  await close();
  await vi.waitFor(async () => expect(await named(prefix)).toBe(1), BOUND);
  expect(await connection.ping()).toBe('PONG');
  expect(await new Control(redis, { prefix }).publish({ kind: 'drain', host: null })).toBe(0);
  expect(heard).toEqual([]);
});

test('a listener whose connection broke listens again', async () => {
  const prefix = newPrefix();
  const { heard } = await listen(prefix);
  await redis.client('KILL', 'TYPE', 'PUBSUB');
  const control = new Control(redis, { prefix });
  await vi.waitUntil(async () => (await control.publish({ kind: 'cancel', taskId: 'a' })) === 1, { timeout: 10_000 });
  await vi.waitFor(() => expect(heard).toContainEqual({ kind: 'cancel', taskId: 'a' }), BOUND);
});

test('a producer’s connection can listen too', async () => {
  const prefix = newPrefix();
  const { heard } = await listen(prefix, server.client('producer'));
  await new Control(redis, { prefix }).publish({ kind: 'drain', host: null });
  await vi.waitFor(() => expect(heard).toHaveLength(1), BOUND);
});

test('a channel that Redis does not allow is an error, and leaves no connection behind', async () => {
  const prefix = newPrefix();
  await redis.acl('SETUSER', 'mute', 'on', '>pw', '~*', '+@all', 'resetchannels');
  const mute = server.client().duplicate({ username: 'mute', password: 'pw', connectionName: 'mute' });
  onTestFinished(() => mute.disconnect());
  await expect(Control.subscribe(mute, prefix, () => undefined)).rejects.toThrow(/NOPERM/);
  mute.disconnect();
  await vi.waitFor(async () => expect(await named('mute')).toBe(0), BOUND);
});

test('a mark cancels one enqueuing of a task until it is taken away, and expires after a week', async () => {
  const prefix = newPrefix();
  const [control, fence] = [new Control(redis, { prefix }), new Fence(redis, { prefix })];
  const cancelled = async (at: number) => (await fence.begin({ taskId: 'a', enqueuedAt: at })).cancelled;
  await control.markCancelled('a', enqueuedAt);
  expect(await cancelled(enqueuedAt)).toBe(true);
  expect(await cancelled(enqueuedAt + 1)).toBe(false);
  const left = await redis.pttl(taskKeys(prefix, 'a').cancel);
  expect(left).toBeGreaterThan(WEEK_MS - 60_000);
  expect(left).toBeLessThanOrEqual(WEEK_MS);
  await control.unmark('a');
  await control.unmark('a');
  expect(await cancelled(enqueuedAt)).toBe(false);
});

test('a worker that missed the message finds which of its tasks are marked', async () => {
  const control = new Control(redis, { prefix: newPrefix() });
  await control.markCancelled('a', enqueuedAt);
  await control.markCancelled('b', enqueuedAt - 1);
  const running = ['a', 'b', 'c'].map(taskId => ({ taskId, enqueuedAt }));
  expect(await control.marked(running)).toEqual(['a']);
  expect(await control.marked([])).toEqual([]);
});

test('what cannot be a task id or a prefix is refused', async () => {
  const control = new Control(redis, { prefix: newPrefix() });
  await expect(control.markCancelled('a:b', enqueuedAt)).rejects.toThrow(InvalidInput);
  await expect(control.unmark('')).rejects.toThrow(InvalidInput);
  await expect(Control.subscribe(redis, 'a b', () => undefined)).rejects.toThrow(InvalidInput);
});
