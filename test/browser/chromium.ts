/** Chromium of the machine, driven by playwright-core, with a HOME that is removed again. */
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import { expect, onTestFinished } from 'vitest';

const PLACES = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

export const CHROMIUM = process.env.CHROMIUM_BIN || PLACES.find(path => existsSync(path));

/** Pictures to be looked at; git leaves them alone. */
export const PICTURES = fileURLToPath(new URL('./pictures', import.meta.url));

export async function openBrowser(): Promise<{ browser: Browser; close(): Promise<void> }> {
  const home = await mkdtemp(join(tmpdir(), 'h-'));
  await mkdir(PICTURES, { recursive: true });
  const browser = await chromium.launch({
    ...(CHROMIUM === undefined ? {} : { executablePath: CHROMIUM }),
    // Containers give no user namespaces to Chromium's own sandbox; only pages of ours are opened.
    args: ['--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu'],
    env: {
      ...process.env,
      HOME: home,
      XDG_CONFIG_HOME: join(home, 'config'),
      XDG_CACHE_HOME: join(home, 'cache'),
    } as Record<string, string>,
  });
  return {
    browser,
    async close() {
      await browser.close();
      await rm(home, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

export interface WatchedPage {
  page: Page;
  /** What the browser complained of: errors of scripts, and what the page's policy did not let through. */
  complaints: string[];
}

export async function openPage(browser: Browser, options: BrowserContextOptions = {}): Promise<WatchedPage> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  onTestFinished(() => context.close());
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on('console', message => {
    if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text());
  });
  page.on('pageerror', error => complaints.push(error.message));
  return { page, complaints };
}

/** Where the page is wider than the screen, a person scrolls to and fro to read a line. */
export async function expectNoSideways(page: Page): Promise<void> {
  const [needed, given] = await page.evaluate<[number, number]>(
    '[document.documentElement.scrollWidth, window.innerWidth]',
  );
  expect(needed).toBeLessThanOrEqual(given);
}

const FAINT_TEXTS = readFileSync(new URL('./faint-texts.js', import.meta.url), 'utf8');

/** Texts whose colour is too near to what lies behind them (WCAG AA, 4.5 to 1), as `text: ratio`. */
export function faintTexts(page: Page): Promise<string[]> {
  return page.evaluate(FAINT_TEXTS);
}
