/**
 * A turn: one process at a time does some work, on whatever host. It is a courtesy and no lock: a process that was
 * stopped in its turn may go on beside the next one for a moment, so the work must bear that.
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

/**
 * Runs `work` when it is our turn, kept for as long as that takes; null when another one has it. The signal is aborted
 * when the turn may be somebody else's: nothing more should be begun then.
 */
export async function inTurn<T>(
  redis: Redis,
  key: string,
  work: (over: AbortSignal) => Promise<T>,
): Promise<{ result: T } | null> {
  const token = randomBytes(8).toString('hex');
  if ((await redis.set(key, token, 'PX', TURN_MS, 'NX')) !== 'OK') return null;
  const over = new AbortController();
  let heldAt = performance.now();
  const keep = async () => {
    const askedAt = performance.now();
    const held = await renew.run(redis, [key], [token, TURN_MS]).catch(() => null);
    if (held === 1) heldAt = askedAt;
    if (held === 0 || performance.now() - heldAt >= TURN_MS) over.abort();
  };
  const keeping = setInterval(() => void keep(), RENEW_MS).unref();
  try {
    return { result: await work(over.signal) };
  } finally {
    clearInterval(keeping);
    await end.run(redis, [key], [token]).catch(() => undefined);
  }
}
