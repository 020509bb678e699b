/**
 * Tasks that were set aside because the worker that took them lacks labels they ask for. They wait as delayed jobs do;
 * here it is noted which labels each asks for, so that a worker that has them can call them back at once.
 *
 * A task is noted after it has become a delayed job. Whoever calls it takes the note away first: should he die then, the
 * task comes back by itself when its delay is over, and is set aside again.
 */
import type { Redis } from 'ioredis';
import { labelList, lackingLabels } from '../config.ts';
import { taskIdFault } from '../job/names.ts';
import type { TaskQueue } from '../job/queue.ts';
import { asideKeys } from './fleet-keys.ts';
import { DEFAULT_PREFIX } from './keys.ts';
import { MUST_BE } from './lua.ts';
import { queueFirst } from './queue-first.ts';
import { Script } from './script.ts';

/** Longer than any task waits before it comes back by itself, and is noted anew. */
const NOTE_MS = 3_600_000;

/** KEYS: the sets of labels, the tasks of one. ARGV: set, priority, note, ms to keep it. */
const NOTE = new Script(`${MUST_BE}
mustBe('set', KEYS[1])
mustBe('zset', KEYS[2])
redis.call('SADD', KEYS[1], ARGV[1])
redis.call('ZADD', KEYS[2], ARGV[2], ARGV[3])
return redis.call('PEXPIRE', KEYS[2], ARGV[4])
`);

/**
 * KEYS: the sets of labels, then the tasks of those that are called. ARGV: how many, then the sets. Takes out the first
 * notes of all of them together, by priority and then by age, and forgets sets that are empty.
 */
const CALL = new Script(`
${MUST_BE}
mustBe('set', KEYS[1])
for index = 2, #KEYS do mustBe('zset', KEYS[index]) end
local called = {}
local function before(a, b) return a.score < b.score or (a.score == b.score and a.note < b.note) end
for _ = 1, tonumber(ARGV[1]) do
  local first
  for index = 2, #KEYS do
    local head = redis.call('ZRANGE', KEYS[index], 0, 0, 'WITHSCORES')
    local one = head[1] and {note = head[1], score = tonumber(head[2]), key = KEYS[index]}
    if one and (not first or before(one, first)) then first = one end
  end
  if not first then break end
  redis.call('ZREM', first.key, first.note)
  called[#called + 1] = first.note
end
for index = 2, #KEYS do
  if redis.call('EXISTS', KEYS[index]) == 0 then redis.call('SREM', KEYS[1], ARGV[index]) end
end
return called
`);

/** What of a task tells its place among others: lower priorities first, 0 before all, then the older ones. */
export interface AsideTask {
  taskId: string;
  labels: readonly string[];
  priority: number;
  /** Epoch ms. */
  enqueuedAt: number;
}

export class SetAside {
  readonly #redis: Redis;
  readonly #prefix: string;

  /** The client stays the caller's. */
  constructor(redis: Redis, { prefix = DEFAULT_PREFIX }: { prefix?: string } = {}) {
    this.#redis = redis;
    this.#prefix = prefix;
  }

  /** Notes a task that waits. */
  async note({ taskId, labels, priority, enqueuedAt }: AsideTask): Promise<void> {
    const set = [...labels].sort().join(',');
    const { sets, tasksOf } = asideKeys(this.#prefix);
    // As text times of equal length are in order.
    const note = `${String(enqueuedAt).padStart(15, '0')}:${taskId}`;
    await NOTE.run(this.#redis, [sets, tasksOf(set)], [set, priority, note, NOTE_MS]);
  }

  /**
   * Queues the first tasks, `most` of them, that ask for no other labels than these, in their order and before all
   * others of their priority. Returns how many there were; what is not waiting any more is passed over.
   */
  async call(queue: TaskQueue, labels: readonly string[], most: number): Promise<number> {
    const { sets, tasksOf } = asideKeys(this.#prefix);
    if (labels.length === 0 || most <= 0) return 0;
    const fitting = (await this.#redis.smembers(sets)).filter(set => isFitting(set, labels)).sort();
    if (fitting.length === 0) return 0;
    const keys = [sets, ...fitting.map(tasksOf)];
    const notes = (await CALL.run(this.#redis, keys, [most, ...fitting])) as string[];
    let queued = 0;
    // The last comes first, since each is put before those that were queued before it.
    for (const note of notes.reverse()) {
      const taskId = note.slice(note.indexOf(':') + 1);
      if (taskIdFault(taskId) !== null) continue;
      if (await queueFirst(this.#redis, this.#prefix, queue, taskId)) queued += 1;
    }
    return queued;
  }
}

/** Anybody may write to a shared Redis: a name that is no set of labels is nobody's. */
function isFitting(set: string, labels: readonly string[]): boolean {
  const { data } = labelList.safeParse(set.split(','));
  return data !== undefined && data.join(',') === set && lackingLabels(data, labels).length === 0;
}
