/** Many jobs at once as they lie in Redis, in one round trip; none of what they hold is trusted. */
import { z } from 'zod';
import type { TaskJob } from '../../job/job.ts';
import { type AttemptResult, type Progress, progressSchema } from '../../job/outcome.ts';
import { resultOf, understoodData } from '../../job/stored-job.ts';
import { pipelined } from '../../redis/pipelined.ts';
import type { ViewContext } from './context.ts';

export type ViewedJob = {
  taskId: string;
  /** Epoch ms. */
  enqueuedAt: number;
  endedAt: number | null;
  /** Attempts that have ended and counted. */
  attemptsMade: number;
  /** Of the last attempt of its present round; null before one has ended. */
  result: AttemptResult | null;
  /** Of the attempt that runs; of the last one when none does. */
  progress: Progress | null;
} & ({ data: TaskJob; fault: null } | { data: null; fault: string });

/** BullMQ's own names of what it keeps of a job. */
const FIELDS = ['data', 'timestamp', 'finishedOn', 'atm', 'returnvalue', 'progress'] as const;

/** The jobs in the order of the ids; null where there is none. @throws the error of Redis when it is away */
export async function viewJobs(
  { redis, queue }: ViewContext,
  taskIds: readonly string[],
): Promise<(ViewedJob | null)[]> {
  if (taskIds.length === 0) return [];
  const pipeline = redis.pipeline();
  for (const id of taskIds) pipeline.hmget(queue.toKey(id), ...FIELDS);
  const replies = await pipelined(pipeline);
  return taskIds.map((id, at) => {
    const texts = replies[at] as (string | null)[] | undefined;
    // A key of another type than a job's is there all the same.
    if (texts === undefined) return viewed(id, []);
    return texts.every(text => text === null) ? null : viewed(id, texts);
  });
}

const wholeNumber = z.coerce.number().int().min(0);

function viewed(taskId: string, [data, timestamp, finishedOn, made, returned, progress]: (string | null)[]): ViewedJob {
  const held = parsedJson(data);
  return {
    taskId,
    enqueuedAt: numberOf(timestamp) ?? 0,
    endedAt: numberOf(finishedOn),
    attemptsMade: numberOf(made) ?? 0,
    result: resultOf({ data: held, returnvalue: parsedJson(returned) }),
    progress: progressSchema.safeParse(parsedJson(progress)).data ?? null,
    ...understoodData(taskId, held),
  };
}

function numberOf(text: string | null | undefined): number | null {
  return text === null || text === undefined || text === '' ? null : (wholeNumber.safeParse(text).data ?? null);
}

/** undefined for what is no JSON. */
function parsedJson(text: string | null | undefined): unknown {
  try {
    return JSON.parse(text ?? '');
  } catch {
    // Anybody may write to a shared Redis; whoever reads the value says that it is none.
    return undefined;
  }
}
