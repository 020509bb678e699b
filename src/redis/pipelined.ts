/** Many reads in one round trip. */
import type { ChainableCommander } from 'ioredis';
import { CellpoolError } from '../errors.ts';

/**
 * The answers in the order of the commands; undefined where the key is of another type than it should be, since
 * anybody may write to a shared Redis. @throws any other error of Redis
 */
export async function pipelined(commands: ChainableCommander): Promise<unknown[]> {
  const replies = await commands.exec();
  if (replies === null) throw new CellpoolError('REDIS_UNAVAILABLE', 'Redis did not answer');
  return replies.map(([error, value]) => {
    if (error === null) return value;
    if (error.message.startsWith('WRONGTYPE')) return undefined;
    throw error;
  });
}
