/** `cellpool enqueue`: put tasks on the queue for workers elsewhere or later. */
import { type Enqueued, Producer } from '../producer/producer.ts';
import { type Connected, withRedis } from './connected.ts';
import { interruptible } from './interrupts.ts';
import { say } from './outputs.ts';
import { sayUnserved } from './say-unserved.ts';
import type { TaskFlags } from './task-flags.ts';
import { readTaskCall, type TaskCall } from './task-input.ts';
import { CHANGED, printable, table } from './words.ts';

export async function enqueue(file: string | undefined, flags: TaskFlags): Promise<number> {
  const call = await readTaskCall(file, flags);
  return interruptible(async stop => {
    const enqueued = await withRedis(call.settings, say, connected => put(call, flags, connected), stop.asked);
    tell(enqueued, flags.json === true);
    return stop.asked.aborted ? 130 : 0;
  });
}

async function put({ settings, repository, tasks, plan }: TaskCall, flags: TaskFlags, connected: Connected) {
  const { prefix, retention } = settings;
  const [redis, tracing] = [await connected.connection('producer'), await connected.tracing()];
  const producer = new Producer({ redis, prefix, retention, tracing });
  const enqueued = await producer
    .enqueue(tasks, { repository, plan }, { again: flags.again === true })
    .finally(() => producer.close());
  await sayUnserved({ redis, prefix, tasks, enqueued }, say);
  return enqueued;
}

function tell(enqueued: readonly Enqueued[], json: boolean): void {
  for (const one of enqueued) if (one.changed) say(`${printable(one.taskId)} ${CHANGED}`);
  if (json) {
    for (const one of enqueued) process.stdout.write(`${JSON.stringify(one)}\n`);
    return;
  }
  const rows = enqueued.map(({ taskId, how, state, result }) => [taskId, how, state, result?.outcome ?? '-']);
  process.stdout.write(`${table(['TASK', 'HOW', 'STATE', 'OUTCOME'], rows)}\n`);
}
