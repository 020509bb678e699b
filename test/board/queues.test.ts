/** Bull Board below the board's own guard. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Cooldowns } from '../../src/redis/cooldown.ts';
import { openBoard, type TestBoard } from '../support/board.ts';
import { addJob, jobOf } from '../support/jobs.ts';
import { type TestRedis, testRedis } from '../support/redis.ts';
import { addLanding, landingJobOf } from '../support/shown-landings.ts';

let server: TestRedis;
beforeAll(async () => {
  server = await testRedis();
});
afterAll(() => server.close());

/** As Bull Board's own page does it. */
function ask({ url }: TestBoard, method: string, path: string, body?: unknown): Promise<Response> {
  return fetch(`${url}/queues/api/queues${path}`, {
    method,
    headers: { 'content-type': 'application/json', origin: url, 'sec-fetch-site': 'same-origin' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
}

test('its page and files are there, and ask nothing of any other site', async () => {
  const board = await openBoard(server);
  const page = await board.get('/queues');
  expect(page.status).toBe(200);
  const text = await page.text();
  expect(text).not.toMatch(/(?:src|href)="(?:https?:)?\/\//);
  const scripts = [...text.matchAll(/src="(static\/[^"]+)"/g)].map(([, path]) => path);
  expect(scripts.length).toBeGreaterThan(0);
  for (const path of scripts) expect((await board.get(`/queues/${path}`)).status).toBe(200);
  const redirect = await board.get('/queues/');
  expect([redirect.status, redirect.headers.get('location')]).toEqual([301, '/queues']);
  for (const path of ['..%2f..%2fpackage.json', '%2e%2e/%2e%2e/package.json', '..%5c..%5cpackage.json']) {
    expect((await board.get(`/queues/static/${path}`)).status).toBe(404);
  }
});

test('it tells the queue and its jobs, with a link to the task of each', async () => {
  const board = await openBoard(server);
  await addJob(board.queue, jobOf('seen'));
  const response = await board.get('/queues/api/queues?activeQueue=tasks&status=waiting&page=1');
  const { queues } = (await response.json()) as { queues: { name: string; jobs: Record<string, unknown>[] }[] };
  expect(queues.map(({ name }) => name)).toEqual(['tasks', 'landing']);
  expect(queues[0]?.jobs).toMatchObject([{ id: 'seen', externalUrl: { href: '/tasks/seen' } }]);
});

test('jobs and queue are moved from there', async () => {
  const board = await openBoard(server);
  const { queue } = board;
  await addJob(queue, jobOf('later'), 3_600_000);
  await addJob(queue, jobOf('unwanted'));
  expect((await ask(board, 'PUT', '/no-such/pause')).status).toBe(404);
  expect((await ask(board, 'PUT', '/tasks/pause')).status).toBeLessThan(300);
  expect(await queue.isPaused()).toBe(true);
  const cooldowns = new Cooldowns(board.redis, { prefix: board.prefix });
  await cooldowns.report('acme/large', { kind: 'refused', reason: '401 bad key' });
  expect((await ask(board, 'PUT', '/tasks/resume')).status).toBeLessThan(300);
  expect(await queue.isPaused()).toBe(false);
  // As the command of that name does it; BullMQ's own resume knows of no cool-downs.
  expect(await cooldowns.list()).toEqual([]);
  expect((await ask(board, 'PUT', '/pause')).status).toBeLessThan(300);
  expect(await queue.isPaused()).toBe(true);
  expect((await ask(board, 'PUT', '/resume')).status).toBeLessThan(300);
  expect(await queue.isPaused()).toBe(false);
  expect((await ask(board, 'PUT', '/tasks/later/promote')).status).toBeLessThan(300);
  expect(await queue.getJobState('later')).toBe('waiting');
  expect((await ask(board, 'PUT', '/tasks/nobody/promote')).status).toBe(404);
  expect((await ask(board, 'PUT', '/tasks/unwanted/clean')).status).toBeLessThan(300);
  expect(await queue.getJob('unwanted')).toBeUndefined();
});

test('no job is added, changed or put elsewhere from there, and no queue emptied, slowed down or worked anew', async () => {
  const board = await openBoard(server);
  const { queue } = board;
  await addJob(queue, jobOf('stays', { test: 'npm test' }));
  await addJob(queue, jobOf('later'), 3_600_000);
  const evil = { name: 'task', data: jobOf('evil', { test: 'touch /tmp/evil' }), options: {} };
  for (const [method, path, body] of [
    ['POST', '/tasks/add', evil],
    ['PATCH', '/tasks/stays/update-data', evil],
    ['PATCH', '/tasks/stays/priority', { priority: 1 }],
    ['PATCH', '/tasks/stays/delay', { delay: 1 }],
    ['PUT', '/tasks/promote', undefined],
    ['PUT', '/tasks/empty', undefined],
    ['PUT', '/tasks/obliterate', undefined],
    ['PUT', '/tasks/clean/wait', undefined],
    ['PUT', '/tasks/clean/completed', undefined],
    ['PUT', '/tasks/retry/completed', undefined],
    ['PUT', '/tasks/retry/failed', undefined],
    ['PUT', '/tasks/concurrency', { concurrency: 1 }],
    ['PUT', '/tasks/rate-limit', { max: 1, duration: 1 }],
    ['DELETE', '/tasks', undefined],
  ] as const) {
    const response = await ask(board, method, path, body);
    expect([path, response.status, board.said]).toEqual([path, 403, []]);
  }
  expect((await queue.getJob('stays'))?.data).toMatchObject({ task: { id: 'stays', test: 'npm test' } });
  expect(await queue.getJob('evil')).toBeUndefined();
  expect(await queue.getJobCounts()).toMatchObject({ waiting: 1, delayed: 1, prioritized: 0 });
});

test('it tells of landings too, with a link to the task of each, and moves none of them', async () => {
  const board = await openBoard(server);
  const { landing, queue } = board;
  await addLanding(landing, landingJobOf('fix'));
  await landing.add('landing', { x: 1 }, { jobId: 'a b<script>' });
  // A task may have the name of a landing job, and its own buttons.
  await addJob(queue, jobOf('fix.aaaaaaaaaaaa'));
  const response = await board.get('/queues/api/queues?activeQueue=landing&status=waiting&page=1');
  const { queues } = (await response.json()) as {
    queues: { name: string; readOnlyMode: boolean; jobs: { id: string; externalUrl: { href: string } }[] }[];
  };
  const shown = queues.find(({ name }) => name === 'landing');
  expect(shown?.readOnlyMode).toBe(true);
  expect(shown?.jobs.map(({ id, externalUrl }) => [id, externalUrl.href]).sort()).toEqual([
    ['a b<script>', '/tasks'],
    ['fix.aaaaaaaaaaaa', '/tasks/fix'],
  ]);
  for (const [method, path] of [
    ['PUT', '/landing/fix.aaaaaaaaaaaa/clean'],
    ['PUT', '/landing/fix.aaaaaaaaaaaa/retry'],
    ['PUT', '/landing/fix.aaaaaaaaaaaa/promote'],
    ['PUT', '/landing/pause'],
    ['PUT', '/landing/resume'],
    ['PUT', '/landing/empty'],
    ['PUT', '/landing/clean/wait'],
    ['PUT', '/landing/retry/failed'],
    ['POST', '/landing/add'],
    ['PATCH', '/landing/fix.aaaaaaaaaaaa/update-data'],
    ['DELETE', '/landing'],
  ] as const) {
    expect([path, (await ask(board, method, path)).status, board.said]).toEqual([path, 403, []]);
  }
  expect(await queue.getJobState('fix.aaaaaaaaaaaa')).toBe('waiting');
  expect([await queue.isPaused(), await landing.isPaused()]).toEqual([false, false]);
  expect(await landing.getWaitingCount()).toBe(2);
  // All queues at once are the pool.
  expect((await ask(board, 'PUT', '/pause')).status).toBeLessThan(300);
  expect([await queue.isPaused(), await landing.isPaused()]).toEqual([true, false]);
});

test('what it cannot read is told on the output of the board, and not to whoever asks', async () => {
  const board = await openBoard(server);
  await addJob(board.queue, jobOf('broken'));
  await board.redis.hset(board.queue.toKey('broken'), 'data', '{"half":');
  const response = await board.get('/queues/api/queues?activeQueue=tasks&status=waiting&page=1');
  expect(response.status).toBe(500);
  expect(await response.text()).not.toContain('JSON');
  expect(board.said).toEqual([expect.stringMatching(/Bull Board cannot read what is on the queue.*It said: .*JSON/)]);
  expect(board.said[0]?.length).toBeLessThan(600);
});
