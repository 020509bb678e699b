/** Which hook runs for a cell whose worker died; how it runs is tested with the other hooks. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import type { HookFacts } from '../../src/cell/hook-facts.ts';
import { openQueue } from '../../src/job/queue.ts';
import { silentLogger } from '../../src/observe/logger.ts';
import { Redactor } from '../../src/observe/redact.ts';
import type { CellRecord } from '../../src/redis/cell-record.ts';
import { failureHookOfDead } from '../../src/worker/dead-hook.ts';
import { leftBehind } from '../support/dead-cell.ts';
import { addJob, jobOf } from '../support/jobs.ts';
import { type TestRedis, testRedis } from '../support/redis.ts';

let server: TestRedis;
beforeAll(async () => {
  server = await testRedis();
});
afterAll(() => server.close());

/** A queue with the job of the dead cell, whose task has `onFailure` for a hook; left out, no job. */
async function prepare(onFailure?: string) {
  const queue = openQueue(await server.connect('producer'), server.prefix());
  onTestFinished(() => queue.close());
  const data = jobOf('orphan');
  if (onFailure !== undefined) await addJob(queue, { ...data, plan: { ...data.plan, hooks: { onFailure } } });
  const told: HookFacts[] = [];
  const callback = (facts: HookFacts) => void told.push(facts);
  const isolation = { level: 'process' as const, readable: [], allow: [] };
  const settings = { env: { server: [], commands: [] }, isolation };
  return { queue, told, callback, settings, redactor: new Redactor() };
}

const JOB = { job: { token: 't', enqueuedAt: 1 } } satisfies Partial<CellRecord>;

test('it is the one that stands in the job, in the workspace that is left, and then the callback', async () => {
  const { queue, told, ...options } = await prepare('pwd; echo "$CELLPOOL_ATTEMPT $CELLPOOL_ERROR_CODE"');
  const { record, artifacts, workspace } = leftBehind(JOB);
  await failureHookOfDead(queue, { ...options, log: silentLogger })(record);
  expect(readFileSync(join(artifacts, 'hook-onFailure.log'), 'utf8')).toBe(`${workspace}\n2 WORKER_DIED\n`);
  expect(told).toMatchObject([{ hook: 'onFailure', taskId: 'orphan', attempt: 2, outcome: 'failed', workspace }]);
});

test('one that fails is told in the log, not thrown: the cell is to be removed all the same', async () => {
  const { queue, told, ...options } = await prepare('echo no; exit 5');
  const lines: unknown[] = [];
  const log = pino({}, { write: (line: string) => void lines.push(JSON.parse(line)) });
  await failureHookOfDead(queue, { ...options, log })(leftBehind(JOB).record);
  const problem = 'hook onFailure ended with code 5: no';
  expect(lines).toMatchObject([{ msg: 'onFailure failed', task: 'orphan', cell: 'orphan.0123abcd', problem }]);
  expect(told).toHaveLength(1);
});

test('of a job that is gone only the callback is left', async () => {
  const { queue, told, ...options } = await prepare();
  await failureHookOfDead(queue, { ...options, log: silentLogger })(leftBehind(JOB).record);
  expect(told).toMatchObject([{ taskId: 'orphan', error: { code: 'WORKER_DIED' } }]);
});

test('a cell without a job is somebody else’s: its program has no queue, and what it wants is not known', async () => {
  const { queue, told, ...options } = await prepare('echo no');
  const { record } = leftBehind();
  await failureHookOfDead(queue, { ...options, log: silentLogger })(record);
  expect(told).toEqual([]);
});
