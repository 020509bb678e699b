/** `cellpool drain`, with entries in the list of workers for workers. */
import type { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { Control, type ControlMessage } from '../../src/redis/control.ts';
import { type WorkerEntry, WorkerList } from '../../src/redis/worker-list.ts';
import { jsonLines } from '../support/cli.ts';
import { type CliQueue, openCliQueue, PREFIX } from '../support/cli-queue.ts';

let setting: CliQueue;
let workers: WorkerList;
const closing: { close(): Promise<void> }[] = [];

beforeAll(async () => {
  setting = await openCliQueue();
  workers = new WorkerList(setting.redis, { prefix: PREFIX });
});
afterEach(async () => {
  await Promise.all(closing.splice(0).map(one => one.close()));
  await setting.clear();
});
afterAll(() => setting.close());

function entry(id: string, host: string, running: string[] = []): WorkerEntry {
  const process = { pid: 1, startTime: '1', bootId: 'b' };
  return { id, host, ...process, startedAt: 1, concurrency: 2, running, draining: false };
}

/** Everything that is told to workers from now on. */
async function listen(redis: Redis): Promise<ControlMessage[]> {
  const heard: ControlMessage[] = [];
  closing.push(await Control.subscribe(redis, PREFIX, message => heard.push(message)));
  return heard;
}

test('with no worker there says so, with 0', async () => {
  const { exitCode, stdout, stderr } = await setting.cli.run(['drain']);
  expect({ exitCode, stdout }).toEqual({ exitCode: 0, stdout: '' });
  expect(stderr).toBe('Nothing to drain: no worker is there.\n');
});

test('asks the workers of one host, tells who is waited for, and ends when they are gone', async () => {
  const { cli, redis } = setting;
  const heard = await listen(redis);
  for (const one of [entry('a.1', 'a', ['t1', 't2']), entry('a.2', 'a', ['t3']), entry('b.1', 'b')]) {
    await workers.beat(one);
  }
  const drain = cli.start(['drain', '--host', 'a', '--json']);
  await drain.says('Waiting for 2 workers, 3 attempts.');
  expect(heard).toEqual([{ kind: 'drain', host: 'a' }]);
  expect(await workers.beat(entry('a.1', 'a', ['t2']))).toEqual({ drain: true });
  expect(await workers.beat(entry('b.1', 'b'))).toEqual({ drain: false });
  await drain.says('Waiting for 2 workers, 2 attempts.');
  await workers.remove('a.2');
  await drain.says('Waiting for 1 worker, 1 attempt.');
  await workers.remove('a.1');
  const { exitCode, stdout } = await drain.ended;
  expect(exitCode).toBe(0);
  expect(jsonLines(stdout)).toEqual([
    { worker: 'a.2', state: 'drained' },
    { worker: 'a.1', state: 'drained' },
  ]);
});

test('waits no longer than it may, with 1', async () => {
  await workers.beat(entry('a.1', 'a', ['t1']));
  const { exitCode, stdout } = await setting.cli.run(['drain', '--timeout', '0.1']);
  expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: 'a.1 has been told.\n' });
});

test('does not wait when that is not wanted', async () => {
  await workers.beat(entry('a.1', 'a', ['t1']));
  const { exitCode, stdout } = await setting.cli.run(['drain', '--no-wait', '--json']);
  expect(exitCode).toBe(0);
  expect(jsonLines(stdout)).toEqual([{ worker: 'a.1', state: 'asked' }]);
  expect(await workers.beat(entry('a.1', 'a'))).toEqual({ drain: true });
});

test('stops waiting at Ctrl-C, with 130', async () => {
  await workers.beat(entry('a.1', 'a'));
  const drain = setting.cli.start(['drain']);
  await drain.says('Waiting for 1 worker, 0 attempts.');
  drain.signal('SIGINT');
  expect((await drain.ended).exitCode).toBe(130);
});

test('names every fault of a call', async () => {
  const { exitCode, stderr } = await setting.cli.run(['drain', '--host', 'a b', '--timeout', 'soon']);
  expect(exitCode).toBe(2);
  expect(stderr).toMatch(/^--host: is made of letters/m);
  expect(stderr).toMatch(/^--timeout: is a number of seconds/m);
});
