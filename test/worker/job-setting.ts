/** Jobs as a worker has them in its hands: taken from a real queue, with all that a worker lends to its jobs. */
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Job, Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import { expect, onTestFinished } from 'vitest';
import { DEFAULTS } from '../../src/config.ts';
import { withTrailers } from '../../src/git/commands.ts';
import type { TaskJob } from '../../src/job/job.ts';
import { TASK_QUEUE } from '../../src/job/names.ts';
import type { AttemptResult } from '../../src/job/outcome.ts';
import type { TaskQueue } from '../../src/job/queue.ts';
import { silentLogger } from '../../src/observe/logger.ts';
import { Redactor } from '../../src/observe/redact.ts';
import { ownIdentity } from '../../src/os/identity.ts';
import { PortLeases } from '../../src/redis/port-lease.ts';
import { CellRegistry } from '../../src/redis/registry.ts';
import { FleetShare } from '../../src/worker/fleet-share.ts';
import type { JobContext } from '../../src/worker/held-job.ts';
import { redisParts } from '../../src/worker/redis-parts.ts';
import { SpawnerPool } from '../../src/worker/spawner-pool.ts';
import { portRangeOfThisFile } from '../support/cell.ts';
import { addJob } from '../support/jobs.ts';
import type { TestRedis } from '../support/redis.ts';
import { commitAll, git, tempFolder, writeFiles } from '../support/repository.ts';

export interface JobSetting {
  readonly folder: string;
  /** The state folder. */
  readonly home: string;
  readonly redis: Redis;
  readonly queue: TaskQueue;
  readonly prefix: string;
  readonly context: JobContext;
  /** What the context was told of. */
  readonly results: AttemptResult[];
  /** Puts the job on the queue and takes it, as a worker does; the lock holds for longer than any test. */
  take(data: TaskJob): Promise<{ job: Job; token: string; data: TaskJob }>;
  /** Takes the job that waits; another token than the one before. */
  takeAgain(id: string): Promise<{ job: Job; token: string }>;
  /** As they stand in Redis. */
  dataOf(id: string): Promise<TaskJob>;
}

/** Call it within a test. */
export async function jobSetting(
  server: TestRedis,
  more: Partial<JobContext> = {},
  labels: readonly string[] = [],
): Promise<JobSetting> {
  const folder = tempFolder('jobs');
  const home = join(folder, 'home');
  const prefix = server.prefix();
  const redis = await server.connect('worker');
  const parts = redisParts(redis, { prefix, log: silentLogger, labels });
  const { queue } = parts;
  const taker = new Worker(TASK_QUEUE, null, { connection: redis, prefix, autorun: false, lockDuration: 600_000 });
  onTestFinished(async () => {
    await taker.close();
    await queue.close();
  });
  const worker = { id: 'w', ...(await ownIdentity()) };
  const ports = new PortLeases(redis, { prefix, host: 'test', range: portRangeOfThisFile() });
  const cells = new CellRegistry(redis, { prefix, host: 'test', home });
  const log = silentLogger;
  const fleet = new FleetShare({
    ...{ slots: parts.slots, fairShare: parts.fairShare, worker, host: 'test', home, hostCap: null, log },
    onShare: () => undefined,
  });
  const results: AttemptResult[] = [];
  let taken = 0;
  const takeAgain = async (id: string) => {
    taken += 1;
    const token = `token-${taken}`;
    const job = await taker.getNextJob(token);
    if (job?.id !== id) expect.fail(`took ${job?.id} instead of ${id}`);
    return { job, token };
  };
  return {
    ...{ folder, home, redis, queue, prefix, results, takeAgain },
    context: {
      spawners: new SpawnerPool({ home, opencodeBin: uselessOpencode(folder) }, ports, { cells, worker }),
      ...parts,
      fleet,
      host: 'test',
      retention: DEFAULTS.retention,
      onBegun: () => undefined,
      hooks: {},
      lockMs: 9_000,
      log: silentLogger,
      redactor: new Redactor(),
      onCell: () => undefined,
      holdMs: () => null,
      onStage: () => undefined,
      onResult: result => void results.push(result),
      onRefused: () => undefined,
      onUsedUp: () => undefined,
      onHandedBack: () => undefined,
      ...more,
    },
    async take(data) {
      await addJob(queue, data);
      return { ...(await takeAgain(data.task.id)), data };
    },
    async dataOf(id) {
      return ((await queue.getJob(id)) ?? expect.fail(`there is no job ${id}`)).data as TaskJob;
    },
  };
}

/** A program that passes for opencode until it is to serve. */
export function uselessOpencode(folder: string): string {
  const path = join(folder, 'opencode');
  writeFileSync(path, '#!/bin/sh\n[ "$1" = --version ] && echo 1.0.0 && exit 0\nexit 7\n');
  chmodSync(path, 0o755);
  return path;
}

/** The branch of task `a` as an attempt leaves it whose worker dies before it can say so; returns the commit. */
export function committedBefore(repository: string, enqueuedAt: number): string {
  git(repository, 'switch', '--quiet', '-c', 'cellpool/a');
  writeFiles(repository, { 'new.txt': 'new' });
  const trailers = { Task: 'a', Attempt: '1', Tokens: '77', Enqueued: new Date(enqueuedAt).toISOString() };
  const commit = commitAll(repository, withTrailers('Do it', trailers));
  git(repository, 'switch', '--quiet', 'main');
  return commit;
}
