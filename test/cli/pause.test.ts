/** `cellpool pause` and `resume`, on jobs that were put on the queue by hand. */
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { Cooldowns } from '../../src/redis/cooldown.ts';
import { jsonLines } from '../support/cli.ts';
import { type CliQueue, openCliQueue, PREFIX } from '../support/cli-queue.ts';
import { addJob, jobOf, untilState } from '../support/jobs.ts';

let setting: CliQueue;

beforeAll(async () => {
  setting = await openCliQueue();
});
afterEach(() => setting.clear());
afterAll(() => setting.close());

test('a paused queue gives out no job while running ones go on, until it is resumed', async () => {
  const { cli, queue, work } = setting;
  const ended: string[] = [];
  let release: () => void = () => undefined;
  await work(async job => {
    if (job.id === 'runs') {
      await new Promise<void>(resolve => {
        release = resolve;
      });
    }
    ended.push(job.id ?? '');
  });
  await addJob(queue, jobOf('runs'));
  await untilState(queue, 'runs', 'active');
  await addJob(queue, jobOf('waits'));
  await addJob(queue, jobOf('later'), 600_000);

  const paused = await cli.run(['pause']);
  expect(paused).toMatchObject({ exitCode: 0, stderr: '' });
  expect(paused.stdout).toContain('Paused: 2 tasks waiting, 1 running.');
  release();
  await untilState(queue, 'runs', 'completed');
  expect((await cli.run(['pause'])).stdout).toContain('Was paused already: 2 tasks waiting, 0 running.');
  expect(await queue.getJobState('waits')).toBe('waiting');

  expect((await cli.run(['resume'])).stdout).toMatch(/^Resumed: /);
  await untilState(queue, 'waits', 'completed');
  expect(ended).toEqual(['runs', 'waits']);
  expect((await cli.run(['resume'])).stdout).toContain('Was not paused: 1 task waiting, 0 running.');
});

test('resume ends the cool-downs of providers, and says how many', async () => {
  const { cli, redis } = setting;
  const cooldowns = new Cooldowns(redis, { prefix: PREFIX });
  await cooldowns.report('one/model', { kind: 'busy', reason: '429' });
  await cooldowns.report('two/model', { kind: 'refused', reason: '401' });
  expect((await cli.run(['resume'])).stdout).toContain('2 cool-downs of providers ended.');
  expect(await cooldowns.list()).toEqual([]);
});

test('both tell it as one JSON object', async () => {
  const { cli, queue } = setting;
  await addJob(queue, jobOf('a'));
  const paused = jsonLines((await cli.run(['pause', '--json'])).stdout);
  expect(paused).toEqual([{ paused: true, changed: true, waiting: 1, running: 0 }]);
  const resumed = jsonLines((await cli.run(['resume', '--json'])).stdout);
  expect(resumed).toEqual([{ paused: false, changed: true, waiting: 1, running: 0, cooldownsEnded: 0 }]);
});
