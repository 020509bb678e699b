import type { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { InvalidInput } from '../../src/errors.ts';
import { Cooldowns } from '../../src/redis/cooldown.ts';
import { cooldownKeys } from '../../src/redis/keys.ts';
import { passTime } from './cooldown-time.ts';
import { redisForFile } from './support.ts';

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
/** What a slow machine may take between two calls. */
const SLACK = 10 * SECOND;
const GO = { waitMs: 0, kind: null, reason: null };
const busy = { kind: 'busy' as const, reason: 'rate limit' };
const refused = { kind: 'refused' as const, reason: 'bad key' };

let server: Awaited<ReturnType<typeof redisForFile>>;
let redis: Redis;
beforeAll(async () => {
  server = await redisForFile();
  redis = server.client();
});
afterAll(() => server.close());

let prefixes = 0;
function fresh() {
  prefixes += 1;
  const prefix = `cool-${prefixes}`;
  return {
    prefix,
    cooldowns: new Cooldowns(redis, { prefix }),
    pass: (ms: number, name = 'p/m') => passTime(redis, prefix, name, ms),
    key: (name: string) => cooldownKeys(prefix, name).cooldown,
  };
}

function expectAbout(ms: number, expected: number): void {
  expect(ms).toBeLessThanOrEqual(expected);
  expect(ms).toBeGreaterThan(expected - SLACK);
}

test('a call that is sent again, because its reply was lost, still has the turn to try', async () => {
  const { cooldowns, pass, prefix } = fresh();
  await cooldowns.report('p/m', busy);
  await pass(15 * SECOND);
  // So that Redis has the script.
  await cooldowns.ask('q/m');
  const sentTwice: Redis = Object.create(redis, {
    evalsha: {
      value: async (...args: Parameters<Redis['evalsha']>) => {
        await redis.evalsha(...args);
        return await redis.evalsha(...args);
      },
    },
  });
  expect(await new Cooldowns(sentTwice, { prefix }).ask('p/m')).toEqual(GO);
  expect((await cooldowns.ask('p/m')).waitMs).toBe(15 * SECOND);
});

test('a model nobody had trouble with is free', async () => {
  expect(await fresh().cooldowns.ask('p/m')).toEqual(GO);
});

test('a busy model is left alone by all, with the reason; others of its provider are not', async () => {
  const { cooldowns } = fresh();
  expect(await cooldowns.report('p/m', busy)).toEqual({ waitMs: 15 * SECOND });
  const answer = await cooldowns.ask('p/m');
  expectAbout(answer.waitMs, 15 * SECOND);
  expect(answer).toMatchObject({ kind: 'busy', reason: 'rate limit' });
  expect(await cooldowns.ask('p/other')).toEqual(GO);
});

test('a provider that refuses us is left alone with all its models; others are not', async () => {
  const { cooldowns } = fresh();
  expect(await cooldowns.report('p/m', refused)).toEqual({ waitMs: MINUTE });
  for (const model of ['p/m', 'p/other', 'p/a/b:free']) {
    const answer = await cooldowns.ask(model);
    expectAbout(answer.waitMs, MINUTE);
    expect(answer).toMatchObject({ kind: 'refused', reason: 'bad key' });
  }
  expect(await cooldowns.ask('pp/m')).toEqual(GO);
});

test.each([
  [busy, [15, 30, 60, 120, 240, 300, 300]],
  [refused, [60, 120, 240, 480, 600, 600]],
])('steps of $kind double up to a cap', async (trouble, seconds) => {
  const { cooldowns, pass } = fresh();
  for (const expected of seconds) {
    expect(await cooldowns.report('p/m', trouble)).toEqual({ waitMs: expected * SECOND });
    await pass(expected * SECOND, trouble === busy ? 'p/m' : 'p');
  }
});

test('what the provider asks for is waited, beyond step and cap, up to an hour', async () => {
  const { cooldowns, pass } = fresh();
  expect(await cooldowns.report('p/m', { ...busy, retryAfterMs: 40 * MINUTE + 0.5 })).toEqual({
    waitMs: 40 * MINUTE + 1,
  });
  await pass(HOUR);
  expect(await cooldowns.report('p/m', { ...busy, retryAfterMs: 20 * SECOND })).toEqual({ waitMs: 30 * SECOND });
  expect(await cooldowns.report('p/n', { ...busy, retryAfterMs: 24 * HOUR })).toEqual({ waitMs: HOUR });
});

test('a nonsense retry-after counts as none', async () => {
  for (const retryAfterMs of [Number.NaN, -5, Number.NEGATIVE_INFINITY, 0]) {
    expect(await fresh().cooldowns.report('p/m', { ...busy, retryAfterMs })).toEqual({ waitMs: 15 * SECOND });
  }
  const endless = { ...busy, retryAfterMs: Number.POSITIVE_INFINITY };
  expect(await fresh().cooldowns.report('p/m', endless)).toEqual({ waitMs: HOUR });
});

test('fifty cells that report the same trouble at once widen it once', async () => {
  const { cooldowns } = fresh();
  await Promise.all(Array.from({ length: 50 }, () => cooldowns.report('p/m', busy)));
  expect(await cooldowns.list()).toMatchObject([{ name: 'p/m', step: 1 }]);
  expectAbout((await cooldowns.ask('p/m')).waitMs, 15 * SECOND);
});

test('a report during a cool-down puts its end off to a later retry-after, never to an earlier one', async () => {
  const { cooldowns } = fresh();
  await cooldowns.report('p/m', busy);
  expect(await cooldowns.report('p/m', { ...busy, retryAfterMs: MINUTE })).toEqual({ waitMs: MINUTE });
  expectAbout((await cooldowns.report('p/m', { ...busy, retryAfterMs: 20 * SECOND })).waitMs, MINUTE);
  expect(await cooldowns.list()).toMatchObject([{ step: 1 }]);
});

test('when the time is over one asker may try, and the others wait a little', async () => {
  const { cooldowns, pass } = fresh();
  await cooldowns.report('p/m', busy);
  await pass(15 * SECOND);
  const answers = await Promise.all(Array.from({ length: 20 }, () => cooldowns.ask('p/m')));
  expect(answers.filter(({ waitMs }) => waitMs === 0)).toEqual([GO]);
  expect(answers.filter(({ waitMs }) => waitMs > 0)).toEqual(
    Array.from({ length: 19 }, () => ({ waitMs: 15 * SECOND, kind: 'busy', reason: 'rate limit' })),
  );
});

test('the turn to try passes on after a minute of silence', async () => {
  const { cooldowns, pass } = fresh();
  await cooldowns.report('p/m', busy);
  await pass(15 * SECOND);
  expect(await cooldowns.ask('p/m')).toEqual(GO);
  expect((await cooldowns.ask('p/m')).waitMs).toBe(15 * SECOND);
  await pass(MINUTE);
  expect(await cooldowns.ask('p/m')).toEqual(GO);
});

test('a try that succeeds sets everybody free, and the next trouble starts small', async () => {
  const { cooldowns, pass } = fresh();
  for (const ms of [15 * SECOND, 30 * SECOND]) {
    await cooldowns.report('p/m', busy);
    await pass(ms);
  }
  await cooldowns.ask('p/m');
  await cooldowns.clear('p/m');
  expect(await Promise.all([cooldowns.ask('p/m'), cooldowns.ask('p/m')])).toEqual([GO, GO]);
  expect(await cooldowns.list()).toEqual([]);
  expect(await cooldowns.report('p/m', busy)).toEqual({ waitMs: 15 * SECOND });
});

test('a success that had begun before the trouble does not end a cool-down that is running', async () => {
  const { cooldowns } = fresh();
  await cooldowns.report('p/m', { ...busy, retryAfterMs: 10 * MINUTE });
  await cooldowns.report('p/m', refused);
  await cooldowns.clear('p/m');
  expect((await cooldowns.list()).map(({ name }) => name)).toEqual(['p', 'p/m']);
});

test('a success of one model shows that its provider takes us again, and says nothing of other models', async () => {
  const { cooldowns, pass } = fresh();
  await cooldowns.report('p/m', refused);
  await cooldowns.report('p/other', busy);
  await pass(MINUTE, 'p');
  await pass(MINUTE, 'p/other');
  await cooldowns.clear('p/m');
  expect((await cooldowns.list()).map(({ name }) => name)).toEqual(['p/other']);
});

test('the longer of two waits counts, and no turn to try is used up by one who has to wait anyway', async () => {
  const { cooldowns, pass } = fresh();
  await cooldowns.report('p/m', refused);
  await cooldowns.report('p/m', { ...busy, retryAfterMs: 10 * MINUTE });
  expect(await cooldowns.ask('p/m')).toMatchObject({ kind: 'busy' });
  await pass(MINUTE, 'p');
  expect(await cooldowns.ask('p/m')).toMatchObject({ kind: 'busy' });
  expect(await cooldowns.ask('p/other')).toEqual(GO);
});

test('a cool-down is forgotten an hour after its end', async () => {
  const { cooldowns, pass, key } = fresh();
  await cooldowns.report('p/m', { ...busy, retryAfterMs: 10 * MINUTE });
  const left = await redis.pttl(key('p/m'));
  expectAbout(left, HOUR + 10 * MINUTE);
  await pass(left);
  expect(await cooldowns.ask('p/m')).toEqual(GO);
  expect(await cooldowns.ask('p/m')).toEqual(GO);
  expect(await cooldowns.list()).toEqual([]);
  expect(await redis.keys(`${key('')}*`)).toEqual([]);
});

test('the list tells all cool-downs by name, with their end by the clock of Redis', async () => {
  const { cooldowns } = fresh();
  await cooldowns.report('q/m', busy);
  await cooldowns.report('p/m', refused);
  await cooldowns.report('p/m', { ...busy, reason: 'x'.repeat(2_000) });
  const listed = await cooldowns.list();
  expect(listed).toMatchObject([
    { name: 'p', kind: 'refused', reason: 'bad key', step: 1 },
    { name: 'p/m', kind: 'busy', reason: 'x'.repeat(500), step: 1 },
    { name: 'q/m', kind: 'busy', reason: 'rate limit', step: 1 },
  ]);
  const now = Number((await redis.time())[0]) * 1_000;
  for (const { until, kind } of listed) expectAbout(until - now, (kind === 'busy' ? 16 : 61) * SECOND);
});

test('clearing all ends running cool-downs too, and tells how many', async () => {
  const { cooldowns } = fresh();
  await cooldowns.report('p/m', busy);
  await cooldowns.report('p/m', refused);
  expect(await cooldowns.clearAll()).toBe(2);
  expect(await cooldowns.ask('p/m')).toEqual(GO);
  expect(await cooldowns.clearAll()).toBe(0);
});

test('a hiccup holds until it is over and no longer, and widens nothing', async () => {
  const { cooldowns, key } = fresh();
  const hiccup = { ...busy, retryAfterMs: 2 * SECOND, isHiccup: true };
  for (let time = 0; time < 5; time++) await cooldowns.report('p/m', hiccup);
  expect((await cooldowns.ask('p/m')).waitMs).toBeLessThanOrEqual(2 * SECOND);
  expect(await redis.pttl(key('p/m'))).toBeLessThanOrEqual(2 * SECOND);
  // What lasts begins at the first step, and a later hiccup leaves it as it is.
  const { waitMs } = await cooldowns.report('p/m', { ...busy, retryAfterMs: 0 });
  expect(waitMs).toBe(15 * SECOND);
  await cooldowns.report('p/m', { ...hiccup, retryAfterMs: 1 });
  expect(await cooldowns.list()).toMatchObject([{ name: 'p/m', step: 1 }]);
  expect((await cooldowns.ask('p/m')).waitMs).toBeGreaterThan(14 * SECOND);
});

test('those of one kind can be ended alone', async () => {
  const { cooldowns } = fresh();
  await cooldowns.report('p/m', busy);
  await cooldowns.report('q/m', { kind: 'refused', reason: 'a bad key' });
  expect(await cooldowns.clearAll('refused')).toBe(1);
  expect(await cooldowns.ask('q/m')).toEqual(GO);
  expect((await cooldowns.ask('p/m')).waitMs).toBeGreaterThan(0);
});

test('a clock that was set back by days holds nobody up', async () => {
  const { cooldowns, key } = fresh();
  await cooldowns.report('p/m', busy);
  const future = Date.now() + 48 * HOUR;
  await redis.hset(key('p/m'), { until: future, probe: future });
  expect(await cooldowns.ask('p/m')).toEqual(GO);
  expect((await cooldowns.ask('p/m')).waitMs).toBe(15 * SECOND);
});

test('nonsense in place of a cool-down is none, is not listed, and is written over by the next report', async () => {
  const good = { kind: 'busy', reason: '', step: '1', until: String(Date.now() + HOUR / 2) };
  const { key, prefix, cooldowns } = fresh();
  const nonsense = [{ kind: 'x' }, { step: 'x' }, { step: '-1' }, { step: '1e300' }, { until: 'nan' }, { until: '-1' }];
  const write = [
    ...nonsense.map(fields => () => redis.hset(key('p/m'), { ...good, ...fields })),
    () => redis.hset(key('p/m'), { ...good, probe: 'x' }),
    () => redis.hset(key('p/m'), 'a', 'b'),
    () => redis.set(key('p/m'), 'a string'),
    () => redis.lpush(key('p/m'), 'a list'),
  ];
  for (const one of write) {
    await redis.del(key('p/m'));
    await one();
    await redis.sadd(cooldownKeys(prefix).names, 'p/m', 'never there');
    expect(await cooldowns.ask('p/m')).toEqual(GO);
    expect(await cooldowns.list()).toEqual([]);
    await cooldowns.clear('p/m');
    expect(await cooldowns.report('p/m', busy)).toEqual({ waitMs: 15 * SECOND });
  }
});

test('what is no provider/model is refused', async () => {
  const { cooldowns } = fresh();
  for (const bad of ['', 'p', '/m', 'p/', 'a b/m', 'p/m\n']) {
    await expect(cooldowns.ask(bad)).rejects.toThrow(InvalidInput);
    await expect(cooldowns.report(bad, busy)).rejects.toThrow(InvalidInput);
    await expect(cooldowns.clear(bad)).rejects.toThrow(InvalidInput);
  }
});
