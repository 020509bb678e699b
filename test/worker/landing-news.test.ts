/** What landers say of their targets, each for itself, on real Redis. */
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, expect, onTestFinished, test, vi } from 'vitest';
import { Redactor } from '../../src/observe/redact.ts';
import { landingKeys } from '../../src/redis/keys.ts';
import { LandingTargets, type TargetNote } from '../../src/redis/landing-targets.ts';
import { LandingNews } from '../../src/worker/landing-news.ts';
import { type TestRedis, testRedis } from '../support/redis.ts';

let server: TestRedis;
let redis: Redis;
let prefix: string;
let targets: LandingTargets;

beforeAll(async () => {
  server = await testRedis();
});
afterAll(() => server.close());
beforeEach(async () => {
  redis = await server.connect('producer');
  prefix = server.prefix();
  targets = new LandingTargets(redis, { prefix });
});

const group = { mark: 'm', trial: 't', repository: '/repo', target: 'main', land: 'merge' as const, waiting: [] };
const held = (code: string, until = Date.now()): NonNullable<TargetNote['held']> => {
  return { code, reason: 'no', forPerson: true, since: 1, until };
};

function newsOf(worker: string, redactor = new Redactor()): LandingNews {
  const news = new LandingNews({ targets, host: worker, worker, redactor });
  onTestFinished(() => news.end());
  return news;
}

test('each lander has a note of its own, which goes when nothing is tried and nothing is in the way', async () => {
  const [one, two] = [newsOf('one'), newsOf('two')];
  await one.say(group, ['a'], null);
  await two.say(group, [], held('TARGET_RED'));
  expect(await targets.list()).toMatchObject([
    { worker: 'one', trying: ['a'], held: null },
    { worker: 'two', trying: [], held: { code: 'TARGET_RED' } },
  ]);
  expect([await one.isRedToOthers(group), await two.isRedToOthers(group)]).toEqual([true, false]);
  expect(await one.isRedToOthers({ ...group, trial: 'with other tests' })).toBe(false);
  await two.say(group, [], held('TARGET_RED', Date.now() - 10_000));
  // Its lander wanted to look again by now, and is busy elsewhere.
  expect(await one.isRedToOthers(group)).toBe(false);
  await one.say(group, [], null);
  expect(await targets.list()).toMatchObject([{ worker: 'two' }]);
  await two.end();
  expect(await targets.list()).toEqual([]);
});

test('what only this host lacks is not told while another one is at the target', async () => {
  const [one, two] = [newsOf('one'), newsOf('two')];
  await one.say(group, [], held('NOT_A_REPOSITORY'));
  expect(await targets.list()).toMatchObject([{ worker: 'one' }]);
  await two.say(group, ['a'], null);
  await one.say(group, [], held('NOT_A_REPOSITORY'));
  expect(await targets.list()).toMatchObject([{ worker: 'two' }]);
});

test('a secret in a reason is not told', async () => {
  const secret = 'sk-very-secret-4711-and-more';
  const reason = `the server says ${secret}`;
  await newsOf('one', new Redactor([secret])).say(group, [], { ...held('PUSH_REFUSED'), reason });
  expect(JSON.stringify(await targets.list())).not.toContain(secret);
});

test('a note is renewed as long as its lander lives, and those of dead ones are taken away', async () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'Date'] });
  onTestFinished(() => {
    vi.useRealTimers();
  });
  const one = newsOf('one');
  await one.say(group, ['a'], null);
  await targets.write('m', {
    repository: '/repo',
    target: 'main',
    host: 'dead',
    worker: 'dead',
    trying: ['b'],
    held: null,
    at: Date.now(),
  });
  expect(await targets.list()).toHaveLength(2);
  const before = Date.now();
  await vi.advanceTimersByTimeAsync(61_000);
  await vi.waitUntil(async () => ((await targets.list())[0]?.at ?? 0) > before + 50_000);
  expect((await targets.list()).map(({ worker }) => worker)).toEqual(['one']);
  // Not hidden alone: nothing of a dead one is in Redis any more.
  await vi.waitUntil(async () => (await redis.hlen(landingKeys(prefix).targets)) === 1);
});
