/** What the watch tells of a real server: through a stream that breaks, and of names that the server does not know. */
import { connect, createServer, type Server, type Socket } from 'node:net';
import { createOpencodeClient, type OpencodeClient } from '@opencode-ai/sdk/v2/client';
import pLimit from 'p-limit';
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from 'vitest';
import type { Cell } from '../../src/cell/cell.ts';
import type { RetryNotice } from '../../src/cell/provider-trouble.ts';
import { authorization } from '../../src/cell/ready.ts';
import { Shelf } from '../../src/cell/shelf.ts';
import { spawnCell } from '../../src/cell/spawn.ts';
import { checkSpawnConfig } from '../../src/cell/spawn-config.ts';
import { teardown } from '../../src/cell/teardown.ts';
import type { EndedCall } from '../../src/cell/tool-call.ts';
import { UsageCounter, type WatchHandlers, watchSession } from '../../src/cell/watch.ts';
import { SCRIPTED_MODEL } from '../../src/cli/demo/scripted-model.ts';
import type { CellpoolError } from '../../src/errors.ts';
import { DiskWatch } from '../../src/os/disk-watch.ts';
import { startTestCells, type TestCells } from '../support/cell.ts';

// Real servers share few cores with other tests: a boot of 3 s may take 30.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });
const WAIT = { timeout: 60_000, interval: 20 };

let cells: TestCells;
let cell: Cell;
beforeAll(async () => {
  cells = await startTestCells();
  const own = { disks: new DiskWatch(), boots: pLimit(1), shelf: new Shelf() };
  const context = { site: cells.site, ports: cells.ports, registry: null, ...own };
  cell = await spawnCell(context, checkSpawnConfig({ agentId: 'agent-1', taskId: 'task-1', model: SCRIPTED_MODEL }));
});
afterAll(async () => {
  if (cell !== undefined) await teardown(cell);
  await cells?.close();
});

/** A session that is watched through `client` until the test ends, and what was told of it. */
async function watched(client: OpencodeClient) {
  const session = (await cell.server.client.session.create({ title: 'a title' }, { throwOnError: true })).data;
  const told = {
    opened: 0,
    idle: 0,
    errors: [] as CellpoolError[],
    notices: [] as RetryNotice[],
    progress: 0,
    calls: [] as EndedCall[],
  };
  const handlers: WatchHandlers = {
    permission: 'reject',
    onOpen: () => {
      told.opened += 1;
    },
    onIdle: () => {
      told.idle += 1;
    },
    onError: error => told.errors.push(error),
    onUsage: () => undefined,
    onRetry: notice => told.notices.push(notice),
    onCall: call => told.calls.push(call),
    onProgress: () => {
      told.progress += 1;
    },
  };
  const over = new AbortController();
  const watching = watchSession(client, session.id, new UsageCounter(), handlers, over.signal);
  onTestFinished(async () => {
    over.abort();
    await watching;
  });
  await vi.waitUntil(() => told.opened === 1, WAIT);
  const prompt = (changes: { modelID?: string; agent?: string } = {}) => {
    const { modelID = 'model', ...others } = changes;
    const parts = [{ type: 'text' as const, text: 'Do it.' }];
    const model = { providerID: 'scripted', modelID };
    return cell.server.client.session.promptAsync({ sessionID: session.id, parts, model, ...others });
  };
  const status = async () => (await cell.server.client.session.status()).data?.[session.id]?.type;
  return { id: session.id, told, prompt, status };
}

/** A way to the server that can be cut. */
async function cuttable(port: number) {
  const sockets = new Set<Socket>();
  /** Who comes while it is cut is left to wait: whoever is refused again and again gives up after some seconds. */
  const waiting = new Set<Socket>();
  const destroy = (some: Set<Socket>) => {
    for (const socket of some) socket.destroy();
    some.clear();
  };
  let open = true;
  const server: Server = createServer(socket => {
    if (!open) return void waiting.add(socket.on('error', () => undefined));
    const onward = connect(port, '127.0.0.1');
    for (const [one, other] of [
      [socket, onward],
      [onward, socket],
    ] as const) {
      sockets.add(one);
      one.on('error', () => other.destroy());
      one.on('close', () => other.destroy());
      one.pipe(other);
    }
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  const cut = () => {
    open = false;
    destroy(sockets);
  };
  onTestFinished(() => {
    cut();
    destroy(waiting);
    server.close();
  });
  const address = server.address();
  const at = typeof address === 'object' && address !== null ? address.port : 0;
  const headers = { Authorization: authorization(cell.password) };
  const client = createOpencodeClient({ baseUrl: `http://127.0.0.1:${at}`, headers });
  const mend = () => {
    open = true;
    destroy(waiting);
  };
  return { client, cut, mend };
}

test('an answer is told as progress', async () => {
  const { told, prompt } = await watched(cell.server.client);
  await prompt();
  await vi.waitUntil(() => told.idle === 1, WAIT);
  expect(told.progress).toBeGreaterThan(0);
  expect(told).toMatchObject({ errors: [], notices: [] });
});

test('a retry that began while the stream was broken is told when it is open again, and is no progress', async () => {
  const over = cells.model.fail({ status: 429, retryAfter: 60, message: 'slow down' });
  onTestFinished(over);
  const way = await cuttable(cell.port.lease.port);
  const { id, told, prompt, status } = await watched(way.client);
  way.cut();
  await prompt();
  await vi.waitUntil(async () => (await status()) === 'retry', WAIT);
  expect(told.notices).toEqual([]);
  way.mend();
  await vi.waitUntil(() => told.notices.length === 1, WAIT);
  const notice = { sessionId: id, attempt: 1, message: 'slow down', next: expect.any(Number) };
  expect(told.notices).toEqual([notice]);
  way.cut();
  way.mend();
  await vi.waitUntil(() => told.notices.length === 2, WAIT);
  expect(told.notices[1]).toEqual(told.notices[0]);
  expect(told).toMatchObject({ errors: [], idle: 0, progress: 0 });
  await cell.server.client.session.abort({ sessionID: id });
  await vi.waitUntil(() => told.idle === 1, WAIT);
});

test.each([
  [{ modelID: 'none' }, 'Model not found: scripted/none.'],
  [{ agent: 'nobody' }, 'Agent not found: "nobody".'],
])('a name that the server does not know is told as such: %j', async (names, said) => {
  const { told, prompt } = await watched(cell.server.client);
  await prompt(names);
  await vi.waitUntil(() => told.errors.length > 0, WAIT);
  expect(told.errors[0]).toMatchObject({ code: 'UNKNOWN_MODEL', message: expect.stringContaining(said) });
});
