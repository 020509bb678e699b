/** A job whose task depends on others, from its pick-up on; with workers at work in dependents.test.ts. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DelayedError, UnrecoverableError } from 'bullmq';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { TaskJob } from '../../src/job/job.ts';
import { type AttemptResult, type Outcome, resultWithoutCell } from '../../src/job/outcome.ts';
import { cancelTasks } from '../../src/producer/cancel.ts';
import { retryTasks } from '../../src/producer/retry.ts';
import { Control } from '../../src/redis/control.ts';
import { Dependencies } from '../../src/redis/dependencies.ts';
import { JobData } from '../../src/redis/job-data.ts';
import { taskKeys } from '../../src/redis/keys.ts';
import { LOOK_AGAIN_MS } from '../../src/worker/job-dependencies.ts';
import { processJob } from '../../src/worker/process-job.ts';
import { addJob, jobOf, resultOf } from '../support/jobs.ts';
import { type TestRedis, testRedis } from '../support/redis.ts';
import { makeRepository } from '../support/repository.ts';
import { type JobSetting, jobSetting } from './job-setting.ts';

let server: TestRedis;
beforeAll(async () => {
  server = await testRedis();
});
afterAll(() => server.close());

const NEVER = new AbortController().signal;
const LATER = 600_000;

/** Puts a task on the queue and ends it. */
async function end(setting: JobSetting, id: string, outcome: Outcome): Promise<void> {
  const { job, token } = await setting.take({ ...jobOf(id), results: [resultOf(id, outcome)] });
  if (outcome === 'committed' || outcome === 'no-changes')
    await job.moveToCompleted(resultOf(id, outcome), token, false);
  else await job.moveToFailed(new UnrecoverableError(outcome), token, false);
}

const depending = (dependsOn: string[], more: Partial<TaskJob> = {}): TaskJob => ({
  ...jobOf('b', { dependsOn }),
  ...more,
});

/** Takes `b` up and gives it to a worker's hands. */
async function work(setting: JobSetting, data: TaskJob): Promise<unknown> {
  const { job, token } = await setting.take(data);
  return processJob(setting.context, job, token, NEVER).catch((reason: unknown) => reason);
}

/** No task may begin until somebody raises the budget. */
async function useUpBudget({ context }: JobSetting): Promise<void> {
  await context.budgets.set({ fleetTokens: 10 });
  await context.budgets.add({ taskId: 'x', number: '1' }, { tokens: 20, usd: 0 });
}

const errorOf = ({ results }: JobSetting): AttemptResult['error'] | undefined => results.at(-1)?.error;

describe('a task whose dependency is open', () => {
  test('is put back uncounted before anything is asked or begun for it, and its data say what it waits for', async () => {
    const asked: string[] = [];
    const setting = await jobSetting(server, { onUsedUp: reason => void asked.push(reason) });
    await useUpBudget(setting);
    await end(setting, 'ended', 'no-changes');
    await addJob(setting.queue, jobOf('a'), LATER);
    await addJob(setting.queue, jobOf('c'), LATER);
    expect(await work(setting, depending(['ended', 'a', 'c']))).toBeInstanceOf(DelayedError);
    await setting.context.dependencies.settled();
    const job = await setting.queue.getJob('b');
    expect(job).toMatchObject({ attemptsMade: 0, data: { results: [] } });
    expect(job?.data).toMatchObject({ waits: { reason: '"a" has not ended yet', code: 'DEPENDENCY_PENDING' } });
    expect(job?.delay).toBeGreaterThanOrEqual(LOOK_AGAIN_MS - 1_000);
    expect(await setting.queue.getJobState('b')).toBe('delayed');
    expect(await setting.redis.exists(taskKeys(setting.prefix, 'b').fence)).toBe(0);
    expect({ asked, results: setting.results }).toEqual({ asked: [], results: [] });
    // A task that depends on nothing is kept from its beginning by what was not asked here.
    const free = await setting.take(jobOf('free'));
    await expect(processJob(setting.context, free.job, free.token, NEVER)).rejects.toBeInstanceOf(DelayedError);
    expect(asked).toHaveLength(1);
  });

  test('looks again by itself the more rarely the longer it has waited, but every few minutes', async () => {
    const setting = await jobSetting(server);
    await addJob(setting.queue, jobOf('a'), LATER);
    const waits = { reason: '"a" has not ended yet', code: 'DEPENDENCY_PENDING', since: Date.now() - 50 * LATER };
    await work(setting, depending(['a'], { waits }));
    const delay = (await setting.queue.getJob('b'))?.delay ?? 0;
    expect(delay).toBeGreaterThanOrEqual(600_000 - 1_000);
    expect(delay).toBeLessThanOrEqual(720_000);
    expect((await setting.dataOf('b')).waits?.since).toBe(waits.since);
  });

  test('is queued at once when that has ended while it was being put back', async () => {
    /** What is written to a job on its way back comes after the dependencies were asked, and before it is delayed. */
    class EndsMeanwhile extends JobData {
      override async write(...args: Parameters<JobData['write']>): Promise<void> {
        await cancelTasks({ redis: setting.redis, prefix: setting.prefix }, ['a']);
        await super.write(...args);
      }
    }
    const setting = await jobSetting(server);
    const jobData = new EndsMeanwhile(setting.redis, { prefix: setting.prefix });
    await addJob(setting.queue, jobOf('a'), LATER);
    const { job, token } = await setting.take(depending(['a']));
    await expect(processJob({ ...setting.context, jobData }, job, token, NEVER)).rejects.toBeInstanceOf(DelayedError);
    await setting.context.dependencies.settled();
    const again = await setting.takeAgain('b');
    await expect(processJob(setting.context, again.job, again.token, NEVER)).rejects.toThrow('"a"');
    expect(errorOf(setting)).toMatchObject({ code: 'DEPENDENCY_FAILED' });
  });

  test('waits before every attempt: also for one that is tried again, after it had failed for its dependency', async () => {
    const setting = await jobSetting(server);
    await end(setting, 'a', 'reverted');
    expect(await work(setting, depending(['a']))).toBeInstanceOf(UnrecoverableError);
    await (await setting.queue.getJob('b'))?.moveToFailed(new UnrecoverableError('b'), 'token-2', false);
    await retryTasks(setting, ['b', 'a']);
    const first = await setting.takeAgain('a');
    const second = await setting.takeAgain('b');
    await expect(processJob(setting.context, second.job, second.token, NEVER)).rejects.toBeInstanceOf(DelayedError);
    expect((await setting.dataOf('b')).results).toHaveLength(1);
    await first.job.moveToWait(first.token);
  });
});

