/** A lander that is frozen in the middle of its tests loses its target to another one, and moves nothing when it wakes. */

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Worker } from 'bullmq';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import type { TaskJob } from '../../src/job/job.ts';
import { LANDING_JOB, landingIdOf, landingOf, landingOptions, openLandingQueue } from '../../src/job/landing.ts';
import { TASK_QUEUE } from '../../src/job/names.ts';
import { openQueue } from '../../src/job/queue.ts';
import { readLandings } from '../../src/job/stored-landing.ts';
import { connectRedis } from '../../src/redis/connection.ts';
import { openRedis, type RedisHandle } from '../../src/redis/open-redis.ts';
import { CliHome } from '../support/cli.ts';
import { addJob, jobOf, resultOf } from '../support/jobs.ts';
import { commitAll, git, writeFiles } from '../support/repository.ts';

const PREFIX = 'cellpool';
const BOUND = { timeout: 60_000, interval: 20 };

const cli = new CliHome();
let server: RedisHandle;
let top: string;

beforeAll(async () => {
  server = await openRedis({ home: cli.home });
  top = cli.repository({ 'a.txt': 'a\n' });
  git(top, 'switch', '--quiet', '--detach');
});
afterAll(async () => {
  await server.close();
  await cli.expectNothingLeft(top);
  cli.remove();
});

test('what it had lands once, by the other one', async () => {
  const redis = connectRedis(server.address, 'worker');
  const [tasks, landings] = [openQueue(redis, PREFIX), openLandingQueue(redis, PREFIX)];
  writeFiles(top, { 'one.txt': '1\n' });
  const commit = commitAll(top, 'one');
  git(top, 'branch', 'cellpool/one', commit);
  const begun = join(cli.folder, 'begun');
  // The first run of the tests waits for its end, which does not come; any other one is over at once.
  const test = `[ -e ${begun} ] || { touch ${begun}; sleep 25; }`;
  const made = jobOf('one', { land: 'merge', test }, top);
  const data: TaskJob = { ...made, plan: { ...made.plan, testMs: 60_000 } };
  await addJob(tasks, data);
  const taker = new Worker(TASK_QUEUE, null, { connection: redis, prefix: PREFIX, autorun: false });
  const job = (await taker.getNextJob('t')) ?? expect.fail('there is no task');
  const result = { ...resultOf('one', 'committed'), branch: 'cellpool/one', commit };
  const landing = landingOf(data, result, job.timestamp) ?? expect.fail('nothing is to land');
  await job.updateData({ ...data, results: [result] });
  await job.moveToCompleted(result, 't', false);
  await landings.add(LANDING_JOB, landing, landingOptions(landing));

  const frozen = cli.start(['land', '--watch']);
  await vi.waitUntil(() => existsSync(begun), BOUND);
  frozen.signal('SIGSTOP');
  const other = cli.start(['land', '--watch']);
  await vi.waitUntil(() => other.shown().includes('one landed on main'), BOUND);
  const landed = git(top, 'rev-parse', 'main');
  frozen.signal('SIGCONT');
  // It says that it has lost its target, and goes on with its work.
  await frozen.says('another lander may have the target by now');
  for (const lander of [frozen, other]) lander.signal('SIGINT');
  expect((await Promise.all([frozen.ended, other.ended])).map(({ exitCode }) => exitCode)).toEqual([0, 0]);
  expect(frozen.shown()).toBe('');
  expect(git(top, 'rev-parse', 'main')).toBe(landed);
  expect(git(top, 'log', '--first-parent', '--format=%s', 'main').split('\n')).toEqual(['Land one', 'first']);
  const [found] = await readLandings(redis, landings, [landingIdOf(landing)]);
  expect(found?.data?.fate).toMatchObject({ kind: 'landed', commit: landed });
  await Promise.all([taker.close(), tasks.close(), landings.close()]);
  redis.disconnect();
});
