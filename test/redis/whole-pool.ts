/** All that cellpool does with a Redis, once: what a kind of Redis must be able to do. */
import type { Redis } from 'ioredis';
import { vi } from 'vitest';
import { metricsText } from '../../src/board/metrics.ts';
import { readPool } from '../../src/board/view/pool-facts.ts';
import { readTask } from '../../src/board/view/task-facts.ts';
import { type LandingQueue, landingIdOf, openLandingQueue } from '../../src/job/landing.ts';
import { openQueue } from '../../src/job/queue.ts';
import { readJob } from '../../src/job/stored-job.ts';
import { endLanding } from '../../src/job/stored-landing.ts';
import { cancelTasks } from '../../src/producer/cancel.ts';
import { Producer } from '../../src/producer/producer.ts';
import { retryTasks } from '../../src/producer/retry.ts';
import { parseRedisUrl } from '../../src/redis/address.ts';
import { Budgets } from '../../src/redis/budget.ts';
import { CellMemory } from '../../src/redis/cell-memory.ts';
import { checkRedis, connectRedis, type RedisRole } from '../../src/redis/connection.ts';
import { Control, type ControlMessage } from '../../src/redis/control.ts';
import { Cooldowns } from '../../src/redis/cooldown.ts';
import { DiskUses } from '../../src/redis/disk-use.ts';
import { FairShare, repositoryMark } from '../../src/redis/fair-share.ts';
import { Fence } from '../../src/redis/fence.ts';
import { LandingLeases } from '../../src/redis/landing-lease.ts';
import { LandingLine } from '../../src/redis/landing-line.ts';
import { LandingTargets } from '../../src/redis/landing-targets.ts';
import { PortLeases } from '../../src/redis/port-lease.ts';
import { CellRegistry } from '../../src/redis/registry.ts';
import { SetAside } from '../../src/redis/set-aside.ts';
import { type SlotOwner, Slots } from '../../src/redis/slots.ts';
import { Tally } from '../../src/redis/tally.ts';
import { WorkerList } from '../../src/redis/worker-list.ts';
import { holdJobs, jobOf, resultOf, untilState } from '../support/jobs.ts';
import { cellRecord } from '../support/pool.ts';
import { addLanding, fateOf, landingJobOf } from '../support/shown-landings.ts';

export interface Pool {
  readonly url: string;
  readonly prefix: string;
  /** The state folder. */
  readonly home: string;
}

/** Runs `work` with checked connections, which end with it. */
export async function withConnections<T>(
  url: string,
  work: (connect: (role: RedisRole) => Promise<Redis>) => Promise<T>,
): Promise<T> {
  const clients: Redis[] = [];
  try {
    return await work(async role => {
      const client = connectRedis(parseRedisUrl(url), role);
      clients.push(client);
      await checkRedis(client);
      return client;
    });
  } finally {
    for (const client of clients) client.disconnect();
  }
}

/** Queues two landings, takes one, settles it as a lander does, and drops the other one. */
async function useLanding(redis: Redis, prefix: string, queue: LandingQueue): Promise<unknown> {
  const [good, bad] = [landingJobOf('lands'), landingJobOf('broken')];
  for (const job of [good, bad]) await addLanding(queue, job);
  const [line, leases, targets] = [
    new LandingLine(redis, { prefix }),
    new LandingLeases(redis, { prefix }),
    new LandingTargets(redis, { prefix }),
  ];
  const seen = (await line.look())?.length;
  const lease = await leases.take('mark');
  if (lease === null) throw new Error('somebody has the lease');
  const id = landingIdOf(good);
  const note = { repository: '/repo', target: 'main', host: 'one', worker: 'w', trying: ['lands'], held: null };
  await targets.write('mark', { ...note, at: Date.now() });
  const taken = await line.take([id], 'token');
  const renewed = (await line.renew([id], 'token')) && (await leases.renew(lease));
  await leases.permit(lease);
  const fate = fateOf('landed');
  await line.write(id, 'token', { ...good, fate });
  await endLanding(queue, id, 'token', fate);
  await new Tally(redis, { prefix }).addLanding('landed', id);
  const dropped = await line.drop(landingIdOf(bad), 'on purpose');
  const told = (await targets.list()).length;
  await targets.prune();
  await targets.clear('mark', 'w');
  await leases.release(lease);
  const counts = await queue.getJobCounts('completed', 'failed');
  return { seen, taken: taken.length, renewed, dropped, told, counts };
}

