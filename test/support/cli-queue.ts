/** The queue of a command's private Redis, for tests that put jobs there by hand while commands look at it. */
import type { Processor, Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import { openQueue, type TaskQueue } from '../../src/job/queue.ts';
import { checkRedis, connectRedis } from '../../src/redis/connection.ts';
import { openRedis } from '../../src/redis/open-redis.ts';
import { CliHome } from './cli.ts';
import { holdJobs } from './jobs.ts';

export const PREFIX = 'cellpool';

export interface CliQueue {
  readonly cli: CliHome;
  readonly redis: Redis;
  readonly queue: TaskQueue;
  /** A worker that takes jobs and does with each what `processor` says; ended by `clear`. */
  work(processor: Processor): Promise<Worker>;
  /** Empties Redis and ends the workers. */
  clear(): Promise<void>;
  close(): Promise<void>;
}

export async function openCliQueue(): Promise<CliQueue> {
  const cli = new CliHome();
  const server = await openRedis({ home: cli.home });
  const clients: Redis[] = [];
  const connect = async (role: 'producer' | 'worker') => {
    const client = connectRedis(server.address, role);
    clients.push(client);
    await checkRedis(client);
    return client;
  };
  const redis = await connect('producer');
  const queue = openQueue(redis, PREFIX);
  const workers: Worker[] = [];
  const clear = async () => {
    await Promise.all(workers.splice(0).map(worker => worker.close(true)));
    await redis.flushall();
  };
  return {
    cli,
    redis,
    queue,
    clear,
    async work(processor) {
      const worker = holdJobs(await connect('worker'), PREFIX, processor);
      workers.push(worker);
      return worker;
    },
    async close() {
      await clear();
      await queue.close();
      for (const client of clients) client.disconnect();
      await server.close();
      cli.remove();
    },
  };
}
