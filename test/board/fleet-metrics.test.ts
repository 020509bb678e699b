/** What the metrics tell of the fleet's caps and of the slots that count for them. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { metricsText } from '../../src/board/metrics.ts';
import { type SlotOwner, Slots } from '../../src/redis/slots.ts';
import { WorkerList } from '../../src/redis/worker-list.ts';
import { readPrometheus } from '../support/prometheus.ts';
import { type TestRedis, testRedis } from '../support/redis.ts';
import { viewContext } from '../support/view.ts';

let server: TestRedis;
beforeAll(async () => {
  server = await testRedis();
});
afterAll(() => server.close());

const ownerOf = (host: string, taskId: string): SlotOwner => ({
  ...{ host, home: '/home', taskId, attempt: 1, repository: '/repo' },
  worker: { id: `${host}.1`, pid: 1, startTime: '1', bootId: 'b', pidNamespace: 'n' },
});

test('the slots of each host are told, and the caps that there are', async () => {
  const [redis, prefix] = [await server.connect('producer'), server.prefix()];
  const context = viewContext(redis, prefix);
  const slots = new Slots(redis, { prefix });
  const told = async (name: string) => {
    const { text } = await metricsText(context);
    const samples = readPrometheus(text).get(name)?.samples ?? expect.fail(`there is no metric ${name}`);
    return Object.fromEntries(samples.map(({ labels, value }) => [Object.values(labels).join(' '), value]));
  };
  await new WorkerList(redis, { prefix }).beat({
    ...{ id: 'one.1', host: 'one', pid: 1, startTime: '1', bootId: 'b', startedAt: 1, concurrency: 5 },
    ...{ draining: false, running: [] },
  });
  expect(await told('cellpool_slots_cap')).toEqual({});
  expect(await told('cellpool_slots_leased')).toEqual({ one: 0 });
  // Of a host whose workers are silent too: its slots count until they run out.
  for (const [host, task] of ['one a', 'gone b', 'gone c'].map(one => one.split(' '))) {
    expect((await slots.acquire(ownerOf(host ?? '', task ?? ''), null)).granted).toBe(true);
  }
  await slots.set({ cells: 7 });
  expect(await told('cellpool_slots_leased')).toEqual({ gone: 2, one: 1 });
  expect(await told('cellpool_slots_cap')).toEqual({ fleet: 7 });
  await slots.set({ cells: null, hostCells: 0 });
  expect(await told('cellpool_slots_cap')).toEqual({ host: 0 });
  expect(await told('cellpool_slots')).toEqual({ gone: 0, one: 5 });
});
