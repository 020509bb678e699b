/** When a server counts as ready, tried with tiny programs that are not quite the right one. */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import getPort from 'get-port';
import { describe, expect, onTestFinished, test } from 'vitest';
import { askHealth, waitUntilReady } from '../../src/cell/ready.ts';
import { BoundedLog } from '../../src/os/bounded-log.ts';
import { type OwnedProcess, startProcess } from '../../src/os/process.ts';
import { BOUND } from '../support/bound.ts';
import { occupy } from '../support/cell.ts';
import { tempFolder } from '../support/repository.ts';

const BOOT_MS = 1_500;
/** For servers whose end is waited for: far more than they need, so that the limit plays no part. */
const LONG_MS = 30_000;

/** A program of test/fixtures/servers, once it says that it listens. */
async function startFake(name: string): Promise<{ server: OwnedProcess; baseUrl: string; said: () => string }> {
  const port = await getPort({ host: '127.0.0.1' });
  const program = fileURLToPath(new URL(`../fixtures/servers/${name}.mjs`, import.meta.url));
  const folder = tempFolder('fake');
  let said = '';
  let heard: () => void = () => undefined;
  const listening = new Promise<void>(resolve => {
    heard = resolve;
  });
  const server = await startProcess([process.execPath, program, String(port)], {
    cwd: folder,
    env: { PATH: process.env.PATH ?? '' },
    log: new BoundedLog(join(folder, 'log')),
    onOutput: text => {
      said += text;
      if (said.includes('listening')) heard();
    },
  });
  onTestFinished(() => server.stop(0));
  await Promise.race([listening, server.exited]);
  return { server, baseUrl: `http://127.0.0.1:${port}`, said: () => said };
}

const ready = ({ server, baseUrl }: { server: OwnedProcess; baseUrl: string }, bootMs: number, signal?: AbortSignal) =>
  waitUntilReady(server, { baseUrl, password: 'ours', bootMs, signal });

describe('a server is not ready', () => {
  test('when it dies: the wait ends at once, with its exit code and its last words', async () => {
    const fake = await startFake('dies-at-once');
    await expect(ready(fake, LONG_MS)).rejects.toMatchObject({
      code: 'SERVER_EXITED',
      message: expect.stringMatching(/ended with code 3: .*cannot go on: no such thing as a plugin$/s),
      facts: { exitCode: 3, signal: null },
    });
  });

  test('when it is killed while it is waited for', async () => {
    const fake = await startFake('never-answers');
    const waiting = ready(fake, LONG_MS);
    waiting.catch(() => undefined);
    await expect.poll(fake.said, BOUND).toContain('connected');
    process.kill(fake.server.pid, 'SIGKILL');
    await expect(waiting).rejects.toMatchObject({ code: 'SERVER_EXITED', facts: { signal: 'SIGKILL' } });
  });

  test('when it accepts connections and never answers: every request has a limit of its own', async () => {
    const fake = await startFake('never-answers');
    await expect(ready(fake, BOOT_MS)).rejects.toMatchObject({
      code: 'SPAWN_FAILED',
      message: expect.stringContaining(`did not answer within ${BOOT_MS} ms: listening`),
    });
    await expect.poll(() => fake.said().split('connected').length, BOUND).toBeGreaterThan(2);
  });

  test("when it lets everybody in: that is a stranger's server, not ours", async () => {
    const fake = await startFake('welcomes-everybody');
    expect(await askHealth(fake.baseUrl, 'anything', 20_000)).toBe('0.0.0');
    await expect(ready(fake, BOOT_MS)).rejects.toMatchObject({ code: 'SPAWN_FAILED' });
  });

  test('when it refuses our password: that is a stale server with another one', async () => {
    const fake = await startFake('refuses-everybody');
    expect(await askHealth(fake.baseUrl, 'ours')).toBeNull();
    await expect(ready(fake, BOOT_MS)).rejects.toMatchObject({ code: 'SPAWN_FAILED' });
  });

  test('when another program answers in its place and it has ended itself', async () => {
    const fake = await startFake('dies-at-once');
    await fake.server.exited;
    const stranger = await occupy(Number(new URL(fake.baseUrl).port), '127.0.0.1');
    onTestFinished(() => stranger.close());
    await expect(ready(fake, LONG_MS)).rejects.toMatchObject({ code: 'SERVER_EXITED' });
  });

  test('when the wait is cancelled', async () => {
    const fake = await startFake('never-answers');
    const cancel = new AbortController();
    const waiting = ready(fake, LONG_MS, cancel.signal);
    waiting.catch(() => undefined);
    await expect.poll(fake.said, BOUND).toContain('connected');
    cancel.abort();
    await expect(waiting).rejects.toMatchObject({ code: 'CANCELLED' });
  });
});

test('nobody listening is an answer: not healthy', async () => {
  const port = await getPort({ host: '127.0.0.1' });
  expect(await askHealth(`http://127.0.0.1:${port}`, 'ours')).toBeNull();
});
