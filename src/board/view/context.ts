/** What is needed to tell the facts of a pool. */
import type { Redis } from 'ioredis';
import type { LandingQueue } from '../../job/landing.ts';
import type { TaskQueue } from '../../job/queue.ts';

export interface ViewContext {
  /** A ready connection; it stays the caller's. */
  redis: Redis;
  queue: TaskQueue;
  landing: LandingQueue;
  /** First part of all keys, the same that the queues were opened with. */
  prefix: string;
}
