/** The answer to Prometheus: the pool, and the board's own process. */
import type { Redis } from 'ioredis';
import { collectDefaultMetrics, Registry } from 'prom-client';
import { poolMetrics } from './pool-metrics.ts';
import { readForMetrics } from './pool-reading.ts';
import type { ViewContext } from './view/context.ts';

/** What measures this process goes on from one answer to the next; one for each board, and gone with it. */
const ofProcess = new WeakMap<Redis, Registry>();

/**
 * The text and its content type. Reads everything anew, some ten answers of Redis: ask every few seconds at most.
 * @throws the error of Redis when it is away
 */
export async function metricsText(context: ViewContext): Promise<{ contentType: string; text: string }> {
  const pool = poolMetrics(await readForMetrics(context));
  // prom-client writes "Nan", which the format does not know; it is what an event loop has that was not measured yet.
  const own = (await ownRegistry(context.redis).metrics()).replaceAll(/ Nan$/gm, ' NaN');
  return { contentType: pool.contentType, text: `${await pool.metrics()}${own}` };
}

function ownRegistry(redis: Redis): Registry {
  const known = ofProcess.get(redis);
  if (known !== undefined) return known;
  const register = new Registry();
  collectDefaultMetrics({ register, prefix: 'cellpool_board_' });
  ofProcess.set(redis, register);
  return register;
}
