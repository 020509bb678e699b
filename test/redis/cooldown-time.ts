/** Lets time pass for a cool-down, so that no test has to wait for one: everything it holds is set back. */
import type { Redis } from 'ioredis';
import { cooldownKeys } from '../../src/redis/keys.ts';

export async function passTime(redis: Redis, prefix: string, name: string, ms: number): Promise<void> {
  const key = cooldownKeys(prefix, name).cooldown;
  if ((await redis.exists(key)) === 0) return;
  await redis.hincrby(key, 'until', -ms);
  if ((await redis.hexists(key, 'probe')) === 1) await redis.hincrby(key, 'probe', -ms);
  await redis.pexpire(key, (await redis.pttl(key)) - ms);
}