describe('a task whose dependencies have all ended well', () => {
  test('goes on, also when their jobs are forgotten by then', async () => {
    const setting = await jobSetting(server);
    await end(setting, 'a', 'committed');
    await end(setting, 'c', 'no-changes');
    await new Dependencies(setting.redis, setting).keep(['a']);
    await (await setting.queue.getJob('a'))?.remove();
    // It comes as far as its repository, which this host does not have.
    expect(await work(setting, depending(['a', 'c'], { repository: join(setting.folder, 'nowhere') }))).toBeInstanceOf(
      DelayedError,
    );
    expect((await setting.dataOf('b')).waits?.code).toBe('NOT_A_REPOSITORY');
  });
});

describe('a task whose dependency did not end well', () => {
  test('fails at once without a cell, with its hook, whatever else it would have to wait for', async () => {
    const setting = await jobSetting(server);
    const repository = makeRepository(join(setting.folder, 'repository'));
    const hooks = { onFailure: 'echo "$CELLPOOL_ERROR_CODE: $CELLPOOL_ERROR"' };
    const { plan } = jobOf('b');
    await end(setting, 'a', 'timed-out');
    await addJob(setting.queue, jobOf('c'), LATER);
    await useUpBudget(setting);
    expect(await work(setting, depending(['c', 'a'], { repository, plan: { ...plan, hooks } }))).toBeInstanceOf(
      UnrecoverableError,
    );
    const [result] = setting.results;
    const error = { code: 'DEPENDENCY_FAILED', message: 'it depends on "a", which ended timed-out' };
    expect(result).toMatchObject({ outcome: 'failed', attempt: 1, tokensUsed: 0, error });
    const log = readFileSync(join(result?.artifacts ?? '', 'hook-onFailure.log'), 'utf8');
    expect(log).toBe(`${error.code}: ${error.message}\n`);
    expect((await setting.dataOf('b')).results).toEqual(setting.results);
  });

  test('says of each how it ended, and counts those that are too many to name', async () => {
    const setting = await jobSetting(server);
    const reason = async (dependsOn: string[]) => {
      const { job, token } = await setting.take({ ...jobOf(`b${dependsOn.length}`, { dependsOn }) });
      await expect(processJob(setting.context, job, token, NEVER)).rejects.toBeInstanceOf(UnrecoverableError);
      return errorOf(setting)?.message;
    };
    await end(setting, 'reverts', 'reverted');
    await end(setting, 'fails', 'failed');
    await addJob(setting.queue, jobOf('waits'), LATER);
    await new Dependencies(setting.redis, setting).keep(['waits']);
    await cancelTasks(setting, ['waits']);
    expect(await reason(['reverts', 'fails', 'waits', 'nowhere'])).toBe(
      'it depends on "reverts", which ended reverted; on "fails", which failed; on "waits", which was cancelled; ' +
        'on "nowhere", which is not on the queue any more',
    );
    expect(await reason(['n1', 'n2', 'n3', 'n4', 'n5', 'n6', 'n7'])).toMatch(/on "n5", which is [a-z ]+; on 2 more$/);
  });

  test('is done all the same when its work was done before', async () => {
    const setting = await jobSetting(server);
    await end(setting, 'a', 'failed');
    const done = resultWithoutCell('b', 1, 'no-changes', null);
    expect(await work(setting, depending(['a'], { results: [done] }))).toEqual(done);
  });

  test('is cancelled rather than failed when a person wanted that', async () => {
    const setting = await jobSetting(server);
    await end(setting, 'a', 'failed');
    const { job, token } = await setting.take(depending(['a'], { repository: join(setting.folder, 'nowhere') }));
    await new Control(setting.redis, setting).markCancelled('b', job.timestamp);
    await expect(processJob(setting.context, job, token, NEVER)).rejects.toBeInstanceOf(UnrecoverableError);
    expect(setting.results).toMatchObject([{ outcome: 'cancelled' }]);
  });
});
