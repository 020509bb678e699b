/** Tasks that ask for labels which no living worker has: they would wait until one comes. */
import type { Redis } from 'ioredis';
import { lackingLabels } from '../config.ts';
import type { Task } from '../job/task.ts';
import { WorkerList } from '../redis/worker-list.ts';

export interface Unserved {
  labels: readonly string[];
  /** Ids of the tasks that ask for just these, in their order. */
  taskIds: string[];
}

/** One entry a set of labels. `own`: those of a worker that is about to start. @throws the error of Redis */
export async function unserved(
  { redis, prefix }: { redis: Redis; prefix: string },
  tasks: readonly Pick<Task, 'id' | 'labels'>[],
  own: readonly string[] = [],
): Promise<Unserved[]> {
  const asking = tasks.filter(({ labels }) => lackingLabels(labels, own).length > 0);
  if (asking.length === 0) return [];
  const workers = await new WorkerList(redis, { prefix }).list();
  const found = new Map<string, Unserved>();
  for (const { id, labels = [] } of asking) {
    if (workers.some(one => !one.draining && lackingLabels(labels, one.labels).length === 0)) continue;
    const known = found.get(labels.join());
    if (known === undefined) found.set(labels.join(), { labels, taskIds: [id] });
    else known.taskIds.push(id);
  }
  return [...found.values()];
}
