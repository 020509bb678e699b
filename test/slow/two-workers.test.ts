/** Two worker processes on one Redis: they share the tasks, and never a port. */
import { QueueEvents } from 'bullmq';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type ScriptedModel, startScriptedModel } from '../../src/cli/demo/scripted-model.ts';
import type { TaskJob } from '../../src/job/job.ts';
import { TASK_QUEUE } from '../../src/job/names.ts';
import { type AttemptResult, progressSchema } from '../../src/job/outcome.ts';
import { openQueue, type TaskQueue } from '../../src/job/queue.ts';
import { TaskFollower } from '../../src/producer/follow.ts';
import { connectRedis } from '../../src/redis/connection.ts';
import { openRedis } from '../../src/redis/open-redis.ts';
import { CliHome, type Finished, jsonLines, scripted } from '../support/cli.ts';
import { git } from '../support/repository.ts';

const TASKS = 30;
const CONCURRENCY = 4;
const MINUTE = 60_000;
const PREFIX = 'cellpool';

const ids = Array.from({ length: TASKS }, (_, index) => `shared-${index + 1}`);
const cli = new CliHome();
let model: ScriptedModel;
let repository: string;
let workers: Finished[];
let jobs: Map<string, { state: string; results: AttemptResult[] }>;
/** Ports that a second cell took while a first one lived on it, and the most cells that lived at once. */
const seen = { collisions: [] as string[], cells: new Map<string, number>(), most: 0 };

/** Follows who lives where through the progress of the jobs, in the order in which Redis heard of it. */
function watchPorts(events: QueueEvents): void {
  const live = new Map<string, { cellId: string; port: number }>();
  events.on('progress', ({ jobId, data }) => {
    const progress = progressSchema.safeParse(data);
    if (!progress.success || progress.data.cellId === null || progress.data.port === null) return;
    const { stage, cellId, port } = progress.data;
    seen.cells.set(cellId, port);
    // The port is given back some time after this, so nothing is missed before it.
    if (stage === 'teardown') return void live.delete(jobId);
    for (const [other, cell] of live) {
      if (other !== jobId && cell.port === port) seen.collisions.push(`${cellId} and ${cell.cellId} on ${port}`);
    }
    live.set(jobId, { cellId, port });
    seen.most = Math.max(seen.most, live.size);
  });
}

async function readJobs(queue: TaskQueue): Promise<typeof jobs> {
  const entries = ids.map(async id => {
    const job = await queue.getJob(id);
    const { results } = (job ?? { data: { results: [] } }).data as Pick<TaskJob, 'results'>;
    return [id, { state: await queue.getJobState(id), results }] as const;
  });
  return new Map(await Promise.all(entries));
}

beforeAll(async () => {
  model = await startScriptedModel();
  repository = cli.repository();
  // Long enough for the cells of both workers to be at work together, however quick the rest is.
  const tasks = ids.map(id => scripted(id, [{ think: 4_000 }, { write: { [`${id}.txt`]: 'x\n' } }], { test: 'true' }));
  const file = cli.tasksFile('tasks.jsonl', tasks);
  expect((await cli.run(['enqueue', file, '--repo', repository, ...cli.modelFlags(model)])).exitCode).toBe(0);

  const server = await openRedis({ home: cli.home });
  const redis = connectRedis(server.address, 'worker');
  const queue = openQueue(redis, PREFIX);
  const events = new QueueEvents(TASK_QUEUE, { connection: redis, prefix: PREFIX });
  const follower = await TaskFollower.open({ queue, redis, prefix: PREFIX, taskIds: ids, onOutcome: () => undefined });
  try {
    await events.waitUntilReady();
    watchPorts(events);
    const started = [1, 2].map(() => cli.start(['worker', '--concurrency', String(CONCURRENCY), '--json']));
    const limit = AbortSignal.timeout(8 * MINUTE);
    await follower.untilAllEnded(limit);
    jobs = await readJobs(queue);
    for (const worker of started) worker.signal('SIGTERM');
    workers = await Promise.all(started.map(worker => worker.ended));
    const open = ids.filter(id => jobs.get(id)?.state !== 'completed');
    if (limit.aborted) expect.fail(`not ended within 8 minutes, which says nothing of the promises: ${open}`);
  } finally {
    await follower.close();
    await events.close();
    await queue.close();
    redis.disconnect();
    await server.close();
  }
}, 9 * MINUTE);

afterAll(async () => {
  await model.close();
  cli.remove();
});

const workedBy = (worker: Finished | undefined) =>
  jsonLines<AttemptResult>(worker?.stdout ?? '').map(({ taskId }) => taskId);

test('each task has exactly one outcome, committed in its first attempt', () => {
  for (const id of ids) {
    expect(jobs.get(id)).toMatchObject({ state: 'completed', results: [{ outcome: 'committed', attempt: 1 }] });
    expect(jobs.get(id)?.results).toHaveLength(1);
    expect(git(repository, 'rev-list', '--count', `main..cellpool/${id}`)).toBe('1');
  }
});

test('each worker did some of them, and no task was done by both', () => {
  const [one, two] = workers.map(workedBy);
  expect(one?.length).toBeGreaterThan(0);
  expect(two?.length).toBeGreaterThan(0);
  expect([...(one ?? []), ...(two ?? [])].sort()).toEqual([...ids].sort());
});

test('no two cells that lived at the same time had the same port', () => {
  expect(seen.cells.size).toBe(TASKS);
  // Otherwise there was nothing to collide.
  expect(seen.most).toBeGreaterThan(CONCURRENCY);
  expect(seen.most).toBeLessThanOrEqual(2 * CONCURRENCY);
  expect(seen.collisions).toEqual([]);
});

test('both end with 0 when they are told to, and leave nothing', async () => {
  expect(workers.map(({ exitCode }) => exitCode)).toEqual([0, 0]);
  await cli.expectNothingLeft(repository);
});
