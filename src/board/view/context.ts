/** What is needed to tell the facts of a pool. */
import type { Redis } from 'ioredis';
import type { TaskQueue } from '../../job/queue.ts';

export interface ViewContext {
  /** A ready connection; it stays the caller's. */
  redis: Redis;
  queue: TaskQueue;
  /** First part of all keys, the same that the queue was opened with. */
  prefix: string;
}