/** Leases, fences, registers, tells, enqueues, works, retries and cancels. What it returns must be as in `WHOLE`. */
export function useWholePool({ url, prefix, home }: Pool): Promise<unknown> {
  return withConnections(url, async connect => {
    const redis = await connect('worker');
    const producing = await connect('producer');
    const ports = new PortLeases(redis, { prefix, host: 'one', range: { from: 20_000, to: 20_009 } });
    const lease = await ports.acquire('whole', 10_000);
    const released = lease !== null && (await ports.release(lease));

    const fence = new Fence(redis, { prefix });
    const begun = await fence.begin({ taskId: 'fenced', enqueuedAt: 1 });
    await fence.end('fenced', begun);

    const slots = new Slots(redis, { prefix });
    await slots.set({ cells: 1 });
    const identity = { id: 'w', pid: 1, startTime: '', bootId: '', pidNamespace: '' };
    const slotOf = (taskId: string): SlotOwner => ({
      ...{ host: 'one', home, worker: identity, taskId, attempt: 1, repository: '/repo' },
    });
    const granted = [await slots.acquire(slotOf('a'), null), await slots.acquire(slotOf('b'), null)];
    await slots.keep(slotOf('a'), [slotOf('a')]);
    await slots.release([slotOf('a')]);

    const registry = new CellRegistry(redis, { prefix, host: 'one', home });
    const cooldowns = new Cooldowns(redis, { prefix });
    await cooldowns.report('scripted/model', { kind: 'busy', retryAfterMs: 60_000, reason: 'full' });
    const budgets = new Budgets(redis, { prefix });

    const heard: ControlMessage[] = [];
    const control = await Control.subscribe(producing, prefix, message => heard.push(message));
    await new Control(producing, { prefix }).publish({ kind: 'cancel', taskId: 'somebody' });
    await vi.waitUntil(() => heard.length > 0, { timeout: 10_000 });
    await control.close();

    const producer = new Producer({ redis: producing, prefix });
    const tasks = ['works', 'fails', 'waits'].map(id => ({ task: jobOf(id).task, where: id }));
    const dependent = { task: { ...jobOf('after').task, dependsOn: ['works'] }, where: 'after' };
    const { plan, repository } = jobOf('any');
    const enqueued = await producer.enqueue([...tasks, dependent], { repository, plan });
    const queue = openQueue(producing, prefix);
    const cancelled = await cancelTasks({ redis: producing, prefix }, ['waits'], { waitMs: 0 });
    const passed = await new FairShare(producing, { prefix }).letPass(repositoryMark(repository));
    const aside = new SetAside(producing, { prefix });
    await aside.note({ taskId: 'nowhere', labels: ['gpu'], priority: 0, enqueuedAt: 1 });
    const called = await aside.call(queue, ['gpu'], 5);
    const failing = new Set(['fails']);
    const worker = holdJobs(redis, prefix, async job => {
      const id = job.id ?? '';
      if (failing.has(id)) throw new Error('on purpose');
      return resultOf(id, 'committed');
    });
    const view = { redis: producing, queue, landing: openLandingQueue(producing, prefix), prefix };
    try {
      await untilState(queue, 'works', 'completed');
      await untilState(queue, 'after', 'completed');
      await untilState(queue, 'fails', 'failed');
      failing.clear();
      const retried = await retryTasks({ redis: producing, prefix }, ['fails']);
      await untilState(queue, 'fails', 'completed');
      await registry.register(cellRecord('works', 1, { host: 'one', home }));
      const seen = await readPool(view, { hours: 2, latest: 9 });
      await new CellMemory(redis, { prefix }).write('one', new Map([['works.00000001', 77]]));
      await new Tally(redis, { prefix }).add(resultOf('works', 'committed'), 'works');
      const disk = new DiskUses(redis, { prefix });
      const turn = await disk.takeTurn('one', home, 10_000);
      await disk.write('one', { artifactsBytes: 1, mirrorsBytes: 2, cellsBytes: 3, at: Date.now() });
      const landing = await useLanding(redis, prefix, view.landing);
      const { text } = await metricsText(view);
      await registry.erase('works.00000001');
      return {
        released,
        begun: begun.unended,
        cells: await registry.list(),
        cooldowns: (await cooldowns.list()).map(({ name }) => name),
        budget: (await budgets.show()) !== null,
        workers: await new WorkerList(redis, { prefix }).list(),
        heard,
        enqueued: enqueued.map(({ how }) => how),
        cancelled: cancelled.map(({ how }) => how),
        retried: retried.map(({ how }) => how),
        granted: granted.map(one => one.granted),
        slots: (await slots.list()).slots,
        passed,
        called,
        outcome: (await readJob(queue, 'works'))?.result?.outcome,
        turn,
        landing,
        metrics: text
          .split('\n')
          .filter(line => /^cellpool_(attempts_total.*committed|cell_memory|disk_bytes)/.test(line)),
        seen: { cells: seen.cells.length, hours: seen.hours.length, latest: seen.latest.length },
        shown: (await readTask(view, 'works'))?.state,
      };
    } finally {
      await worker.close();
      await Promise.all([queue.close(), view.landing.close()]);
      await producer.close();
    }
  });
}

export const WHOLE = {
  released: true,
  begun: 0,
  cells: [],
  cooldowns: ['scripted/model'],
  budget: true,
  workers: [],
  heard: [{ kind: 'cancel', taskId: 'somebody' }],
  enqueued: ['queued', 'queued', 'queued', 'queued'],
  cancelled: ['removed'],
  retried: ['queued'],
  granted: [true, false],
  slots: [],
  passed: 'works',
  called: 0,
  outcome: 'committed',
  turn: true,
  landing: { seen: 2, taken: 1, renewed: true, dropped: true, told: 1, counts: { completed: 1, failed: 1 } },
  metrics: [
    'cellpool_cell_memory_bytes{host="one"} 77',
    'cellpool_disk_bytes{host="one",kind="artifacts"} 1',
    'cellpool_disk_bytes{host="one",kind="mirrors"} 2',
    'cellpool_disk_bytes{host="one",kind="cells"} 3',
    'cellpool_attempts_total{outcome="committed"} 1',
  ],
  seen: { cells: 1, hours: 2, latest: 3 },
  shown: 'completed',
};
