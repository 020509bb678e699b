/** What workers tell of themselves and of their cells, entered without any worker: there is something to look at. */
import type { Job } from 'bullmq';
import type { Redis } from 'ioredis';
import type { AttemptResult, Progress } from '../../src/job/outcome.ts';
import type { TaskQueue } from '../../src/job/queue.ts';
import type { CellRecord } from '../../src/redis/cell-record.ts';
import { CellRegistry } from '../../src/redis/registry.ts';
import { WorkerList } from '../../src/redis/worker-list.ts';

export interface Site {
  redis: Redis;
  prefix: string;
  host: string;
  home: string;
}

/** The record of a cell of the task, as its worker enters it. `mark` makes the cell's id one of its own. */
export function cellRecord(taskId: string, mark: number, { host, home }: Omit<Site, 'redis' | 'prefix'>): CellRecord {
  const cellId = `${taskId}.${mark.toString(16).padStart(8, '0')}`;
  return {
    version: 1,
    cellId,
    host,
    home,
    worker: { id: `${host}.w`, pid: 7, startTime: '1234', bootId: 'boot', pidNamespace: 'pid:[1]' },
    taskId,
    attempt: 1,
    job: null,
    repository: '/repo',
    mirror: '/mirror',
    artifacts: `${home}/artifacts/${taskId}/1-${cellId.slice(-8)}`,
    workspace: '/workspace',
    isolation: 'process',
    port: { port: 9_000 + mark, token: '1' },
    server: null,
    stage: 'execute',
    abandoned: false,
    createdAt: 1_700_000_000_000 + mark,
  };
}

export async function enterCell(site: Site, record: CellRecord): Promise<CellRegistry> {
  const registry = new CellRegistry(site.redis, site);
  await registry.register(record);
  return registry;
}

export async function enterWorker({ redis, prefix, host }: Omit<Site, 'home'>, running: string[] = []) {
  const own = { pid: 7, startTime: '1234', bootId: 'boot', startedAt: 1_700_000_000_000 };
  const entry = { id: `${host}.w`, host, ...own, concurrency: 4, running, draining: false };
  await new WorkerList(redis, { prefix }).beat(entry);
  return entry;
}

/** What a worker writes into the job of a cell. */
export function progressOf({ cellId, host, attempt, stage, port }: CellRecord, tokensUsed: number): Progress {
  if (stage === 'warm' || stage === 'landing') throw new Error(`${cellId} has no task that could come on`);
  return { stage, attempt, cellId, host, port: port?.port ?? null, tokensUsed, startedAt: Date.now() };
}

/** Writes the results into the job's data, as a worker does before BullMQ hears of the end. */
export async function withResults(job: Job, results: readonly AttemptResult[]): Promise<void> {
  await job.updateData({ ...job.data, results });
}

export async function jobOfQueue(queue: TaskQueue, id: string): Promise<Job> {
  const job = await queue.getJob(id);
  if (job === undefined) throw new Error(`there is no job ${id}`);
  return job as Job;
}
