/** The cells of a pool with what their jobs say of them. */
import { type FleetCell, FleetCells } from '../../redis/fleet-cells.ts';
import type { ViewContext } from './context.ts';
import type { CellFacts } from './facts.ts';
import { readMemory } from './recorded.ts';
import { type ViewedJob, viewJobs } from './viewed-job.ts';

/** The cells of all hosts, by host and start, those of dead workers too; only those of one task when it is named. */
export async function readCells(context: ViewContext, taskId?: string): Promise<CellFacts[]> {
  const all = await new FleetCells(context.redis, context).list();
  const cells = all.filter(({ record }) => taskId === undefined || record.taskId === taskId);
  const ids = cells.flatMap(({ record }) => record.taskId ?? []);
  const hosts = [...new Set(cells.map(({ host }) => host))];
  const [found, memory] = await Promise.all([viewJobs(context, ids), readMemory(context, hosts)]);
  const jobs = new Map(found.map((job, at) => [ids[at] ?? null, job]));
  return cells.map(cell => {
    const { taskId, cellId } = cell.record;
    return factsOf(cell, jobs.get(taskId) ?? null, memory.get(cellId) ?? null);
  });
}

function factsOf({ host, record, beatAt }: FleetCell, job: ViewedJob | null, memoryBytes: number | null): CellFacts {
  // The job may be another cell's by now, or one that was put on the queue anew.
  const isOurs = record.job === null || job?.enqueuedAt === record.job.enqueuedAt;
  const task = isOurs ? job?.data?.task : undefined;
  const tells = isOurs && job?.progress?.cellId === record.cellId;
  return {
    cellId: record.cellId,
    host,
    workerId: record.worker.id,
    taskId: record.taskId,
    title: task?.title ?? null,
    // Of one that was named by URL the record has the cache.
    repository: (isOurs ? job?.data?.repository : undefined) ?? record.repository,
    attempt: record.attempt,
    stage: record.stage,
    startedAt: record.createdAt,
    tokensUsed: tells ? (job?.progress?.tokensUsed ?? 0) : 0,
    tokenBudget: task?.tokenBudget ?? null,
    model: modelOf(isOurs ? job : null),
    memoryBytes,
    port: record.port?.port ?? null,
    isolation: record.isolation,
    artifacts: record.artifacts,
    lastSignAt: beatAt,
    abandoned: record.abandoned,
  };
}

/** `provider/model` of the task, or else of what its repository sets for opencode; null when its worker decides. */
export function modelOf(job: ViewedJob | null): string | null {
  if (job?.data == null) return null;
  const { model } = job.data.plan.opencode;
  return job.data.task.model ?? (typeof model === 'string' ? model : null);
}
