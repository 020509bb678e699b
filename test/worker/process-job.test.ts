/** One job from its pick-up to its end, where no cell is made for it; whole attempts are worked in test/cli. */
import { readdirSync, readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { DelayedError, UnrecoverableError, WaitingError } from 'bullmq';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { HookFacts } from '../../src/cell/hook-facts.ts';
import type { TaskJob } from '../../src/job/job.ts';
import { Control } from '../../src/redis/control.ts';
import { modelOf, REASONS } from '../../src/worker/held-job.ts';
import { RetryAfter } from '../../src/worker/job-ending.ts';
import { processJob } from '../../src/worker/process-job.ts';
import { jobOf, resultOf } from '../support/jobs.ts';
import { type TestRedis, testRedis } from '../support/redis.ts';
import { makeRepository } from '../support/repository.ts';
import { committedBefore, type JobSetting, jobSetting } from './job-setting.ts';

let server: TestRedis;
beforeAll(async () => {
  server = await testRedis();
});
afterAll(() => server.close());

const NEVER = new AbortController().signal;

function withHook(data: TaskJob, onFailure: string): TaskJob {
  return { ...data, plan: { ...data.plan, hooks: { onFailure } } };
}

describe('the onFailure of a task that ends before a cell is begun for it', () => {
  const HOOK = 'pwd; echo "$CELLPOOL_OUTCOME $CELLPOOL_ERROR_CODE $CELLPOOL_ATTEMPT [$CELLPOOL_WORKSPACE]"';
  type Case = [string, string, Partial<TaskJob>, (setting: JobSetting, enqueuedAt: number) => Promise<void>, string?];

  test.each<Case>([
    ['cancelled by a mark', 'cancelled CANCELLED', {}, mark],
    ['cancelled just now', 'cancelled CANCELLED', {}, async () => undefined, REASONS.cancelled],
    ['given up, as its workers died again and again', 'failed WORKER_DIED', {}, beginOften],
    ['out of tokens', 'over-budget OVER_BUDGET', { spent: { tokens: 1e9, executionMs: 0 } }, async () => undefined],
    ['out of time', 'timed-out TIMED_OUT', { spent: { tokens: 0, executionMs: 1e9 } }, async () => undefined],
  ])('runs when it is %s', async (_, end, more, prepare, reason) => {
    const told: HookFacts[] = [];
    const setting = await jobSetting(server, { hooks: { onFailure: facts => void told.push(facts) } });
    const repository = makeRepository(join(setting.folder, 'repository'));
    const { job, token } = await setting.take({ ...withHook(jobOf('a', {}, repository), HOOK), ...more });
    await prepare(setting, job.timestamp);
    const signal = reason === undefined ? NEVER : AbortSignal.abort(reason);
    await expect(processJob(setting.context, job, token, signal)).rejects.toBeInstanceOf(UnrecoverableError);

    const [outcome, code] = end.split(' ');
    expect(setting.results).toMatchObject([{ outcome, error: { code }, attempt: 1 }]);
    const [result] = setting.results;
    expect(result).not.toHaveProperty('hookFaults');
    const artifacts = result?.artifacts ?? '';
    expect(artifacts).toContain(join(setting.home, 'artifacts', 'a', '1-'));
    expect(readFileSync(join(artifacts, 'hook-onFailure.log'), 'utf8')).toBe(`${artifacts}\n${end} 1 []\n`);
    expect(JSON.parse(readFileSync(join(artifacts, 'result.json'), 'utf8'))).toEqual(result);
    expect((await setting.dataOf('a')).results).toEqual([result]);
    expect(told).toMatchObject([
      { hook: 'onFailure', taskId: 'a', outcome, error: { code }, workspace: null, artifacts },
    ]);
  });

  async function mark({ redis, prefix }: JobSetting, enqueuedAt: number): Promise<void> {
    await new Control(redis, { prefix }).markCancelled('a', enqueuedAt);
  }

  async function beginOften({ context }: JobSetting, enqueuedAt: number): Promise<void> {
    for (let time = 0; time < 11; time++) await context.fence.begin({ taskId: 'a', enqueuedAt });
  }

  test('changes nothing when it fails, and is told with the result', async () => {
    const setting = await jobSetting(server);
    const repository = makeRepository(join(setting.folder, 'repository'));
    const { job, token } = await setting.take(withHook(jobOf('a', {}, repository), 'echo no; exit 5'));
    await mark(setting, job.timestamp);
    await expect(processJob(setting.context, job, token, NEVER)).rejects.toBeInstanceOf(UnrecoverableError);
    const hookFaults = [{ hook: 'onFailure', message: 'hook onFailure ended with code 5: no' }];
    expect((await setting.dataOf('a')).results).toMatchObject([{ outcome: 'cancelled', hookFaults }]);
  });

  test('does not run for a job that goes back to the queue, nor where its repository is not', async () => {
    const told: HookFacts[] = [];
    const setting = await jobSetting(server, { hooks: { onFailure: facts => void told.push(facts) } });
    const repository = makeRepository(join(setting.folder, 'repository'));
    const back = await setting.take(withHook(jobOf('a', {}, repository), HOOK));
    const stopping = AbortSignal.abort(REASONS.stopping);
    await expect(processJob(setting.context, back.job, back.token, stopping)).rejects.toBeInstanceOf(WaitingError);

    const { job, token } = await setting.takeAgain('a');
    await job.updateData({ ...back.data, repository: join(setting.folder, 'nowhere') });
    await mark(setting, job.timestamp);
    await expect(processJob(setting.context, job, token, NEVER)).rejects.toBeInstanceOf(UnrecoverableError);
    expect(setting.results).toMatchObject([{ outcome: 'cancelled', artifacts: '' }]);
    expect(told).toEqual([]);
    expect(readdirSync(setting.home)).not.toContain('artifacts');
  });

  test('is not cut short by a worker that stops, which has nothing to hand back then', async () => {
    const stop = new AbortController();
    const hooks = { onFailure: () => stop.abort(REASONS.stopping) };
    const setting = await jobSetting(server, { hooks });
    const repository = makeRepository(join(setting.folder, 'repository'));
    const { job, token } = await setting.take(jobOf('a', {}, repository));
    await mark(setting, job.timestamp);
    await expect(processJob(setting.context, job, token, stop.signal)).rejects.toBeInstanceOf(UnrecoverableError);
    expect(setting.results).toMatchObject([{ outcome: 'cancelled' }]);
  });
});

describe('an attempt whose worker died after its commit', () => {
  /** The job of a repository that holds what such an attempt leaves, taken again. */
  async function died() {
    const setting = await jobSetting(server);
    const repository = makeRepository(join(setting.folder, 'repository'));
    const { job, token } = await setting.take(jobOf('a', {}, repository));
    await setting.context.fence.begin({ taskId: 'a', enqueuedAt: job.timestamp });
    return { setting, repository, job, token, commit: committedBefore(repository, job.timestamp) };
  }

  test('is found also when a worker that has no such repository took the job in between', async () => {
    const { setting, repository, job, token, commit } = await died();
    const { context, queue } = setting;
    renameSync(repository, `${repository}.away`);
    // Somebody cancels it meanwhile: what is committed counts all the same.
    await new Control(setting.redis, { prefix: setting.prefix }).markCancelled('a', job.timestamp);
    await expect(processJob(context, job, token, NEVER)).rejects.toBeInstanceOf(DelayedError);
    renameSync(`${repository}.away`, repository);

    await (await queue.getJob('a'))?.promote();
    const again = await setting.takeAgain('a');
    expect(await processJob(context, again.job, again.token, NEVER)).toMatchObject({ outcome: 'committed', commit });
  });

  test('is found also when the repository could not be read at first', async () => {
    const { setting, repository, job, token, commit } = await died();
    const { context, queue } = setting;
    await context.spawners.of(repository);
    const objects = join(repository, '.git', 'objects');
    renameSync(objects, `${objects}.away`);
    await expect(processJob(context, job, token, NEVER)).rejects.toBeInstanceOf(RetryAfter);
    expect((await setting.dataOf('a')).results).toMatchObject([{ outcome: 'failed', error: { code: 'GIT_FAILED' } }]);
    renameSync(`${objects}.away`, objects);

    const again = (await queue.getJob('a')) ?? expect.fail();
    expect(await processJob(context, again, token, NEVER)).toMatchObject({ outcome: 'committed', commit });
  });
});

test('a job that is found done is counted, if the worker that did it died before it could', async () => {
  const setting = await jobSetting(server);
  const { context } = setting;
  const done = resultOf('a', 'committed');
  const { job, token } = await setting.take({ ...jobOf('a'), results: [done] });
  for (let time = 0; time < 2; time++) expect(await processJob(context, job, token, NEVER)).toEqual(done);
  expect(await context.tally.totals()).toMatchObject({ outcomes: { committed: 1 }, tokens: 1 });
});

test('a job whose work came back is not done: what an earlier round has committed is worked anew', async () => {
  const setting = await jobSetting(server);
  const done = resultOf('a', 'committed');
  const repository = makeRepository(join(setting.folder, 'repository'));
  const { job, token } = await setting.take({ ...jobOf('a', {}, repository), results: [done], kept: 1 });
  await new Control(setting.redis, { prefix: setting.prefix }).markCancelled('a', job.timestamp);
  await expect(processJob(setting.context, job, token, NEVER)).rejects.toBeInstanceOf(UnrecoverableError);
  expect((await setting.dataOf('a')).results).toMatchObject([done, { outcome: 'cancelled', attempt: 1 }]);
});

test('an attempt whose lock was lost goes back uncounted if nobody else has it, with what was spent on it', async () => {
  const setting = await jobSetting(server);
  const repository = makeRepository(join(setting.folder, 'repository'));
  const { job, token } = await setting.take(jobOf('a', {}, repository));
  await setting.context.fence.begin({ taskId: 'a', enqueuedAt: job.timestamp });
  // What it finds there is 77 tokens' worth; the lock is lost just then.
  committedBefore(repository, job.timestamp);
  const lost = new AbortController();
  const log = pino({ level: 'info' }, { write: () => lost.abort(REASONS.lockLost) });
  const ended = processJob({ ...setting.context, log }, job, token, lost.signal);
  await expect(ended).rejects.toBeInstanceOf(WaitingError);
  expect(await setting.queue.getJobState('a')).toBe('waiting');
  expect(await setting.dataOf('a')).toMatchObject({ results: [], spent: { tokens: 77 } });
  // The next one looks for its commit all the same.
  expect((await setting.context.fence.begin({ taskId: 'a', enqueuedAt: job.timestamp })).unended).toBe(2);
});

test('an attempt that fails although the branch has moved has committed', async () => {
  const commits: string[] = [];
  const setting = await jobSetting(server, { hooks: { onFailure: () => void commits.push(commit()) } });
  const repository = makeRepository(join(setting.folder, 'repository'));
  const { job, token } = await setting.take(jobOf('a', {}, repository));
  // As if git had failed just after the branch had moved; here it is the server that does not start.
  const commit = () => committedBefore(repository, job.timestamp);
  const result = await processJob(setting.context, job, token, NEVER);
  expect(result).toMatchObject({ outcome: 'committed', commit: commits[0] });
  expect((await setting.dataOf('a')).results).toEqual([result]);
});

describe('a job whose provider is in a cool-down', () => {
  const busy = { kind: 'busy' as const, reason: 'overloaded', retryAfterMs: 600_000 };

  test('is put back as often as it takes, and counts as no attempt whose worker died, though one did', async () => {
    const setting = await jobSetting(server);
    const { context, queue } = setting;
    const repository = makeRepository(join(setting.folder, 'repository'));
    const data = jobOf('a', {}, repository);
    let { job, token }: Awaited<ReturnType<typeof setting.takeAgain>> = await setting.take(data);
    const model = modelOf(data);
    await context.cooldowns.report(model, busy);
    for (let time = 0; time < 20; time++) {
      if (time === 3) {
        // Of a worker that dies before it can put the job back.
        await context.fleet.take({ taskId: 'a', attempt: 1, repository }, (owner, hostCap) =>
          context.attempts.begin({ owner, hostCap, enqueuedAt: job.timestamp, model }),
        );
      }
      await expect(processJob(context, job, token, NEVER)).rejects.toBeInstanceOf(DelayedError);
      expect(await setting.dataOf('a')).toMatchObject({ results: [], waits: { code: 'PROVIDER_BUSY' } });
      await (await queue.getJob('a'))?.promote();
      ({ job, token } = await setting.takeAgain('a'));
    }
    expect(await context.fence.begin({ taskId: 'a', enqueuedAt: job.timestamp })).toMatchObject({ unended: 0 });
  });

  test('ends at once when it is cancelled', async () => {
    const setting = await jobSetting(server);
    const repository = makeRepository(join(setting.folder, 'repository'));
    const { job, token, data } = await setting.take(jobOf('a', {}, repository));
    await setting.context.cooldowns.report(modelOf(data), busy);
    await new Control(setting.redis, { prefix: setting.prefix }).markCancelled('a', job.timestamp);
    await expect(processJob(setting.context, job, token, NEVER)).rejects.toBeInstanceOf(UnrecoverableError);
    expect(setting.results).toMatchObject([{ outcome: 'cancelled' }]);
    expect(await setting.context.fence.begin({ taskId: 'a', enqueuedAt: job.timestamp })).toMatchObject({ unended: 0 });
  });
});

test.each([
  ['for want of a slot', WaitingError, { slots: { granted: false }, waitMs: 0 }],
  ['for its provider', DelayedError, { slots: {}, waitMs: 600_000 }],
])(
  'an attempt that has begun, as a call sent again may say, has ended when it is put back %s',
  async (_, verdict, say) => {
    const setting = await jobSetting(server);
    const { attempts, fence } = setting.context;
    const { job, token } = await setting.take(jobOf('a', {}, makeRepository(join(setting.folder, 'repository'))));
    const begin = attempts.begin.bind(attempts);
    attempts.begin = async asked => {
      const { slot, ...beginning } = await begin(asked);
      const turn = { waitMs: say.waitMs, kind: null, reason: null };
      return { ...beginning, slot: slot && { ...slot, ...say.slots }, turn };
    };
    await expect(processJob(setting.context, job, token, NEVER)).rejects.toBeInstanceOf(verdict);
    expect((await fence.begin({ taskId: 'a', enqueuedAt: job.timestamp })).unended).toBe(0);
  },
);

describe('a job whose end Redis refuses', () => {
  test('counts no attempt and is left to its lock, so that the next worker finds what was committed', async () => {
    const setting = await jobSetting(server);
    const { context, redis, queue } = setting;
    const repository = makeRepository(join(setting.folder, 'repository'));
    const { job, token } = await setting.take(jobOf('a', { attempts: 1 }, repository));
    await context.fence.begin({ taskId: 'a', enqueuedAt: job.timestamp });
    const commit = committedBefore(repository, job.timestamp);
    // The commit is told in the log just before the job is written. Commands of a connection keep their order.
    const log = pino({ level: 'info' }, { write: () => void redis.config('SET', 'maxmemory', '1') });
    try {
      await expect(processJob({ ...context, log }, job, token, NEVER)).rejects.toBeInstanceOf(WaitingError);
    } finally {
      await redis.config('SET', 'maxmemory', '0');
    }
    expect(await queue.getJobState('a')).toBe('active');
    expect((await setting.dataOf('a')).results).toEqual([]);

    const again = (await queue.getJob('a')) ?? expect.fail();
    expect(again.attemptsMade).toBe(0);
    expect(await processJob(context, again, token, NEVER)).toMatchObject({ outcome: 'committed', commit });
  });

  test('counts none either when it could not even be begun', async () => {
    const setting = await jobSetting(server);
    const { job, token } = await setting.take(jobOf('a', { attempts: 1 }));
    await setting.redis.config('SET', 'maxmemory', '1');
    try {
      await expect(processJob(setting.context, job, token, NEVER)).rejects.toBeInstanceOf(WaitingError);
    } finally {
      await setting.redis.config('SET', 'maxmemory', '0');
    }
    expect(await setting.queue.getJobState('a')).toBe('active');
  });
});

test('a repository that goes away once it was opened costs the task no attempt', async () => {
  const setting = await jobSetting(server);
  const { context } = setting;
  const repository = makeRepository(join(setting.folder, 'repository'));
  const before = await context.spawners.of(repository);
  expect(await context.spawners.of(repository)).toBe(before);
  const { job, token } = await setting.take(jobOf('a', {}, repository));
  renameSync(repository, `${repository}.away`);
  await expect(processJob(context, job, token, NEVER)).rejects.toBeInstanceOf(DelayedError);
  expect(await setting.dataOf('a')).toMatchObject({ results: [], waits: { code: 'NOT_A_REPOSITORY' } });

  renameSync(`${repository}.away`, repository);
  const both = await Promise.all([context.spawners.of(repository), context.spawners.of(repository)]);
  expect(both[0]).toBe(both[1]);
});
