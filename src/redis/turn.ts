/**
 * A turn: one process at a time does some work, on whatever host. It is a courtesy and no lock: a process that was
 * stopped in its turn may go on beside the next one, so the work must bear that.
 */
import { randomBytes } from 'node:crypto';
import type { Redis } from 'ioredis';
import { Script } from './script.ts';

/** Who died in its turn leaves it to the next one after this long. */
const TURN_MS = 8_000;
const RENEW_MS = 2_000;

const renew = new Script(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
`);
const end = new Script(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
`);

/** Runs `work` when it is our turn, kept for as long as that takes; null when another one has it. */
export async function inTurn<T>(redis: Redis, key: string, work: () => Promise<T>): Promise<{ result: T } | null> {
  const token = randomBytes(8).toString('hex');
  if ((await redis.set(key, token, 'PX', TURN_MS, 'NX')) !== 'OK') return null;
  // A renewal that fails costs the turn at worst, which is harmless.
  const keeping = setInterval(() => renew.run(redis, [key], [token, TURN_MS]).catch(() => undefined), RENEW_MS).unref();
  try {
    return { result: await work() };
  } finally {
    clearInterval(keeping);
    await end.run(redis, [key], [token]).catch(() => undefined);
  }
}
