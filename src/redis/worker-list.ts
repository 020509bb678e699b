/**
 * The workers that are alive, of all hosts: each says so every few seconds and tells what it runs. Who has said
 * nothing for 30 s is off the list, though its process may live on; the reaper does not go by this list.
 *
 * A request to drain stays as a mark that the next beat returns, also for a worker that was off the list meanwhile.
 * Time is Redis's own.
 */
import type { Redis } from 'ioredis';
import { z } from 'zod';
import { labelList } from '../config.ts';
import { taskIdFault } from '../job/names.ts';
import { DEFAULT_PREFIX, workerKeys } from './keys.ts';
import { Script } from './script.ts';
import { ASK_TO_DRAIN, BEAT, LIST, REMOVE } from './worker-list-scripts.ts';

const workerEntrySchema = z.object({
  /** One process's own, never used again. */
  id: z.string().min(1),
  host: z.string(),
  pid: z.int().positive(),
  startTime: z.string(),
  bootId: z.string(),
  /** Epoch ms. */
  startedAt: z.number(),
  concurrency: z.int().min(0),
  /** Task ids. */
  running: z.array(z.string().refine(id => taskIdFault(id) === null, 'is not a task id')),
  /** Folders of ended cells that it has not removed yet; left out by workers of before. */
  removing: z.int().min(0).optional(),
  /** Takes no more jobs. */
  draining: z.boolean(),
  /** What tasks may ask of it; left out: none. */
  labels: labelList.optional(),
});
export type WorkerEntry = z.infer<typeof workerEntrySchema>;

const beat = new Script(BEAT);
const remove = new Script(REMOVE);
const list = new Script(LIST);
const askToDrain = new Script(ASK_TO_DRAIN);

export class WorkerList {
  readonly #redis: Redis;
  readonly #keys: readonly string[];

  /** The client stays the caller's. Throws `InvalidInput` for a bad prefix. */
  constructor(redis: Redis, { prefix = DEFAULT_PREFIX }: { prefix?: string } = {}) {
    const keys = workerKeys(prefix);
    this.#redis = redis;
    this.#keys = [keys.entries, keys.beats, keys.drains];
  }

  /** Says that the worker lives, to be repeated every few seconds; tells whether it was asked to drain. */
  async beat(entry: WorkerEntry): Promise<{ drain: boolean }> {
    return { drain: (await beat.run(this.#redis, this.#keys, [entry.id, JSON.stringify(entry)])) === 1 };
  }

  /** Takes a worker that ends off the list, after its last beat. Harmless when it is not on it. */
  async remove(id: string): Promise<void> {
    await remove.run(this.#redis, this.#keys, [id]);
  }

  /** The workers that said something in the last 30 s, `beatAt` in epoch ms, by id. Nonsense is passed over. */
  async list(): Promise<(WorkerEntry & { beatAt: number })[]> {
    const reply = (await list.run(this.#redis, this.#keys, [])) as string[];
    const found: (WorkerEntry & { beatAt: number })[] = [];
    for (let at = 0; at + 2 < reply.length; at += 3) {
      const [id = '', beatAt = '', text = ''] = reply.slice(at, at + 3);
      const entry = understood(id, text);
      if (entry !== null) found.push({ ...entry, beatAt: Number(beatAt) });
    }
    return found.sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  /** Leaves a mark for each worker of the host (null: of every host) on the list; returns their ids. */
  async askToDrain(host: string | null): Promise<string[]> {
    const asked = (await this.list()).filter(entry => host === null || entry.host === host).map(({ id }) => id);
    await askToDrain.run(this.#redis, this.#keys, asked);
    return asked;
  }
}

function understood(id: string, text: string): WorkerEntry | null {
  try {
    const { data } = workerEntrySchema.safeParse(JSON.parse(text));
    return data?.id === id ? data : null;
  } catch {
    // Not even JSON: anybody may write to a shared Redis.
    return null;
  }
}
