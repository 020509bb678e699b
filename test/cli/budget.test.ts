/** `cellpool budget`, on a Redis in which something was used, and with jobs that were put on the queue by hand. */
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { Budgets } from '../../src/redis/budget.ts';
import { jsonLines } from '../support/cli.ts';
import { type CliQueue, openCliQueue, PREFIX } from '../support/cli-queue.ts';
import { addJob, jobOf } from '../support/jobs.ts';

let setting: CliQueue;
let budgets: Budgets;

beforeAll(async () => {
  setting = await openCliQueue();
  budgets = new Budgets(setting.redis, { prefix: PREFIX });
});
afterEach(() => setting.clear());
afterAll(() => setting.close());

const attempt = { taskId: 'a', number: '1' };
const jsonOf = async (...args: string[]) => jsonLines((await setting.cli.run(['budget', ...args])).stdout);

test('shows what was used and what may be', async () => {
  await budgets.set({ dayTokens: 2_000_000, fleetUsd: 50 });
  await budgets.add(attempt, { tokens: 1_234, usd: 0.5678 });
  const { exitCode, stdout, stderr } = await setting.cli.run(['budget']);
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
  expect(stdout).toMatch(/^BUDGET +TOKENS +LIMIT +COST +LIMIT +SINCE$/m);
  expect(stdout).toMatch(/^day +1234 +2000000 +\$0\.5678 +- +\d{4}-\d\d-\d\d 00:00 UTC$/m);
  expect(stdout).toMatch(/^fleet +1234 +- +\$0\.5678 +\$50\.00 +\d{4}-\d\d-\d\d \d\d:\d\d UTC$/m);
  expect(stdout).not.toContain('Used up');
});

test('sets limits in the ways people write them, changes one and takes one away', async () => {
  const set = await jsonOf(
    'set',
    '--day',
    '1.5M',
    '--day-usd',
    '20',
    '--fleet',
    '900k',
    '--fleet-usd',
    '$2.50',
    '--json',
  );
  expect(set).toMatchObject([
    { day: { limit: { tokens: 1_500_000, usd: 20 } }, fleet: { limit: { tokens: 900_000, usd: 2.5 } }, usedUp: null },
  ]);
  expect(await jsonOf('set', '--json', '--day', 'off', '--fleet', '7')).toMatchObject([
    { day: { limit: { tokens: null, usd: 20 } }, fleet: { limit: { tokens: 7, usd: 2.5 } }, tasksQueued: 0 },
  ]);
  expect(await jsonOf('--json')).toMatchObject([{ fleet: { limit: { tokens: 7 } } }]);
});

test('says when a budget is used up, and queues what waits for it once it is raised', async () => {
  const { cli, queue } = setting;
  await budgets.set({ dayTokens: 100 });
  await budgets.add(attempt, { tokens: 120, usd: 0 });
  const waits = (code: string) => ({ reason: 'why', code, since: 1 });
  await addJob(queue, { ...jobOf('waits'), waits: waits('BUDGET_USED_UP') }, 600_000);
  await addJob(queue, { ...jobOf('other'), waits: waits('PROVIDER_BUSY') }, 600_000);
  await addJob(queue, jobOf('later'), 600_000);

  const still = await cli.run(['budget', 'set', '--day', '110']);
  expect(still).toMatchObject({ exitCode: 0, stderr: '' });
  expect(still.stdout).toContain("Used up: the day's budget of 110 tokens is used up: tasks wait until 00:00 UTC");
  expect(await queue.getJobState('waits')).toBe('delayed');

  const raised = await cli.run(['budget', 'set', '--day', '1k']);
  expect(raised.stdout).toContain('1 task that waited for it queued.');
  expect(await queue.getJobState('waits')).toBe('waiting');
  for (const id of ['other', 'later']) expect(await queue.getJobState(id)).toBe('delayed');
});

test('counts the fleet anew, and queues what waited', async () => {
  await budgets.set({ fleetTokens: 100 });
  await budgets.add(attempt, { tokens: 100, usd: 0 });
  await addJob(setting.queue, { ...jobOf('a'), waits: { reason: 'why', code: 'BUDGET_USED_UP', since: 1 } }, 600_000);
  expect(await jsonOf('--json')).toMatchObject([
    { usedUp: expect.stringContaining("the fleet's budget of 100 tokens") },
  ]);
  expect(await jsonOf('reset', '--json')).toMatchObject([
    { day: { used: { tokens: 100 } }, fleet: { used: { tokens: 0 }, limit: { tokens: 100 } }, tasksQueued: 1 },
  ]);
});

test.each([
  [['set'], 'name at least one of --day'],
  [
    ['set', '--day', 'much', '--fleet-usd', '-1'],
    '--day: is written 1500000, 1500k or 1.5M or off, not "much"\n--fleet-usd: ',
  ],
  [['set', '--day-usd', '5k'], '--day-usd: is written 20 or 2.50 or off'],
  [['set', '--day', '1e12'], '--day: '],
  [['set', '--day', '9999999999999'], '--day: '],
  [['rest'], 'budget'],
])('what is not understood sets nothing and ends with 2: %j', async (args, said) => {
  const { exitCode, stdout, stderr } = await setting.cli.run(['budget', ...args]);
  expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: '' });
  expect(stderr).toContain(said);
  expect((await budgets.show()).day.limit).toEqual({ tokens: null, usd: null });
});

test.each([['set'], ['reset']])('there are examples in the help of %s', async command => {
  const { exitCode, stdout } = await setting.cli.run(['budget', command, '--help']);
  expect(exitCode).toBe(0);
  expect(stdout).toContain('Examples:\n  $ cellpool budget');
});
