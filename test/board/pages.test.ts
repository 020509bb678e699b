/** The pages of the board, over a real Redis. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Cooldowns } from '../../src/redis/cooldown.ts';
import { WorkerList } from '../../src/redis/worker-list.ts';
import { BOARD_HOST, endJob, enterCell, leaveArtifacts, openBoard } from '../support/board.ts';
import { addJob, jobOf, resultOf } from '../support/jobs.ts';
import { type TestRedis, testRedis } from '../support/redis.ts';

let server: TestRedis;
beforeAll(async () => {
  server = await testRedis();
});
afterAll(() => server.close());

/** What is read of a page: its text without tags. */
const textOf = (page: string) =>
  page
    .replace(/<(script|style)[^>]*>.*?<\/\1>/gs, '')
    .replace(/<[^>]+>/g, ' ')
    .replace(/\s+/g, ' ');

test('an empty pool is told as one, whole without any script', async () => {
  const board = await openBoard(server);
  const response = await board.get('/');
  expect(response.status).toBe(200);
  expect(response.headers.get('content-type')).toMatch(/^text\/html/);
  const text = textOf(await response.text());
  for (const said of ['No cell is at work.', 'No task has ended yet.', 'Nobody takes tasks', 'None.']) {
    expect(text).toContain(said);
  }
});

test('the live page tells cells by host, depths, cool-downs, workers and the latest outcomes', async () => {
  const board = await openBoard(server);
  const { queue, redis, prefix } = board;
  await addJob(queue, jobOf('ended', { title: 'Fix the login' }));
  const artifacts = await leaveArtifacts(board, 'ended', { 'changes.diff': '+x\n' });
  await endJob(server, board, { ...resultOf('ended', 'committed'), artifacts, costUsd: 0.5, tokensUsed: 12_345 });
  await addJob(queue, jobOf('waits'));
  await addJob(queue, jobOf('later'), 3_600_000);
  await enterCell(board, 'runs', { host: 'build-7', stage: 'execute', port: { port: 9_123, token: 't' } });
  await enterCell(board, 'other', { host: 'build-8', stage: 'test', attempt: 2 });
  await new Cooldowns(redis, { prefix }).report('acme/large', { kind: 'refused', reason: '401 bad key' });
  await new WorkerList(redis, { prefix }).beat({
    ...{ id: 'w1', host: 'build-7', pid: 77, startTime: '1', bootId: 'b', startedAt: Date.now() },
    ...{ concurrency: 8, running: ['runs'], draining: true },
  });
  const page = await (await board.get('/')).text();
  const text = textOf(page);
  for (const said of [
    'build-7 1 cell',
    'build-8 1 cell',
    '9123',
    'of 8 on 1 worker',
    'acme',
    '401 bad key',
    'pid 77',
    'draining',
    'Fix the login',
    '12.3k',
    '$0.50',
    '1 attempt, 12.3k tokens, $0.50',
  ]) {
    expect(text).toContain(said);
  }
  expect(page).toContain('<a href="/tasks/ended#transcript" aria-label="transcript of ended">');
  expect(page.indexOf('build-7')).toBeLessThan(page.indexOf('build-8'));
  // Once more, in the words of a screen reader: every table has a name, every column a head.
  expect(page.match(/<table /g)?.length).toBe(page.match(/<caption>/g)?.length);
  for (const landmark of ['<header', '<nav aria-label', '<main id="main"', 'lang="en"'])
    expect(page).toContain(landmark);
});

test('the task page tells its attempts with their stages, diff, test log and transcript', async () => {
  const board = await openBoard(server);
  await addJob(board.queue, jobOf('fix', { title: 'Fix it', prompt: 'Refuse it.', dependsOn: [] }));
  const transcript = {
    sessionId: 's',
    model: 'acme/large',
    messages: [
      { info: { role: 'user' }, parts: [{ type: 'text', text: 'Refuse it.' }] },
      { info: { role: 'assistant' }, parts: [{ type: 'text', text: 'It is refused now.' }] },
    ],
  };
  const artifacts = await leaveArtifacts(board, 'fix', {
    'transcript.json': JSON.stringify(transcript),
    'changes.diff': 'diff --git a/a b/a\n@@ -1 +1 @@\n-old\n+new\n',
    'test.log': 'ok 1\n',
  });
  const at = Date.now();
  await endJob(server, board, {
    ...resultOf('fix', 'committed'),
    artifacts,
    host: BOARD_HOST,
    filesModified: ['a'],
    tests: { passed: true, exitCode: 0, durationMs: 5 },
    stages: [
      { stage: 'spawn', startedAt: at, ms: 1_500 },
      { stage: 'execute', startedAt: at + 1_500, ms: 65_000 },
    ],
  });
  const page = await (await board.get('/tasks/fix')).text();
  const text = textOf(page);
  for (const said of ['Fix it', 'spawn 1.5 s', 'execute 1 min 05 s', 'It is refused now.', 'ok 1', '1 file changed']) {
    expect(text).toContain(said);
  }
  expect(page).toContain('<span class="line removed">-old\n</span><span class="line added">+new\n</span>');
  expect(page).toContain('<span class="line file">diff --git a/a b/a\n</span>');
  expect(await (await board.get('/tasks/fix/attempts/1')).text()).toContain('It is refused now.');
  const diff = await board.get('/tasks/fix/attempts/1/files/changes.diff');
  expect(diff.headers.get('content-type')).toBe('text/plain; charset=utf-8');
  expect(diff.headers.get('content-security-policy')).toContain('sandbox');
  expect(await diff.text()).toContain('-old\n+new\n');
});

