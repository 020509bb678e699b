// A bare BullMQ worker with its default settings, whose jobs never end. argv: path of Redis's socket, queue, prefix.
import { Worker } from 'bullmq';
import { Redis } from 'ioredis';

const [path, queue, prefix] = process.argv.slice(2);
const connection = new Redis({ path, maxRetriesPerRequest: null });
const worker = new Worker(
  queue,
  async job => {
    await job.updateProgress(process.pid);
    await new Promise(() => undefined);
  },
  { connection, prefix },
);
await worker.waitUntilReady();
