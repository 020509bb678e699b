/** What agents, tasks and a Redis that anybody may write to bring onto the pages. */
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { BOARD_HOST, endJob, enterCell, leaveArtifacts, openBoard, openEvents } from '../support/board.ts';
import { addJob, jobOf, resultOf } from '../support/jobs.ts';
import { type TestRedis, testRedis } from '../support/redis.ts';

let server: TestRedis;
beforeAll(async () => {
  server = await testRedis();
});
afterAll(() => server.close());

/** Ends a text, an attribute, a comment, a script; and calls for help when it comes through. */
const EVIL = `"'></pre></title></script><script>alert(1)</script><img src=x onerror=alert(1)>&lt;`;

/** Tags and handlers that can only be of the text above. */
function expectHarmless(page: string): void {
  expect(page).not.toMatch(/<script>|<img|<svg onload/);
  expect(page.match(/<script[^>]*>/g)?.every(tag => tag.includes('src="/assets/'))).not.toBe(false);
}

test('a task whose every text is made to break out is shown as text, on every page and in every event', async () => {
  const board = await openBoard(server);
  await addJob(
    board.queue,
    jobOf('evil', { title: EVIL, prompt: EVIL, test: EVIL, metadata: { x: EVIL } }, `/${EVIL}`),
  );
  const transcript = {
    sessionId: EVIL,
    model: EVIL,
    messages: [
      { info: { role: 'user', error: { name: EVIL, data: { message: EVIL } } }, parts: [{ type: 'text', text: EVIL }] },
      {
        info: { role: 'assistant' },
        parts: [
          { type: 'reasoning', text: EVIL },
          { type: 'tool', tool: EVIL, state: { status: 'completed', input: { [EVIL]: EVIL }, output: EVIL } },
          { type: 'file', mime: EVIL, filename: EVIL },
        ],
      },
    ],
  };
  const artifacts = await leaveArtifacts(board, 'evil', {
    'transcript.json': JSON.stringify(transcript),
    'changes.diff': `+${EVIL}\n-${EVIL}\n@@ ${EVIL}\ndiff --git ${EVIL}\n`,
    'test.log': EVIL,
  });
  await endJob(server, board, {
    ...resultOf('evil', 'failed'),
    ...{ artifacts, host: BOARD_HOST, branch: EVIL, commit: EVIL, filesModified: [EVIL], diffSummary: EVIL },
    error: { code: EVIL, message: EVIL },
    hookFaults: [{ hook: 'afterSpawn', message: EVIL }],
  });
  const job = await board.queue.getJob('evil');
  await job?.log(EVIL);
  await enterCell(board, 'evil', {
    // A host is part of a key, which has no blanks.
    host: '"><script>alert(1)</script>',
    worker: { pid: 1, startTime: '1', bootId: 'b', pidNamespace: 'n', id: EVIL },
  });
  for (const path of ['/', '/tasks', '/tasks/evil']) {
    const page = await (await board.get(path)).text();
    expect(page).toContain('&lt;script&gt;');
    expectHarmless(page);
  }
  for (const path of ['/events', '/events?task=evil']) {
    const { data } = await (await openEvents(`${board.url}${path}`)).next();
    for (const part of Object.values((data as { parts: Record<string, string> }).parts)) expectHarmless(part);
  }
  expect(board.said).toEqual([]);
});

test('jobs that are none of ours are told of, and bring nothing down', async () => {
  const board = await openBoard(server);
  const { queue, redis } = board;
  await queue.add('task', { nonsense: EVIL }, { jobId: 'nonsense' });
  await queue.add('task', jobOf('other'), { jobId: 'misnamed' });
  await queue.add('task', { x: 1 }, { jobId: 'a b<script>' });
  await addJob(queue, jobOf('broken'));
  await redis.hset(queue.toKey('broken'), 'data', '{"half":');
  await redis.hset(`${board.prefix}:workers`, 'x', EVIL);
  for (const path of ['/', '/tasks', '/tasks/nonsense', '/tasks/misnamed', '/tasks/broken']) {
    const response = await board.get(path);
    expect([path, response.status]).toEqual([path, 200]);
    expectHarmless(await response.text());
  }
  expect((await board.get('/tasks/a%20b%3Cscript%3E')).status).toBe(404);
  expect(board.said).toEqual([]);
});

test('no path, name or link leads to a file that is none of the attempt', async () => {
  const board = await openBoard(server);
  const { home, queue } = board;
  const secret = join(home, 'secret.txt');
  await writeFile(secret, 'SECRET');
  const read = async (id: string, artifacts: string, file: string) => {
    await addJob(queue, jobOf(id));
    await endJob(server, board, { ...resultOf(id, 'committed'), artifacts, host: BOARD_HOST });
    const page = await (await board.get(`/tasks/${id}`)).text();
    expect(page).not.toContain('SECRET');
    for (const path of ['/tasks', '/api/tasks']) {
      const response = await board.get(`${path}/${id}/attempts/1/files/${file}`);
      expect(await response.text()).not.toContain('SECRET');
      expect(response.status).toBe(404);
    }
  };
  const good = await leaveArtifacts(board, 'names', { 'test.log': 'fine' });
  await writeFile(join(good, 'other.txt'), 'SECRET');
  await read('names', good, 'other.txt');
  for (const file of [
    '..%2f..%2f..%2fsecret.txt',
    '%2e%2e%2fsecret.txt',
    'test.log%00',
    '..',
    '%2fetc%2fpasswd',
    '.',
  ]) {
    const response = await board.get(`/tasks/names/attempts/1/files/${file}`);
    expect([file, response.status]).toEqual([file, 404]);
    expect(await response.text()).not.toContain('SECRET');
  }

  const linked = await leaveArtifacts(board, 'linked', {});
  await symlink(secret, join(linked, 'test.log'));
  await read('linked', linked, 'test.log');

  const outside = join(home, 'outside');
  await mkdir(outside);
  await writeFile(join(outside, 'test.log'), 'SECRET');
  await read('outside', outside, 'test.log');

  await mkdir(join(home, 'artifacts', 'folder'), { recursive: true });
  await symlink(outside, join(home, 'artifacts', 'folder', '1-0123abcd'));
  await read('folder', join(home, 'artifacts', 'folder', '1-0123abcd'), 'test.log');

  const others = await leaveArtifacts(board, 'theirs', { 'test.log': 'SECRET' });
  await read('mine', others, 'test.log');
  await read('dotted', `${home}/artifacts/dotted/../theirs/${others.split('/').at(-1)}`, 'test.log');
});