test('what lies on another host is said to lie there, and what was removed to be gone', async () => {
  const board = await openBoard(server);
  const ended = async (id: string, artifacts: string, host: string) => {
    await addJob(board.queue, jobOf(id));
    await endJob(server, board, { ...resultOf(id, 'committed'), artifacts, host });
    return textOf(await (await board.get(`/tasks/${id}`)).text());
  };
  expect(await ended('far', '/state/artifacts/far/1-0123abcd', 'build-7')).toContain(
    'lie on the host build-7, in /state/artifacts/far/1-0123abcd',
  );
  expect(await ended('gone', `${board.home}/artifacts/gone/1-0123abcd`, BOARD_HOST)).toContain('have been removed');
  expect(await ended('outside', '/etc', BOARD_HOST)).toContain('outside the state folder of this board');
});

test('tasks are listed by state, a page at a time, and found by their id', async () => {
  const board = await openBoard(server);
  for (let index = 0; index < 101; index += 1) await addJob(board.queue, jobOf(`task-${index}`));
  await addJob(board.queue, jobOf('later'), 3_600_000);
  const first = await (await board.get('/tasks?state=waiting')).text();
  expect(first).toContain('/tasks/task-0"');
  expect(first).not.toContain('/tasks/task-100"');
  const next = /<a rel="next" href="([^"]+)"/.exec(first)?.[1]?.replaceAll('&amp;', '&') ?? '';
  const second = await (await board.get(next)).text();
  expect(second).toContain('/tasks/task-100"');
  expect(second).not.toContain('/tasks/task-0"');
  const found = await board.get('/tasks?id=later');
  expect([found.status, found.headers.get('location')]).toEqual([303, '/tasks/later']);
  expect((await board.get('/tasks?after=nonsense')).status).toBe(400);
});

test('a program that asks for a list of tasks wrongly is told all that is wrong, and gets no other list', async () => {
  const board = await openBoard(server);
  await addJob(board.queue, jobOf('waits'));
  const wrong = await board.get('/api/tasks?state=failed,runing,&limit=abc&after=nonsense');
  expect(wrong.status).toBe(400);
  const { error } = (await wrong.json()) as { error: string };
  expect(error.split('\n')).toEqual([
    'state: knows running, waiting, delayed, completed, failed, not "runing"',
    'state: knows running, waiting, delayed, completed, failed, not ""',
    'limit: is a whole number from 1 to 500, not "abc"',
    'after: is not the end of a page',
  ]);
  for (const limit of ['0', '501', '-1', '1.5', '1e2', '%20']) {
    expect([limit, (await board.get(`/api/tasks?limit=${limit}`)).status]).toEqual([limit, 400]);
  }
  for (const query of ['', '?state=&limit=', '?state=waiting,failed&limit=500']) {
    const { tasks } = (await (await board.get(`/api/tasks${query}`)).json()) as { tasks: { taskId: string }[] };
    expect([query, tasks.map(({ taskId }) => taskId)]).toEqual([query, ['waits']]);
  }
  expect(board.said).toEqual([]);
});

test('Prometheus is told of the pool', async () => {
  const board = await openBoard(server);
  await addJob(board.queue, jobOf('waits'));
  const response = await board.get('/metrics');
  expect(response.headers.get('content-type')).toMatch(/^text\/plain/);
  expect(await response.text()).toMatch(/^cellpool_queue_jobs\{.*state="waiting".*\} 1$/m);
});

test.each([
  ['/tasks/nobody', 404],
  ['/tasks/no%20id', 404],
  ['/tasks/..%2f..%2fetc', 404],
  ['/tasks?id=no%20id', 404],
  ['/nothing', 404],
  ['/api/nothing', 404],
  ['/api/tasks/nobody', 404],
  ['/events?task=nobody', 404],
  ['/assets/nothing', 404],
  ['/assets/..%2fboard.js', 404],
  ['/api/tasks?state=nonsense', 400],
])('%s answers %i in a short text', async (path, status) => {
  const board = await openBoard(server);
  const response = await board.get(path);
  expect(response.status).toBe(status);
  expect(await response.text()).not.toMatch(/\bat .*\.ts|node:internal|\/src\//);
  expect(board.said).toEqual([]);
});

test('every answer tells browsers to run and keep nothing that is not ours', async () => {
  const board = await openBoard(server);
  for (const path of ['/', '/tasks', '/nothing', '/api/pool', '/queues', '/healthz', '/tasks/nobody']) {
    const { headers } = await board.get(path);
    expect(headers.get('x-content-type-options')).toBe('nosniff');
    expect(headers.get('cache-control')).toBe('no-store');
    const policy = headers.get('content-security-policy') ?? '';
    expect(policy).toContain("frame-ancestors 'none'");
    expect(/script-src ([^;]*)/.exec(policy)?.[1]).toBe("'self'");
  }
  const page = await (await board.get('/')).text();
  expect(page).not.toMatch(/<script(?![^>]* src=)|<style|\sstyle=|\son\w+=/);
  for (const [, path = ''] of page.matchAll(/(?:src|href)="(\/assets\/[^"]+)"/g)) {
    expect((await board.get(path)).status).toBe(200);
  }
});
