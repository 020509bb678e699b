/** What only the queue can tell of dependencies: whether the tasks are there, and none waits for itself. */
import { type Fault, InvalidInput } from '../errors.ts';
import { cycleInWords, type DependencyGraph, orderByDependencies } from '../job/dependency-order.ts';
import type { TaskJob } from '../job/job.ts';
import { branchOf } from '../job/names.ts';
import type { TaskQueue } from '../job/queue.ts';
import { readJobs, type StoredJob } from '../job/stored-job.ts';
import type { Dependencies } from '../redis/dependencies.ts';

/** A task that was handed in. */
export interface WantedJob {
  data: TaskJob;
  where: string;
  /** What stands on the queue under its id. */
  stored: StoredJob | null;
  /** Whether it is added; otherwise what is stored counts, and the words handed in count for nothing. */
  isAdded: boolean;
}

/** Jobs that were looked up, by task id; null when there is none. */
type Found = Map<string, StoredJob | null>;

/**
 * Returns the tasks each after those it depends on, and otherwise in their order. So put on the queue, no worker can
 * take one up before its dependencies are there.
 * @throws {InvalidInput} with every dependency that is not there, and with cycles: among these tasks, and those that
 * they would close through jobs on the queue.
 */
export async function checkDependencies(
  queue: TaskQueue,
  dependencies: Dependencies,
  wanted: readonly WantedJob[],
): Promise<WantedJob[]> {
  const added = wanted.filter(({ isAdded }) => isAdded);
  if (!added.some(({ data }) => dependsOn(data).length > 0)) return [...wanted];
  const byId = new Map(wanted.map(one => [one.data.task.id, one]));
  const found: Found = new Map(wanted.map(({ data, stored }) => [data.task.id, stored]));
  await lookUp(
    queue,
    found,
    added.flatMap(({ data }) => dependsOn(data)),
  );

  const graph = new Map(wanted.map(one => [one.data.task.id, dependsOn(countsOf(one))]));
  if (await mayCloseThroughQueue(dependencies, added)) await followThroughQueue(queue, found, graph);
  const { order, cycles } = orderByDependencies(graph);

  const faults = [
    ...added.flatMap(one => missing(one, byId, found)),
    ...cycles.map((cycle): Fault => cycleFault(cycle, byId)),
  ];
  if (faults.length > 0) throw new InvalidInput(faults);
  return order.flatMap(id => byId.get(id) ?? []);
}

/** What these tasks depend on, each once. */
export function dependenciesOf(jobs: readonly TaskJob[]): string[] {
  return [...new Set(jobs.flatMap(dependsOn))];
}

function dependsOn(job: TaskJob | null): readonly string[] {
  return job?.task.dependsOn ?? [];
}

function countsOf({ data, stored, isAdded }: WantedJob): TaskJob | null {
  return isAdded ? data : (stored?.data ?? null);
}

function missing({ data, where }: WantedJob, byId: ReadonlyMap<string, WantedJob>, found: Found): Fault[] {
  const { base } = data.task;
  return dependsOn(data).flatMap((id): Fault[] => {
    if (byId.has(id)) return [];
    const name = JSON.stringify(id);
    const job = found.get(id) ?? null;
    if (job === null) {
      return [{ where, what: `"dependsOn" names ${name}, which is neither among these tasks nor on the queue` }];
    }
    if (job.data === null) {
      return [{ where, what: `"dependsOn" names ${name}, a job on the queue that is not cellpool's (${job.fault})` }];
    }
    if (base !== branchOf(id) || job.data.repository === data.repository) return [];
    return [{ where, what: `base "${base}" is the branch of a task of another repository, ${job.data.repository}` }];
  });
}

/**
 * A job can only name what was known before it. So a cycle comes back into these tasks only where one of them has
 * stood on the queue before, or where somebody depends on it already.
 */
async function mayCloseThroughQueue(dependencies: Dependencies, added: readonly WantedJob[]): Promise<boolean> {
  if (added.some(({ stored }) => stored !== null)) return true;
  return (await dependencies.kept(added.map(({ data }) => data.task.id))).length > 0;
}

/** Enters what is reached from the graph through jobs on the queue. Those that have ended count: they can be retried. */
async function followThroughQueue(queue: TaskQueue, found: Found, graph: Map<string, readonly string[]>) {
  let reached = outside(graph, [...graph.values()].flat());
  while (reached.length > 0) {
    await lookUp(queue, found, reached);
    for (const id of reached) graph.set(id, dependsOn(found.get(id)?.data ?? null));
    reached = outside(
      graph,
      reached.flatMap(id => graph.get(id) ?? []),
    );
  }
}

function outside(graph: DependencyGraph, ids: readonly string[]): string[] {
  return [...new Set(ids)].filter(id => !graph.has(id));
}

async function lookUp(queue: TaskQueue, found: Found, ids: readonly string[]): Promise<void> {
  const unknown = [...new Set(ids)].filter(id => !found.has(id));
  const jobs = await readJobs(queue, unknown);
  for (const [index, id] of unknown.entries()) found.set(id, jobs[index] ?? null);
}

/** Told of a task that was handed in and closes it, with the cycle seen from there. */
function cycleFault(cycle: readonly string[], byId: ReadonlyMap<string, WantedJob>): Fault {
  const start = Math.max(
    0,
    cycle.findIndex(id => byId.get(id)?.isAdded === true),
  );
  const seen = [...cycle.slice(start), ...cycle.slice(0, start)];
  return { where: byId.get(seen[0] ?? '')?.where ?? 'dependsOn', what: `depends on itself: ${cycleInWords(seen)}` };
}
