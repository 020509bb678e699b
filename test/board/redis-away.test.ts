/** A board whose Redis goes away, and comes back. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import { startBoard } from '../../src/board/server.ts';
import { boardActions } from '../../src/cli/board-actions.ts';
import { openLandingQueue } from '../../src/job/landing.ts';
import { openQueue } from '../../src/job/queue.ts';
import { checkRedis, connectRedis } from '../../src/redis/connection.ts';
import { openPrivateServer } from '../../src/redis/private-server.ts';
import { openBoard, openEvents } from '../support/board.ts';
import { addJob, jobOf } from '../support/jobs.ts';
import { testRedis } from '../support/redis.ts';

test('what Redis refuses is told with its reason, and not as its being away', async () => {
  const server = await testRedis();
  onTestFinished(() => server.close());
  const board = await openBoard(server);
  const { redis } = board;
  await redis.config('SET', 'maxmemory', '1');
  const answer = await board.get('/metrics');
  await redis.config('SET', 'maxmemory', '0');
  expect(answer.status).toBe(503);
  expect(await answer.json()).toEqual({ error: expect.stringMatching(/^Redis refuses: OOM /) });
  expect((await board.get('/metrics')).status).toBe(200);
});

test('it lives on and says so, to pages, programs and listeners, and goes on when Redis is back', async () => {
  const home = await mkdtemp(join(tmpdir(), 'r-'));
  onTestFinished(() => rm(home, { recursive: true, force: true }));
  let server = await openPrivateServer(home);
  onTestFinished(() => server.close());
  const redis = connectRedis({ path: server.socket }, 'producer');
  onTestFinished(() => redis.disconnect());
  await checkRedis(redis);
  const prefix = 'away';
  const view = { redis, queue: openQueue(redis, prefix), landing: openLandingQueue(redis, prefix), prefix };
  await addJob(view.queue, jobOf('before'));
  const said: string[] = [];
  const board = await startBoard({
    ...{ host: '127.0.0.1', port: 0, credentials: null, live: { everyMs: 20 } },
    view,
    site: { home, host: 'here' },
    actions: boardActions(view),
    say: message => said.push(message),
  });
  onTestFinished(() => board.close());
  const url = board.url.replace(/\/$/, '');
  const status = async (path: string) => (await fetch(`${url}${path}`)).status;
  expect(await status('/readyz')).toBe(200);
  const events = await openEvents(`${url}/events`);
  expect((await events.next()).event).toBe('parts');

  await server.close();
  expect(await events.next()).toEqual({ event: 'away', data: { reason: 'Redis does not answer.' } });
  expect(await status('/healthz')).toBe(200);
  expect(await status('/readyz')).toBe(503);
  const page = await fetch(`${url}/`);
  expect(page.status).toBe(503);
  const text = await page.text();
  expect(text).toMatch(/id="trouble"[^>]*role="status">Redis does not answer\./);
  expect(text).toContain('data-events="/events"');
  for (const path of ['/api/pool', '/tasks', '/tasks/before', '/api/tasks/before', '/metrics', '/queues/api/queues']) {
    const response = await fetch(`${url}${path}`);
    expect([path, response.status]).toEqual([path, 503]);
    expect(await response.text()).not.toMatch(/\.ts|ioredis|node_modules|\s+at /);
  }
  const headers = { 'content-type': 'application/json' };
  expect((await fetch(`${url}/api/pause`, { method: 'POST', headers })).status).toBe(503);
  expect((await fetch(`${url}/api/tasks/before/cancel`, { method: 'POST', headers })).status).toBe(503);
  expect(said).toEqual([]);

  server = await openPrivateServer(home);
  const back = await events.next();
  expect(back.event).toBe('parts');
  await vi.waitUntil(async () => (await status('/readyz')) === 200, { timeout: 20_000, interval: 50 });
  expect(await (await fetch(`${url}/tasks/before`)).text()).toContain('before');
  await Promise.all([view.queue.close(), view.landing.close()]);
});
