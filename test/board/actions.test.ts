/** What may be done from the board, and by whom. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { accessOf } from '../../src/board/access.ts';
import { Cooldowns } from '../../src/redis/cooldown.ts';
import { endJob, openBoard } from '../support/board.ts';
import { addJob, jobOf, resultOf } from '../support/jobs.ts';
import { type TestRedis, testRedis } from '../support/redis.ts';

let server: TestRedis;
beforeAll(async () => {
  server = await testRedis();
});
afterAll(() => server.close());

const asked = async (response: Response) => [response.status, await response.json()];

test('a task that waits is cancelled, one that failed is retried, and each answer says what came of it', async () => {
  const board = await openBoard(server);
  const { queue } = board;
  await addJob(queue, jobOf('waits'));
  expect(await asked(await board.post('/api/tasks/waits/cancel'))).toEqual([
    200,
    { how: 'done', message: 'waits is off the queue.' },
  ]);
  expect(await queue.getJob('waits')).toBeUndefined();
  expect((await board.post('/api/tasks/waits/cancel')).status).toBe(404);
  expect((await board.post('/api/tasks/waits/retry')).status).toBe(404);

  await addJob(queue, jobOf('fails', { attempts: 1 }));
  await endJob(server, board, resultOf('fails', 'reverted'));
  expect(await queue.getJobState('fails')).toBe('failed');
  expect((await asked(await board.post('/api/tasks/fails/retry')))[0]).toBe(200);
  expect(await queue.getJobState('fails')).toBe('waiting');

  await endJob(server, board, resultOf('fails', 'committed'));
  for (const action of ['retry', 'cancel']) {
    const [status, answer] = await asked(await board.post(`/api/tasks/fails/${action}`));
    expect([status, answer]).toMatchObject([409, { how: 'refused' }]);
  }
});

test('the pool is paused and resumed, and resuming asks providers anew', async () => {
  const board = await openBoard(server);
  const cooldowns = new Cooldowns(board.redis, { prefix: board.prefix });
  await cooldowns.report('acme/large', { kind: 'refused', reason: '401' });
  expect((await board.post('/api/pause')).status).toBe(200);
  expect(await board.queue.isPaused()).toBe(true);
  expect(await (await board.get('/')).text()).toContain('No attempt is begun on any host.');
  expect(await asked(await board.post('/api/resume'))).toEqual([
    200,
    { how: 'done', message: 'Resumed. 1 cool-down of providers ended.' },
  ]);
  expect(await board.queue.isPaused()).toBe(false);
  expect(await cooldowns.list()).toEqual([]);
});

test('a form without a script is led back to its page', async () => {
  const board = await openBoard(server);
  await addJob(board.queue, jobOf('waits'), 3_600_000);
  const response = await fetch(`${board.url}/api/tasks/waits/retry`, {
    method: 'POST',
    redirect: 'manual',
    headers: { accept: 'text/html,*/*', origin: board.url, 'content-type': 'application/x-www-form-urlencoded' },
  });
  expect([response.status, response.headers.get('location')]).toEqual([303, '/tasks/waits']);
  expect(await board.queue.getJobState('waits')).toBe('waiting');
});

describe('nobody else gets anything done', () => {
  test.each([
    ['another site', { origin: 'http://evil.example', 'sec-fetch-site': 'cross-site' }],
    ['another port', { origin: 'http://127.0.0.1:1' }],
    ['a form that does not say where it comes from', { 'content-type': 'application/x-www-form-urlencoded' }],
  ])('%s', async (_name, headers) => {
    const board = await openBoard(server);
    await addJob(board.queue, jobOf('stays'));
    for (const path of ['/api/pause', '/api/tasks/stays/cancel', '/queues/api/queues/tasks/stays/clean']) {
      const method = path.startsWith('/queues') ? 'PUT' : 'POST';
      const response = await fetch(`${board.url}${path}`, { method, headers });
      expect([path, response.status]).toEqual([path, 403]);
    }
    expect(await board.queue.isPaused()).toBe(false);
    expect(await board.queue.getJobState('stays')).toBe('waiting');
  });

  test('by GET', async () => {
    const board = await openBoard(server);
    for (const path of ['/api/pause', '/api/tasks/x/cancel']) expect((await board.get(path)).status).toBe(404);
    expect(await board.queue.isPaused()).toBe(false);
  });

  test('with more to say than fits', async () => {
    const board = await openBoard(server);
    const response = await fetch(`${board.url}/api/pause`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: 'x'.repeat(300 * 1024),
    });
    expect(response.status).toBe(413);
    const endless = new ReadableStream({ pull: controller => controller.enqueue(new Uint8Array(1_024)) });
    const unsaid = await fetch(`${board.url}/api/pause`, {
      ...{ method: 'POST', body: endless, duplex: 'half' },
      headers: { 'content-type': 'application/json' },
    } as RequestInit);
    expect(unsaid.status).toBe(411);
    expect(await board.queue.isPaused()).toBe(false);
  });
});

test('with a password all but the health checks want it, streams and Bull Board too', async () => {
  const credentials = accessOf({ host: '127.0.0.1', auth: 'ada:correct-horse', token: 'token-1234' });
  const board = await openBoard(server, { credentials });
  const basic = { authorization: `Basic ${Buffer.from('ada:correct-horse').toString('base64')}` };
  const bearer = { authorization: 'Bearer token-1234' };
  for (const path of ['/', '/api/pool', '/queues', '/queues/api/queues', '/events', '/assets/board.js', '/nothing']) {
    const refused = await board.get(path);
    expect([path, refused.status]).toEqual([path, 401]);
    expect(refused.headers.get('www-authenticate')).toMatch(/^Basic realm="cellpool"/);
    expect(await refused.text()).toBe('This board wants to know who asks.\n');
    for (const headers of [basic, bearer]) {
      const let_in = await board.get(path, headers);
      expect([path, let_in.status]).toEqual([path, path === '/nothing' ? 404 : 200]);
      await let_in.body?.cancel();
    }
  }
  for (const path of ['/healthz', '/readyz']) expect((await board.get(path)).status).toBe(200);
  expect((await board.post('/api/pause')).status).toBe(401);
  expect((await board.post('/api/pause', bearer)).status).toBe(200);
  expect(board.said.join()).not.toMatch(/correct-horse|token-1234/);
});
