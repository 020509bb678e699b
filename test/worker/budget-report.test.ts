/** The budgets that all workers share, as a job and its attempt meet them. */
import { DelayedError } from 'bullmq';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { BudgetReport } from '../../src/worker/budget-report.ts';
import type { BegunJob, JobContext } from '../../src/worker/held-job.ts';
import { processJob } from '../../src/worker/process-job.ts';
import { jobOf } from '../support/jobs.ts';
import { type TestRedis, testRedis } from '../support/redis.ts';
import { type JobSetting, jobSetting } from './job-setting.ts';

const WAIT = { timeout: 30_000, interval: 10 };
const NEVER = new AbortController().signal;

let server: TestRedis;
beforeAll(async () => {
  server = await testRedis();
});
afterAll(() => server.close());

async function begun(more: Partial<JobContext> = {}): Promise<{ setting: JobSetting; held: BegunJob }> {
  const setting = await jobSetting(server, more);
  const { context } = setting;
  const { job, token, data } = await setting.take(jobOf('a'));
  const one = await context.fence.begin({ taskId: 'a', enqueuedAt: job.timestamp });
  return { setting, held: { context, job, token, data, attempt: 1, begun: one } };
}

const usedIn = async ({ context }: JobSetting) => (await context.budgets.show()).fleet.used;

test('what an attempt uses is told while it goes on, and the rest at its end', async () => {
  const { setting, held } = await begun();
  const report = new BudgetReport(held);
  report.used(100, 0.01);
  await vi.waitUntil(async () => (await usedIn(setting)).tokens === 100, WAIT);
  for (const tokens of [150, 150, 180, 200]) report.used(tokens, tokens / 10_000);
  expect(await report.ended()).toBe(0);
  expect(await usedIn(setting)).toEqual({ tokens: 200, usd: 0.02 });
  expect(report.usedUp.aborted).toBe(false);
  // A later attempt of the same task is another one.
  const next = await setting.context.fence.begin({ taskId: 'a', enqueuedAt: held.job.timestamp });
  const second = new BudgetReport({ ...held, begun: next });
  second.used(50, 0);
  await second.ended();
  expect((await usedIn(setting)).tokens).toBe(250);
});

test('an attempt without any use tells nothing', async () => {
  const { setting, held } = await begun();
  expect(await new BudgetReport(held).ended()).toBe(0);
  expect(await setting.redis.keys(`${setting.prefix}:budget*`)).toEqual([]);
});

test('an attempt is ended by the first report after which a budget is used up', async () => {
  const told: string[] = [];
  const { setting, held } = await begun({ onUsedUp: reason => told.push(reason) });
  await setting.context.budgets.set({ dayTokens: 100 });
  const report = new BudgetReport(held);
  const aborted = new Promise(resolve => report.usedUp.addEventListener('abort', resolve));
  report.used(99, 0);
  report.used(101, 0);
  await aborted;
  expect(report.usedUp.reason).toMatchObject({
    code: 'BUDGET_USED_UP',
    message: expect.stringContaining("the day's budget of 100 tokens is used up"),
  });
  expect(await report.ended()).toBeGreaterThan(0);
  expect(told).toEqual([report.usedUp.reason.message]);
});

test('what Redis refuses to count is told again with the next report, at the latest at the end', async () => {
  const warned: string[] = [];
  const log = pino({ level: 'warn' }, { write: (line: string) => void warned.push(JSON.parse(line).msg) });
  const { setting, held } = await begun({ log });
  const report = new BudgetReport(held);
  await setting.redis.config('SET', 'maxmemory', '1');
  try {
    report.used(70, 0);
    await vi.waitUntil(() => warned.length > 0, WAIT);
  } finally {
    await setting.redis.config('SET', 'maxmemory', '0');
  }
  expect(warned).toEqual(['what was used could not be told']);
  await report.ended();
  expect((await usedIn(setting)).tokens).toBe(70);
});

test.each([
  ['the day', { dayTokens: 0 }, "the day's budget"],
  ['the fleet', { fleetUsd: 0 }, "the fleet's budget"],
])('while the budget of %s is used up a job waits, uncounted, with the reason', async (_, limits, said) => {
  const told: string[] = [];
  const setting = await jobSetting(server, { onUsedUp: reason => told.push(reason) });
  const { context, queue } = setting;
  await context.budgets.set(limits);
  const { job, token } = await setting.take(jobOf('a'));
  await expect(processJob(context, job, token, NEVER)).rejects.toBeInstanceOf(DelayedError);
  const { results, waits } = await setting.dataOf('a');
  expect(results).toEqual([]);
  expect(waits).toMatchObject({ code: 'BUDGET_USED_UP', reason: expect.stringContaining(said) });
  expect(told).toEqual([waits?.reason]);
  expect((await queue.getJob('a'))?.attemptsMade).toBe(0);

  await context.budgets.set({ dayTokens: null, fleetUsd: null });
  await (await queue.getJob('a'))?.promote();
  const again = await setting.takeAgain('a');
  // There is no such repository: it goes on to where that is found out.
  await expect(processJob(context, again.job, again.token, NEVER)).rejects.toBeInstanceOf(DelayedError);
  expect((await setting.dataOf('a')).waits?.code).toBe('NOT_A_REPOSITORY');
});
