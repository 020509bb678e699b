/** Where landings stand, with their jobs put on the queue by hand. */
import type { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { type LandingQueue, openLandingQueue } from '../../src/job/landing.ts';
import { landingStand } from '../../src/producer/landing-stand.ts';
import { resultOf } from '../support/jobs.ts';
import { committedAs } from '../support/landings.ts';
import { type TestRedis, testRedis } from '../support/redis.ts';
import { addLanding, commitOf, fateOf, landingJobOf } from '../support/shown-landings.ts';

let server: TestRedis;
let redis: Redis;
let landings: LandingQueue;

beforeAll(async () => {
  server = await testRedis();
});
afterAll(() => server.close());
beforeEach(async () => {
  redis = await server.connect('producer');
  landings = openLandingQueue(redis, server.prefix());
});
afterEach(async () => {
  await landings.close();
  redis.disconnect();
});

const committed = committedAs('a', 'fix');
const unchanged = resultOf('fix', 'no-changes');
const returned = {
  ...{ times: 1, commit: commitOf('a'), target: 'main', tip: commitOf('e') },
  ...{ why: 'red' as const, message: 'not ok 7' },
};

test('a commit is followed to the fate of its landing; one that was never to land is the end', async () => {
  expect(await landingStand(redis, landings, committed)).toEqual({ told: committed });
  await addLanding(landings, landingJobOf('fix'));
  expect(await landingStand(redis, landings, committed)).toMatchObject({ waits: { taskId: 'fix' } });
  const job = await landings.getJob('fix.aaaaaaaaaaaa');
  await job?.updateData(landingJobOf('fix', { fate: fateOf('returned', { message: 'a.txt' }) }));
  const back = { commit: commitOf('a'), target: 'main', message: 'a.txt' };
  expect(await landingStand(redis, landings, committed, returned)).toEqual({ returned: back });
  await job?.updateData(landingJobOf('fix', { fate: fateOf('landed', { message: 'landed' }) }));
  const landing = { target: 'main', state: 'landed', commit: commitOf('f'), message: 'landed' };
  expect(await landingStand(redis, landings, committed)).toEqual({ told: { ...committed, landing } });
});

test('work that came back did not land when nothing was committed since, whether its landing is remembered or not', async () => {
  const message =
    'not ok 7\nWorked anew, it ended no-changes; branch cellpool/fix still holds that work at aaaaaaaaaaaa.';
  const told = { ...unchanged, landing: { target: 'main', state: 'refused', commit: null, message } };
  expect(await landingStand(redis, landings, unchanged)).toEqual({ told: unchanged });
  expect(await landingStand(redis, landings, unchanged, returned)).toEqual({ told });
  await addLanding(landings, landingJobOf('fix', { fate: fateOf('returned') }));
  expect(await landingStand(redis, landings, unchanged, returned)).toEqual({ told });
});

test('when a person has that work tried once more, its fate is what counts', async () => {
  await addLanding(landings, landingJobOf('fix'));
  expect(await landingStand(redis, landings, unchanged, returned)).toMatchObject({ waits: { commit: commitOf('a') } });
  await (await landings.getJob('fix.aaaaaaaaaaaa'))?.updateData(landingJobOf('fix', { fate: fateOf('landed') }));
  expect(await landingStand(redis, landings, unchanged, returned)).toMatchObject({
    told: { outcome: 'no-changes', landing: { state: 'landed', commit: commitOf('f') } },
  });
});
