/** The board in a real browser, over a real Redis. Pictures of it are left in `pictures/`, to be looked at. */
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { endJob, enterCell, openBoard, type TestBoard } from '../support/board.ts';
import { addJob, jobOf, resultOf } from '../support/jobs.ts';
import { type TestRedis, testRedis } from '../support/redis.ts';
import { CHROMIUM, expectNoSideways, faintTexts, openBrowser, openPage, PICTURES } from './chromium.ts';
import { seed } from './seed.ts';

if (CHROMIUM === undefined) {
  process.stdout.write(
    'The browser tests are passed over: there is no Chromium here (apt-get install chromium, or CHROMIUM_BIN).\n',
  );
}

const PHONE = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true } as const;

describe.skipIf(CHROMIUM === undefined)('the board', () => {
  let server: TestRedis;
  let opened: { browser: Browser; close(): Promise<void> };
  let board: TestBoard;

  beforeAll(async () => {
    server = await testRedis();
    opened = await openBrowser();
  });
  afterAll(async () => {
    await opened.close();
    await server.close();
  });
  beforeEach(async () => {
    board = await openBoard(server, { live: { everyMs: 100 } });
  });

  test('the live page shows what changes without being loaded again, and keeps the focus where it is', async () => {
    await seed(server, board);
    const { page, complaints } = await openPage(opened.browser);
    await page.goto(board.url);
    await page.waitForSelector('body[data-updated]');
    await page.evaluate('window.same = true');
    const link = page.locator('#cells a', { hasText: 'working-1' });
    await link.focus();
    const before = await page.locator('[data-key] .passing').first().textContent();
    const { cellId, registry } = await enterCell(board, 'newcomer', { host: 'build-7', createdAt: 1 });
    const row = page.locator(`[data-key="${cellId}"]`);
    await row.waitFor();
    registry.stage(cellId, 'test');
    await row.locator('.badge.test').waitFor();
    await registry.erase(cellId);
    await row.waitFor({ state: 'detached' });
    expect(await page.evaluate('document.activeElement.textContent')).toBe('working-1');
    // Not by waiting for a function in the page: its policy lets none be made of words.
    await expect
      .poll(() => page.locator('[data-key] .passing').first().textContent(), { timeout: 10_000 })
      .not.toBe(before);
    expect(await page.evaluate('window.same')).toBe(true);
    expect(complaints).toEqual([]);
  });

  test('the pool is paused and resumed from the page, once that was confirmed', async () => {
    const { page, complaints } = await openPage(opened.browser);
    await page.goto(board.url);
    await page.waitForSelector('body[data-updated]');
    page.once('dialog', dialog => void dialog.dismiss());
    await page.getByRole('button', { name: 'Pause' }).click();
    expect(await board.queue.isPaused()).toBe(false);
    page.once('dialog', dialog => void dialog.accept());
    await page.getByRole('button', { name: 'Pause' }).click();
    await page.getByRole('status').filter({ hasText: 'Paused: no attempt is begun' }).waitFor();
    await page.getByRole('button', { name: 'Resume' }).click();
    await page.getByRole('button', { name: 'Pause' }).waitFor();
    expect(await board.queue.isPaused()).toBe(false);
    expect(complaints).toEqual([]);
  });

  test('a task is followed, cancelled and retried from its page', async () => {
    await addJob(board.queue, jobOf('fails', { attempts: 1, title: 'It fails at first' }));
    await endJob(server, board, { ...resultOf('fails', 'reverted'), error: { code: 'TESTS_FAILED', message: 'no' } });
    const { page, complaints } = await openPage(opened.browser);
    await page.goto(`${board.url}/tasks/fails`);
    await page.getByRole('button', { name: 'Retry' }).click();
    await page.getByRole('status').filter({ hasText: 'fails is queued again' }).waitFor();
    await page.locator('#task-state .badge', { hasText: 'waiting' }).waitFor();
    page.once('dialog', dialog => void dialog.accept());
    await page.getByRole('button', { name: 'Cancel' }).click();
    await page.getByRole('status').filter({ hasText: 'fails is off the queue.' }).waitFor();
    expect(await board.queue.getJob('fails')).toBeUndefined();
    expect(complaints).toEqual([]);
  });

  test('tasks are cancelled and retried from the live page, and what is refused is said there', async () => {
    await addJob(board.queue, jobOf('fails', { attempts: 1 }));
    await endJob(server, board, { ...resultOf('fails', 'reverted'), error: { code: 'TESTS_FAILED', message: 'no' } });
    await addJob(board.queue, jobOf('unwanted'));
    await enterCell(board, 'unwanted', { stage: 'execute' });
    const { page, complaints } = await openPage(opened.browser);
    await page.goto(board.url);
    await page.waitForSelector('body[data-updated]');
    page.once('dialog', dialog => void dialog.accept());
    await page.getByRole('button', { name: 'Cancel unwanted' }).click();
    await page.getByRole('status').filter({ hasText: 'unwanted is off the queue.' }).waitFor();
    expect(await board.queue.getJob('unwanted')).toBeUndefined();
    const retry = page.getByRole('button', { name: 'Retry fails' });
    page.once('dialog', dialog => void dialog.accept());
    await retry.click();
    await page.getByRole('status').filter({ hasText: 'fails is queued again' }).waitFor();
    await retry.waitFor({ state: 'detached' });
    expect(await page.evaluate('document.activeElement.id')).toBe('answer');
    expect(complaints).toEqual([]);
    // An error of the board is no answer of an action, and its words stand elsewhere in it.
    board.redis.disconnect();
    page.once('dialog', dialog => void dialog.accept());
    await page.getByRole('button', { name: 'Pause' }).click();
    await page.getByRole('status').filter({ hasText: 'Redis went away' }).waitFor();
  });

  test('a page says when the board is gone, and goes on when it is back', async () => {
    const { page } = await openPage(opened.browser);
    await page.goto(board.url);
    await page.waitForSelector('body[data-updated]');
    await page.route('**/events', route => route.abort());
    board.running.streams.close();
    const trouble = page.locator('#trouble');
    await trouble.filter({ hasText: 'The board does not answer' }).waitFor();
    await page.unroute('**/events');
    await trouble.waitFor({ state: 'hidden' });
  });

  test('Bull Board opens, shows the queue and its jobs, and pauses it', async () => {
    await addJob(board.queue, jobOf('seen-there'));
    const { page, complaints } = await openPage(opened.browser);
    await page.goto(`${board.url}/queues/`);
    expect(page.url()).toBe(`${board.url}/queues`);
    await page.goto(`${board.url}/queues/queue/tasks?status=waiting`);
    await page.getByText('seen-there').first().waitFor();
    await page.screenshot({ path: join(PICTURES, 'bull-board.png'), fullPage: true });
    const pause = "fetch('/queues/api/queues/tasks/pause', { method: 'PUT' }).then(({ ok }) => ok)";
    expect(await page.evaluate(pause)).toBe(true);
    expect(await board.queue.isPaused()).toBe(true);
    expect(complaints).toEqual([]);
  });

  test('a page of another site gets nothing done, whatever it makes the browser send', async () => {
    const { page } = await openPage(opened.browser);
    const form = `<form method="post" action="${board.url}/api/pause"><button>Win a prize</button></form>`;
    await page.route('http://prizes.example/', route => route.fulfill({ contentType: 'text/html', body: form }));
    await page.goto('http://prizes.example/');
    const answer = page.waitForResponse(`${board.url}/api/pause`);
    await page.getByRole('button').click();
    expect((await answer).status()).toBe(403);
    expect(await board.queue.isPaused()).toBe(false);
  });

  test('without JavaScript everything can be read, and the pool be paused', async () => {
    await seed(server, board);
    const { page } = await openPage(opened.browser, { javaScriptEnabled: false });
    await page.goto(board.url);
    await page.getByText('working-0').first().waitFor();
    await page.getByRole('button', { name: 'Pause' }).click();
    await page.getByText('No attempt is begun on any host.').waitFor();
    expect(await board.queue.isPaused()).toBe(true);
    await page.goto(`${board.url}/tasks/fix-login`);
    await page.getByText('The form refuses an empty password now').waitFor();
  });

  test('what an agent wrote runs nowhere', async () => {
    const evil = `"></pre><script>document.title = 'owned'</script><img src=x onerror="document.title = 'owned'">`;
    await addJob(board.queue, jobOf('evil', { title: evil, prompt: evil }));
    await endJob(server, board, {
      ...resultOf('evil', 'failed'),
      error: { code: evil, message: evil },
      filesModified: [evil],
    });
    const { page, complaints } = await openPage(opened.browser);
    for (const path of ['/', '/tasks', '/tasks/evil']) {
      await page.goto(`${board.url}${path}`);
      if (path !== '/tasks') await page.waitForSelector('body[data-updated]');
      expect(await page.locator('img, main script').count()).toBe(0);
      expect(await page.title()).not.toBe('owned');
    }
    expect(complaints).toEqual([]);
  });

  describe.each(['light', 'dark'] as const)('in %s colours', colorScheme => {
    test('pages are wide enough for every screen, and every text stands out from what is behind it', async () => {
      await seed(server, board);
      for (const [size, options] of [
        ['desk', {}],
        ['phone', PHONE],
      ] as const) {
        const { page, complaints } = await openPage(opened.browser, { ...options, colorScheme });
        for (const [name, path] of [
          ['pool', '/'],
          ['tasks', '/tasks'],
          ['task', '/tasks/fix-login'],
          ['elsewhere', '/tasks/task-failed'],
        ] as const) {
          await page.goto(`${board.url}${path}`);
          if (name !== 'tasks') await page.waitForSelector('body[data-updated]');
          await expectNoSideways(page);
          expect(await faintTexts(page)).toEqual([]);
          await page.screenshot({ path: join(PICTURES, `${name}-${size}-${colorScheme}.png`), fullPage: true });
        }
        expect(complaints).toEqual([]);
      }
    });
  });
});
