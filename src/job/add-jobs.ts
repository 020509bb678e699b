/**
 * Puts jobs on the queue, each in one step that nobody can come between: what is there is looked at, an ended job is
 * taken away if that was asked for, and the new one is added.
 *
 * BullMQ's own `remove` then `add` would not do: whoever dies between the two loses the job, and a second producer may
 * remove what the first has just added. So a script of ours and BullMQ's script for adding run in one transaction; the
 * second does nothing when the first has left a job in place.
 */
import { Job, SpanKind } from 'bullmq';
import { CellpoolError, messageOf } from '../errors.ts';
import { repositoryMark } from '../redis/fair-share.ts';
import { ENTER_LINE } from '../redis/fair-share-scripts.ts';
import { lineKeys } from '../redis/fleet-keys.ts';
import { DEFAULT_PREFIX, taskKeys } from '../redis/keys.ts';
import type { TaskJob } from './job.ts';
import { type JobRetention, jobOptions, TASK_JOB, type TaskQueue } from './queue.ts';

export interface NewJob {
  data: TaskJob;
  /** Epoch ms at which the job to be replaced ended, as it was seen; null: nothing may be replaced. */
  replaces: number | null;
}

/** `kept`: another job of this id stays, and the new one was not added. */
export type Added = 'added' | 'replaced' | 'kept';

const COMMAND = 'cellpoolTakeEnded';

/**
 * The job's end tells it from a later job of the same id. The HSET changes nothing, but fails when Redis is full, as
 * the adding after it would: then the old job must stay. How the old one ended says nothing to those that depend on the
 * new one.
 */
const TAKE_ENDED = `${ENTER_LINE}
  local job, completed, failed, outcome = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
  local id, ended = ARGV[1], ARGV[2]
  local function enter()
    enterLine(KEYS[5], KEYS[6], KEYS[7], ARGV[3], ARGV[4], ARGV[5], id, ARGV[6])
  end
  if redis.call('EXISTS', job) == 0 then
    redis.call('SET', outcome, '', 'XX', 'KEEPTTL')
    enter()
    return 'added'
  end
  if redis.call('HGET', job, 'finishedOn') ~= ended then return 'kept' end
  if redis.call('EXISTS', job .. ':lock') == 1 then return 'kept' end
  redis.call('HSET', job, 'finishedOn', ended)
  if redis.call('ZREM', completed, id) + redis.call('ZREM', failed, id) == 0 then return 'kept' end
  redis.call('DEL', job, job .. ':logs', job .. ':dependencies', job .. ':processed', job .. ':failed',
    job .. ':unsuccessful')
  redis.call('SET', outcome, '', 'XX', 'KEEPTTL')
  enter()
  return 'replaced'
`;

/** Jobs in one transaction: Redis serves nobody else meanwhile, some 20 ms. */
const CHUNK = 200;

/** Adds the jobs in their order, and says of each what became of it. Two calls at once make one job of one id. */
export async function addJobs(
  queue: TaskQueue,
  jobs: readonly NewJob[],
  retention?: JobRetention | undefined,
): Promise<Added[]> {
  const client = await queue.getBackend().client;
  client.defineCommand(COMMAND, { numberOfKeys: 7, lua: TAKE_ENDED });
  const added: Added[] = [];
  for (let from = 0; from < jobs.length; from += CHUNK) {
    const entries = jobs.slice(from, from + CHUNK).map(job => entryOf(queue, job, retention));
    const replies = await addTogether(queue, entries).catch(error => {
      // A client that has sent a script once takes it for known; somebody may have made Redis forget it (SCRIPT FLUSH).
      if (messageOf(error).startsWith('NOSCRIPT')) return addSingly(queue, entries);
      throw error;
    });
    // One that was not added has no trace.
    for (const [at, reply] of replies.entries()) if (reply !== 'kept') entries[at]?.end();
    added.push(...replies);
  }
  return added;
}

type Entry = ReturnType<typeof entryOf>;

function entryOf(queue: TaskQueue, { data, replaces }: NewJob, retention: JobRetention | undefined) {
  const kept = jobOptions(data.task, retention);
  const id = kept.jobId;
  const { metadata, end } = beginTrace(queue, id);
  const options = metadata === null ? kept : { ...kept, telemetry: { metadata } };
  const { jobData } = new Job(queue, TASK_JOB, data, options, id).toFlowEntry();
  const prefix = queue.opts.prefix ?? DEFAULT_PREFIX;
  const { outcome } = taskKeys(prefix, id);
  const { lines, lineOf, turns, jobs } = lineKeys(prefix);
  const mark = repositoryMark(data.repository);
  const keys = [queue.toKey(id), queue.toKey('completed'), queue.toKey('failed'), outcome, lines, lineOf(mark), turns];
  const place = [mark, data.repository, String(data.task.priority ?? 0), jobs];
  const take = [...keys, id, String(replaces ?? ''), ...place];
  return { id, jobData, take, end };
}

/** The span that the trace of a task begins with, and what the job takes of it to its workers; nothing without tracing. */
function beginTrace({ opts: { telemetry } }: TaskQueue, id: string): { metadata: string | null; end(): void } {
  if (telemetry === undefined) return { metadata: null, end: () => undefined };
  const { tracer, contextManager } = telemetry;
  const span = tracer.startSpan('enqueue', { kind: SpanKind.PRODUCER });
  span.setAttributes({ 'cellpool.task': id });
  const metadata = contextManager.getMetadata(span.setSpanOnContext(contextManager.active()));
  return { metadata, end: () => span.end() };
}

async function addTogether(queue: TaskQueue, entries: readonly Entry[]): Promise<Added[]> {
  const backend = queue.getBackend();
  const transaction = (await backend.client).multi();
  const additions = entries.map(({ id, jobData, take }) => {
    transaction.runCommand(COMMAND, take);
    return backend.addJobToTransaction(transaction, jobData, id);
  });
  // These settle as soon as the command stands in the transaction; one that cannot be built rejects.
  await Promise.all(additions);
  const replies = await transaction.exec();
  if (replies === null) throw new CellpoolError('REDIS_UNAVAILABLE', 'Redis did not carry out the adding of jobs');
  const failed = replies.find(([error]) => error !== null);
  if (failed !== undefined) throw failed[0];
  return entries.map((_, index) => toAdded(replies[2 * index]?.[1]));
}

/** The same one command at a time, each of which sends a script that Redis has forgotten. */
async function addSingly(queue: TaskQueue, entries: readonly Entry[]): Promise<Added[]> {
  const backend = queue.getBackend();
  const client = await backend.client;
  const added: Added[] = [];
  for (const { id, jobData, take } of entries) {
    const answer: unknown = await client.runCommand(COMMAND, take);
    await backend.addJob(jobData, id);
    added.push(toAdded(answer));
  }
  return added;
}

function toAdded(answer: unknown): Added {
  return answer === 'added' || answer === 'replaced' ? answer : 'kept';
}
