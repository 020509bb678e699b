/** Says which of the tasks that were just put on the queue would wait for a worker that is not there. */
import type { Redis } from 'ioredis';
import type { Enqueued } from '../producer/producer.ts';
import type { PlacedTask } from '../producer/tasks-file.ts';
import { unserved } from '../producer/unserved.ts';

export interface UnservedCall {
  /** In the producer's role. */
  redis: Redis;
  prefix: string;
  tasks: readonly PlacedTask[];
  enqueued: readonly Enqueued[];
  /** Labels of a worker that is about to start. */
  own?: readonly string[];
}

/** @throws the error of Redis */
export async function sayUnserved(call: UnservedCall, say: (message: string) => void): Promise<void> {
  const { tasks, enqueued, own = [], ...place } = call;
  const open = new Set(enqueued.filter(({ how }) => how !== 'known').map(({ taskId }) => taskId));
  const asking = tasks.map(({ task }) => task).filter(({ id }) => open.has(id));
  for (const { labels, taskIds } of await unserved(place, asking, own)) {
    const [first = '', ...others] = taskIds;
    const who = others.length === 0 ? `${first} waits` : `${first} and ${others.length} more wait`;
    say(
      `No living worker has the label${labels.length === 1 ? '' : 's'} ${labels.join(', ')}: ${who} until one comes.`,
    );
  }
}
