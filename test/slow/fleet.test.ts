/**
 * A fleet of three workers on two hosts (by name), each host with a state folder of its own, with real cells: there are
 * never more than the cap, though a worker that has some is killed, and every task is committed once.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { type ScriptedModel, startScriptedModel } from '../../src/cli/demo/scripted-model.ts';
import type { TaskJob } from '../../src/job/job.ts';
import { openQueue } from '../../src/job/queue.ts';
import { TaskFollower } from '../../src/producer/follow.ts';
import { cellRecordSchema } from '../../src/redis/cell-record.ts';
import { connectRedis } from '../../src/redis/connection.ts';
import { cellKeys } from '../../src/redis/keys.ts';
import { openRedis } from '../../src/redis/open-redis.ts';
import { Slots } from '../../src/redis/slots.ts';
import { CliHome, scripted } from '../support/cli.ts';
import { git } from '../support/repository.ts';

const MINUTE = 60_000;
const PREFIX = 'cellpool';
const CAP = 3;
const LOOK_MS = 50;
/** A server that boots late on a busy machine says nothing of the cap. */
const PATIENT = { CELLPOOL_BOOT_MS: String(5 * 60_000) };
const TASKS = 6;
const HOSTS = ['one', 'two'] as const;
const ids = Array.from({ length: TASKS }, (_, index) => `fleet-${index + 1}`);

const cli = new CliHome();
let model: ScriptedModel;
let repository: string;
/** Looked at again and again, while all of it went on. */
const seen = { looks: 0, most: 0, mostSlots: 0, mostOf: new Map<string, number>(), workers: new Set<string>() };
let states: (string | undefined)[];
let committed: number[];
let left: { slots: number; cells: number };
let exits: (number | null)[];

beforeAll(async () => {
  model = await startScriptedModel();
  repository = cli.repository();
  const tasks = ids.map(id => scripted(id, [{ think: 1_500 }, { write: { [`${id}.txt`]: 'x\n' } }], { test: 'true' }));
  const file = cli.tasksFile('tasks.jsonl', tasks);
  expect((await cli.run(['enqueue', file, '--repo', repository, ...cli.modelFlags(model)])).exitCode).toBe(0);
  expect((await cli.run(['fleet', 'set', '--cells', String(CAP)])).exitCode).toBe(0);

  const server = await openRedis({ home: cli.home });
  const redis = connectRedis(server.address, 'worker');
  const queue = openQueue(redis, PREFIX);
  const slots = new Slots(redis, { prefix: PREFIX });
  const socket = 'path' in server.address ? server.address.path : '';
  // Ports are leased by host, and these two are one machine.
  const [from] = (cli.environment().CELLPOOL_PORTS ?? '').split('-').map(Number);
  const ports = { one: `${from}-${Number(from) + 49}`, two: `${Number(from) + 50}-${Number(from) + 99}` };
  const homes = { one: join(cli.folder, 'one'), two: join(cli.folder, 'two') };
  for (const host of HOSTS) mkdirSync(homes[host]);
  const start = (host: (typeof HOSTS)[number], concurrency: number, ...flags: string[]) =>
    cli.start(['worker', '--concurrency', String(concurrency), '--json', ...flags], {
      env: {
        CELLPOOL_HOME: homes[host],
        CELLPOOL_HOST: host,
        CELLPOOL_PORTS: ports[host],
        REDIS_URL: `unix://${socket}`,
        ...PATIENT,
      },
    });
  const liveCells = async () => {
    // In one step: a cell that ends on one host and one that begins on the other are never both there.
    const both = redis.multi();
    for (const host of HOSTS) both.hvals(cellKeys(PREFIX, host).records);
    const replies = (await both.exec()) ?? [];
    return replies.flatMap(([, records]) => (records as string[]).map(one => cellRecordSchema.parse(JSON.parse(one))));
  };
  let over = false;
  const watch = async () => {
    // Far more often than a cell could begin and end unseen; without a pause the looks would be most of the load.
    for (; !over; await sleep(LOOK_MS)) {
      const cells = await liveCells();
      seen.looks += 1;
      seen.most = Math.max(seen.most, cells.length);
      seen.mostSlots = Math.max(seen.mostSlots, (await slots.list()).slots.length);
      for (const { host, worker } of cells) {
        seen.workers.add(worker.id);
        seen.mostOf.set(host, Math.max(seen.mostOf.get(host) ?? 0, cells.filter(one => one.host === host).length));
      }
    }
  };
  const follower = await TaskFollower.open({ queue, redis, prefix: PREFIX, taskIds: ids, onOutcome: () => undefined });
  const watching = watch();
  try {
    // Without a parent that would start it anew.
    const victim = start('one', CAP, '--no-supervisor');
    await vi.waitUntil(async () => (await liveCells()).length === CAP, { timeout: 2 * MINUTE, interval: 50 });
    // Neither can have all slots by itself.
    const others = [start('one', CAP - 1), start('two', CAP - 1)];
    for (const other of others) await other.says('Working with');
    victim.signal('SIGKILL');
    await victim.ended;
    const limit = AbortSignal.timeout(9 * MINUTE);
    await follower.untilAllEnded(limit);
    const jobs = await Promise.all(ids.map(id => queue.getJob(id)));
    states = await Promise.all(ids.map(id => queue.getJobState(id)));
    const results = jobs.map(job => (job?.data as TaskJob | undefined)?.results ?? []);
    committed = results.map(one => one.filter(({ outcome }) => outcome === 'committed').length);
    for (const other of others) other.signal('SIGTERM');
    exits = (await Promise.all(others.map(other => other.ended))).map(({ exitCode }) => exitCode);
    left = { slots: (await slots.list()).slots.length, cells: (await liveCells()).length };
    const told = results.flat().map(({ taskId, outcome, error }) => `${taskId} ${outcome} ${error?.message ?? ''}`);
    if (limit.aborted) expect.fail(`not ended within 9 minutes, which says nothing of the cap: ${states}; ${told}`);
  } finally {
    over = true;
    await watching;
    await follower.close();
    await queue.close();
    redis.disconnect();
    await server.close();
  }
}, 13 * MINUTE);

afterAll(async () => {
  await model.close();
  cli.remove();
});

test('there were never more cells than the cap, of all workers of all hosts together', () => {
  expect(seen.looks).toBeGreaterThan(100);
  expect(seen.most).toBe(CAP);
  expect(seen.mostSlots).toBe(CAP);
});

test('both hosts had some, of the killed worker and of others', () => {
  expect([...seen.mostOf.keys()].sort()).toEqual([...HOSTS]);
  expect(seen.workers.size).toBe(3);
});

test('each task was committed once', () => {
  expect(states).toEqual(ids.map(() => 'completed'));
  expect(committed).toEqual(ids.map(() => 1));
  for (const id of ids) expect(git(repository, 'rev-list', '--count', `main..cellpool/${id}`)).toBe('1');
});

test('nothing is left: no slot, no cell, no process', async () => {
  expect(exits).toEqual([0, 0]);
  expect(left).toEqual({ slots: 0, cells: 0 });
  await cli.expectNothingLeft(repository);
});
