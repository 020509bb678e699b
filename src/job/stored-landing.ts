/** Landing jobs as they lie in Redis, read without trusting them. */
import { Job } from 'bullmq';
import type { Redis } from 'ioredis';
import { pipelined } from '../redis/pipelined.ts';
import type { Fate } from './fate.ts';
import { type LandingJob, type LandingQueue, landingIdOf, understoodLanding } from './landing.ts';
import type { AttemptResult } from './outcome.ts';

export type StoredLanding = {
  /** Of the landing job; of one of ours the task's id and part of the commit's. */
  id: string;
  /** Epoch ms. */
  queuedAt: number;
  /** Epoch ms at which it came to its fate; null while it has none. */
  endedAt: number | null;
} & ({ data: LandingJob; fault: null } | { data: null; fault: string });

const FIELDS = ['data', 'timestamp', 'finishedOn'] as const;

/** The jobs in the order of the ids; null where there is none. @throws the error of Redis when it is away */
export async function readLandings(
  redis: Redis,
  queue: LandingQueue,
  ids: readonly string[],
): Promise<(StoredLanding | null)[]> {
  if (ids.length === 0) return [];
  const pipeline = redis.pipeline();
  for (const id of ids) pipeline.hmget(queue.toKey(id), ...FIELDS);
  const replies = await pipelined(pipeline);
  return ids.map((id, at) => {
    const fields = (replies[at] ?? []) as (string | null)[];
    if (fields.length > 0 && fields.every(text => text === null)) return null;
    const [data = null, timestamp = null, finishedOn = null] = fields;
    const ended = Number(finishedOn ?? Number.NaN);
    return { id, queuedAt: Number(timestamp ?? 0), endedAt: ended > 0 ? ended : null, ...understoodData(id, data) };
  });
}

/** The landing of what an attempt has committed; null when that was never to land, or is forgotten. */
export async function landingOfResult(
  redis: Redis,
  queue: LandingQueue,
  { taskId, commit }: Pick<AttemptResult, 'taskId' | 'commit'>,
): Promise<StoredLanding | null> {
  if (commit === null) return null;
  return (await readLandings(redis, queue, [landingIdOf({ taskId, commit })]))[0] ?? null;
}

/**
 * Tells BullMQ what became of a landing whose fate is written into it, and which is locked by `token`.
 * @throws BullMQ's error when it is not any more
 */
export async function endLanding(queue: LandingQueue, id: string, token: string, fate: Fate): Promise<void> {
  const job = await Job.fromId(queue, id);
  if (job === undefined) return;
  if (fate.kind === 'refused') await job.moveToFailed(new Error(`${fate.why}: ${fate.message}`), token, false);
  else await job.moveToCompleted(fate, token, false);
}

function understoodData(id: string, text: string | null) {
  let value: unknown;
  try {
    value = JSON.parse(text ?? '');
  } catch {
    // Anybody may write to a shared Redis; what is no JSON is said to be no job of ours below.
    value = undefined;
  }
  const understood = understoodLanding(value);
  if (understood.data === null || landingIdOf(understood.data) === id) return understood;
  return { data: null, fault: `holds the landing of ${landingIdOf(understood.data)}` } as const;
}
