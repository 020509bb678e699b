/** Finished branches in a real repository, real Redis, and landers that test them in real places; no agent. */
import { join } from 'node:path';
import { Worker } from 'bullmq';
import { pino } from 'pino';
import { expect, onTestFinished } from 'vitest';
import { DEFAULTS } from '../../src/config.ts';
import type { Fate } from '../../src/job/fate.ts';
import type { TaskJob } from '../../src/job/job.ts';
import { LANDING_JOB, landingIdOf, landingOf, landingOptions, openLandingQueue } from '../../src/job/landing.ts';
import { branchOf, TASK_QUEUE } from '../../src/job/names.ts';
import { openQueue } from '../../src/job/queue.ts';
import { readJob } from '../../src/job/stored-job.ts';
import { readLandings } from '../../src/job/stored-landing.ts';
import type { TaskInput } from '../../src/job/task.ts';
import { Redactor } from '../../src/observe/redact.ts';
import { ownIdentity } from '../../src/os/identity.ts';
import { LandingTargets } from '../../src/redis/landing-targets.ts';
import { PortLeases } from '../../src/redis/port-lease.ts';
import { CellRegistry } from '../../src/redis/registry.ts';
import { Tally } from '../../src/redis/tally.ts';
import { landerOf } from '../../src/worker/lander-parts.ts';
import { SpawnerPool } from '../../src/worker/spawner-pool.ts';
import { portRangeOfThisFile } from '../support/cell.ts';
import { addJob, jobOf, resultOf } from '../support/jobs.ts';
import type { TestRedis } from '../support/redis.ts';
import { commitAll, type Files, git, makeRepository, tempFolder, writeFiles } from '../support/repository.ts';
import { uselessOpencode } from './job-setting.ts';

/** Green unless a check says otherwise; any branch may bring checks. */
export const FILES: Files = {
  'a.txt': 'a\n',
  'test.sh': 'set -e\nfor f in checks/*; do [ -e "$f" ] || continue; sh "$f" || { echo "red: $f"; exit 1; }; done\n',
};
export const LANDS = { land: 'merge', test: 'sh test.sh' } as const satisfies Partial<TaskInput>;

export type LanderSetting = Awaited<ReturnType<typeof landerSetting>>;

/** Call it within a test. `repository`: as jobs name it; left out: the one that is made. */
export async function landerSetting(
  server: TestRedis,
  { plan = {}, files = FILES }: { plan?: object; files?: Files } = {},
) {
  const folder = tempFolder('lander');
  const top = makeRepository(join(folder, 'source'), files);
  git(top, 'switch', '--quiet', '--detach');
  const home = join(folder, 'home');
  const [redis, prefix] = [await server.connect('worker'), server.prefix()];
  const [tasks, landings] = [openQueue(redis, prefix), openLandingQueue(redis, prefix)];
  const taker = new Worker(TASK_QUEUE, null, { connection: redis, prefix, autorun: false });
  taker.on('error', () => undefined);
  const logs: Record<string, unknown>[] = [];
  const log = pino({ level: 'debug' }, { write: (line: string) => void logs.push(JSON.parse(line)) });
  const opencodeBin = uselessOpencode(folder);

  /** Landers share nothing but Redis and the disk, so that a second one stands for another process. */
  async function lander({ id = 'w', batch = 5, labels = [] as string[], redactor = new Redactor() } = {}) {
    const worker = { id, ...(await ownIdentity()) };
    const registration = { cells: new CellRegistry(redis, { prefix, host: 'test', home }), worker };
    const ports = new PortLeases(redis, { prefix, host: 'test', range: portRangeOfThisFile() });
    const site = { home, opencodeBin, isolation: 'process' as const, log, redactor };
    const { landing, retention } = DEFAULTS;
    const made = landerOf({
      settings: { home, host: 'test', prefix, labels, landing: { ...landing, batch, removeBranch: false }, retention },
      parts: { queue: tasks, landings, tally: new Tally(redis, { prefix }) },
      ...{ redis, registration, log, redactor, spawners: new SpawnerPool(site, ports, registration) },
    });
    onTestFinished(() => made.stop());
    return made;
  }
  onTestFinished(async () => {
    await Promise.all([taker.close(), tasks.close(), landings.close()]);
  });

  /** A committed branch of a task, made on top of `base`; the working copy is left on no branch. */
  function commitBranch(taskId: string, changes: Files, base = 'main'): string {
    git(top, 'switch', '--quiet', '--detach', base);
    writeFiles(top, changes);
    const commit = commitAll(top, taskId);
    git(top, 'branch', '--force', branchOf(taskId), commit);
    return commit;
  }

  /** The same, with a task that has ended and a candidate that waits, as a worker leaves them. */
  async function finished(taskId: string, changes: Files, more: Partial<TaskInput> = {}, repository = top) {
    const commit = commitBranch(taskId, changes);
    await finishedElsewhere(taskId, commit, repository, more);
    return commit;
  }

  /** The same for a commit that is there already. */
  async function finishedElsewhere(taskId: string, commit: string, repository: string, more: Partial<TaskInput> = {}) {
    const made = jobOf(taskId, { ...LANDS, ...more }, repository);
    const data = { ...made, plan: { ...made.plan, testMs: 60_000, setupMs: 60_000, ...plan } };
    await addJob(tasks, data);
    await end(taskId, commit);
  }

  /** Ends the task's job, which waits, as an attempt does that has committed this. */
  async function end(taskId: string, commit: string): Promise<void> {
    const job = await taker.getNextJob(taskId);
    if (job?.id !== taskId) expect.fail(`took ${job?.id} instead of ${taskId}`);
    const result = { ...resultOf(taskId, 'committed'), branch: branchOf(taskId), commit };
    const data = job.data as TaskJob;
    const ended = { ...data, results: [...data.results, result] };
    await job.updateData(ended);
    const landing = landingOf(ended, result, job.timestamp) ?? expect.fail('nothing is to land');
    await landings.add(LANDING_JOB, landing, landingOptions(landing));
    await job.moveToCompleted(result, taskId, false);
  }

  async function landing(taskId: string, commit: string) {
    const [found] = await readLandings(redis, landings, [landingIdOf({ taskId, commit })]);
    return found ?? expect.fail(`there is no landing of ${taskId}`);
  }

  return {
    ...{
      folder,
      top,
      home,
      redis,
      prefix,
      tasks,
      landings,
      logs,
      lander,
      commitBranch,
      finished,
      finishedElsewhere,
      end,
      landing,
    },
    targets: new LandingTargets(redis, { prefix }),
    task: (taskId: string) => readJob(tasks, taskId),
    fate: async (taskId: string, commit: string): Promise<Fate | null> =>
      (await landing(taskId, commit)).data?.fate ?? null,
    firstParents: (branch = 'main') => git(top, 'log', '--first-parent', '--format=%s', branch).split('\n'),
  };
}
