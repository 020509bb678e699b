/** `cellpool board`, and the board beside a worker, as people start and stop them. */

import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { openEvents } from '../support/board.ts';
import { CliHome, jsonLines, type RunningCli } from '../support/cli.ts';

let cli: CliHome;
beforeEach(() => {
  cli = new CliHome();
});
afterEach(() => cli.remove());

/** Until its address stands on stdout. */
async function addressOf(board: RunningCli): Promise<string> {
  await vi.waitUntil(() => board.shown().includes('\n'), { timeout: 60_000, interval: 20 });
  return board.shown().trim();
}

test('a board tells its address on stdout, shows the pool, and ends well when told to stop, streams and all', async () => {
  const board = cli.start(['board', '--port', '0']);
  const url = await addressOf(board);
  expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/$/);
  expect(await (await fetch(url)).text()).toContain('No cell is at work.');
  expect(await (await fetch(`${url}healthz`)).text()).toBe('alive\n');
  for (const path of ['queues', 'assets/board.css', 'assets/board.js', 'assets/icon.svg', 'metrics']) {
    expect([path, (await fetch(`${url}${path}`)).status]).toEqual([path, 200]);
  }
  const events = await openEvents(`${url}events`);
  await events.next();
  board.signal('SIGINT');
  await events.ended();
  expect(await board.ended).toMatchObject({ exitCode: 0, stdout: `${url}\n` });
});

test('--json tells the address as one object, and SIGTERM ends it well too', async () => {
  const board = cli.start(['board', '--port', '0', '--json']);
  const said = await addressOf(board);
  expect(JSON.parse(said)).toEqual({ url: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+\/$/) });
  board.signal('SIGTERM');
  const { exitCode, stdout } = await board.ended;
  expect(exitCode).toBe(0);
  expect(jsonLines(stdout)).toHaveLength(1);
});

test('password and token come from the environment, and are asked for and never told', async () => {
  const env = { CELLPOOL_BOARD_AUTH: 'ada:correct-horse', CELLPOOL_BOARD_TOKEN: 'token-12345' };
  const board = cli.start(['board', '--port', '0', '--host', '0.0.0.0'], { env });
  const url = (await addressOf(board)).replace('0.0.0.0', '127.0.0.1');
  expect((await fetch(url)).status).toBe(401);
  expect((await fetch(`${url}readyz`)).status).toBe(200);
  const headers = { authorization: 'Bearer token-12345' };
  expect((await fetch(url, { headers })).status).toBe(200);
  board.signal('SIGTERM');
  const { exitCode, stdout, stderr } = await board.ended;
  expect(exitCode).toBe(0);
  expect(stdout + stderr).not.toMatch(/correct-horse|token-12345/);
});

describe('is refused, and nothing is begun', () => {
  test.each([
    [
      'another host without a password',
      ['--host', '0.0.0.0'],
      /^--host: "0\.0\.0\.0" can be reached from other machines: /,
    ],
    ['a host by name', ['--host', 'localhost.example.org'], /can be reached from other machines/],
    ['a password that is none', ['--auth', 'ada'], /^--auth: is written user:password$/m],
    ['a short token', ['--token', 'abc'], /^--token: has fewer than 8 characters$/m],
    ['a port that is none', ['--port', '70000'], /^--port: is a port from 0 to 65535, not "70000"$/m],
  ])('%s', async (_name, flags, message) => {
    const { exitCode, stdout, stderr } = await cli.run(['board', ...flags]);
    expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: '' });
    expect(stderr).toMatch(message);
  });

  test('all faults at once, those of variables under their names', async () => {
    const env = { CELLPOOL_BOARD_TOKEN: 'two words', CELLPOOL_BOARD_AUTH: '' };
    const { exitCode, stderr } = await cli.run(['board', '--port', 'x'], { env });
    expect(exitCode).toBe(2);
    expect(stderr).toBe(
      '--port: is a port from 0 to 65535, not "x"\n' +
        'CELLPOOL_BOARD_TOKEN: is made of letters, digits and signs of ASCII\n',
    );
  });

  test('a worker with a board that it may not have', async () => {
    for (const flags of [['--board-host', '0.0.0.0'], ['--no-supervisor']]) {
      const { exitCode, stderr } = await cli.run(['worker', '--board', ...flags]);
      expect(exitCode).toBe(2);
      expect(stderr).toMatch(/^--board(-host)?: /);
    }
  });
});

test('a port that somebody else has is exit code 3, with what to do, for a board and beside a worker', async () => {
  const other = createServer().listen(0, '127.0.0.1');
  onTestFinished(() => void other.close());
  await once(other, 'listening');
  const port = String((other.address() as AddressInfo).port);
  for (const args of [
    ['board', '--port', port],
    ['worker', '--board', '--board-port', port],
  ]) {
    const { exitCode, stdout, stderr } = await cli.run(args);
    expect({ exitCode, stdout }).toEqual({ exitCode: 3, stdout: '' });
    expect(stderr).toContain(`The board cannot listen on 127.0.0.1:${port}: another program does`);
    expect(stderr).toContain('Choose another port with --port');
  }
});

describe('beside a worker', () => {
  const childrenOf = ({ pid }: RunningCli) =>
    readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number);
  const isBoard = (pid: number) => readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').includes('board');

  test('it outlives the worker’s death and the worker its own, and both end when told to', async () => {
    const worker = cli.start(['worker', '--concurrency', '1', '--board', '--board-port', '0']);
    await worker.says('The board is at http://127.0.0.1:');
    await worker.says('Working with up to 1 cells');
    const children = childrenOf(worker);
    const board = children.find(isBoard) ?? 0;
    const pool = children.find(pid => !isBoard(pid)) ?? 0;
    expect(children).toHaveLength(2);
    const url = /The board is at (\S+)/.exec(worker.told())?.[1] ?? '';
    process.kill(pool, 'SIGKILL');
    await worker.says(`The worker ${pool} was ended by SIGKILL; the next one starts in 1 s.`);
    expect((await fetch(url)).status).toBe(200);
    process.kill(board, 'SIGKILL');
    await worker.says(`The board ${board} was ended by SIGKILL; the next one starts in 1 s.`);
    const saidTwice = (text: string) => worker.told().split(text).length === 3;
    await vi.waitUntil(() => saidTwice('The board is at ') && saidTwice('Working with up to 1 cells'), {
      timeout: 90_000,
      interval: 50,
    });
    worker.signal('SIGTERM');
    expect(await worker.ended).toMatchObject({ exitCode: 0, stdout: '' });
  }, 120_000);
});
