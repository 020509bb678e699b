/** One lander a target at a time, on real Redis. */
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { landingKeys } from '../../src/redis/keys.ts';
import { LandingLeases } from '../../src/redis/landing-lease.ts';
import { type TestRedis, testRedis } from '../support/redis.ts';

let server: TestRedis;
let redis: Redis;
let prefix: string;
let leases: LandingLeases;

beforeAll(async () => {
  server = await testRedis();
});
afterAll(() => server.close());
beforeEach(async () => {
  redis = await server.connect('producer');
  prefix = server.prefix();
  leases = new LandingLeases(redis, { prefix });
});

const keyOf = (mark: string) => `${landingKeys(prefix).lease}${mark}`;
const mustTake = async (mark: string) => (await leases.take(mark)) ?? expect.fail('somebody has it');

describe('a lease', () => {
  test('is had by one of many who ask at once, and each target has its own', async () => {
    const others = Array.from({ length: 20 }, () => new LandingLeases(redis, { prefix }));
    const taken = await Promise.all(others.map(one => one.take('a')));
    expect(taken.filter(lease => lease !== null)).toHaveLength(1);
    expect(await leases.take('b')).not.toBeNull();
  });

  test('runs out by itself, and has a larger number each time, also when Redis has forgotten the last', async () => {
    const first = await mustTake('a');
    expect(await redis.pttl(keyOf('a'))).toBeGreaterThan(0);
    await redis.del(keyOf('a'));
    const second = await mustTake('a');
    expect(BigInt(second.number)).toBeGreaterThan(BigInt(first.number));
    await redis.del(keyOf('a'), landingKeys(prefix).fence);
    expect(BigInt((await mustTake('a')).number)).toBeGreaterThan(BigInt(second.number));
  });

  test('has a larger number than one from a clock that was ahead', async () => {
    await redis.set(landingKeys(prefix).fence, '9000000000000000');
    expect((await mustTake('a')).number).toBe('9000000000000001');
  });

  test('permits nothing to who has lost it, neither by time nor to another one', async () => {
    const mine = await mustTake('a');
    await leases.permit(mine);
    expect(await leases.renew(mine)).toBe(true);
    await redis.del(keyOf('a'));
    await expect(leases.permit(mine)).rejects.toMatchObject({ code: 'FENCED' });
    const theirs = await mustTake('a');
    await expect(leases.permit(mine)).rejects.toMatchObject({ code: 'FENCED' });
    expect(await leases.renew(mine)).toBe(false);
    await leases.release(mine);
    await leases.permit(theirs);
    await leases.release(theirs);
    expect(await leases.take('a')).not.toBeNull();
  });

  test('permits nothing while Redis is away, and tells no more than that', async () => {
    const mine = await mustTake('a');
    redis.disconnect();
    await expect(leases.permit(mine)).rejects.toMatchObject({
      code: 'FENCED',
      message: expect.stringMatching(/Redis/),
    });
  });
});
