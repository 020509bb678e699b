/** A board for a test: a real server on a port of its own, over a real Redis, with the actions the command gives it. */
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { UnrecoverableError } from 'bullmq';
import type { Redis } from 'ioredis';
import { onTestFinished } from 'vitest';
import type { Credentials } from '../../src/board/access.ts';
import type { LiveStreamsOptions } from '../../src/board/live-streams.ts';
import { type RunningBoard, startBoard } from '../../src/board/server.ts';
import { boardActions } from '../../src/cli/board-actions.ts';
import { type LandingQueue, openLandingQueue } from '../../src/job/landing.ts';
import type { AttemptResult } from '../../src/job/outcome.ts';
import { openQueue, type TaskQueue } from '../../src/job/queue.ts';
import type { CellRecord } from '../../src/redis/cell-record.ts';
import { CellRegistry } from '../../src/redis/registry.ts';
import { Tally } from '../../src/redis/tally.ts';
import { holdJobs } from './jobs.ts';
import type { TestRedis } from './redis.ts';

export const BOARD_HOST = 'board-test';

export interface TestBoard {
  readonly running: RunningBoard;
  readonly url: string;
  readonly redis: Redis;
  readonly queue: TaskQueue;
  readonly landing: LandingQueue;
  readonly prefix: string;
  /** State folder. */
  readonly home: string;
  /** What the board said on its own output. */
  readonly said: string[];
  get(path: string, headers?: Record<string, string>): Promise<Response>;
  /** As the page's script does it. */
  post(path: string, headers?: Record<string, string>): Promise<Response>;
}

export interface TestBoardOptions {
  credentials?: Credentials | null;
  host?: string;
  live?: Omit<LiveStreamsOptions, 'say'>;
}

/** Closed, and its folder removed, when the test ends. */
export async function openBoard(server: TestRedis, options: TestBoardOptions = {}): Promise<TestBoard> {
  const { host = '127.0.0.1', credentials = null, live = { everyMs: 20 } } = options;
  const home = await mkdtemp(join(tmpdir(), 'b-'));
  const redis = await server.connect('producer');
  const prefix = server.prefix();
  const queue = openQueue(redis, prefix);
  const landing = openLandingQueue(redis, prefix);
  const said: string[] = [];
  const running = await startBoard({
    ...{ host, port: 0, credentials, live },
    view: { redis, queue, landing, prefix },
    site: { home, host: BOARD_HOST },
    actions: boardActions({ redis, queue, prefix }),
    say: message => said.push(message),
  });
  onTestFinished(async () => {
    await running.close();
    await Promise.all([queue.close(), landing.close()]);
    redis.disconnect();
    await rm(home, { recursive: true, force: true });
  });
  const url = running.url.replace(/\/$/, '');
  return {
    ...{ running, url, redis, queue, landing, prefix, home, said },
    get: (path, headers = {}) => fetch(`${url}${path}`, { headers, redirect: 'manual' }),
    post: (path, headers = {}) =>
      fetch(`${url}${path}`, {
        method: 'POST',
        headers: { accept: 'application/json', 'content-type': 'application/json', ...headers },
      }),
  };
}

/** Ends the task's job with this result, as a worker would. */
export async function endJob(
  server: TestRedis,
  { prefix }: Pick<TestBoard, 'prefix'>,
  result: AttemptResult,
): Promise<void> {
  const redis = await server.connect('worker');
  const isGood = result.outcome === 'committed' || result.outcome === 'no-changes';
  const ended = new Promise<void>(resolve => {
    const worker = holdJobs(redis, prefix, async job => {
      const data = job.data as { results: AttemptResult[] };
      await job.updateData({ ...data, results: [...data.results, result] });
      if (isGood) return result;
      throw new UnrecoverableError(result.error?.message ?? result.outcome);
    });
    const finish = () => void worker.close().then(resolve);
    worker.on('completed', finish);
    worker.on('failed', finish);
  });
  await ended;
  await new Tally(redis, { prefix }).add(result);
  redis.disconnect();
}

/** Writes what an attempt left, below the board's state folder; returns the folder. */
export async function leaveArtifacts(
  { home }: Pick<TestBoard, 'home'>,
  taskId: string,
  files: Record<string, string>,
  attempt = 1,
): Promise<string> {
  const folder = join(home, 'artifacts', taskId, `${attempt}-${randomBytes(4).toString('hex')}`);
  await mkdir(folder, { recursive: true });
  for (const [name, content] of Object.entries(files)) await writeFile(join(folder, name), content);
  return folder;
}

/** Enters a cell, as a worker of `host` does; the registry may change it and erase it. */
export async function enterCell(
  { redis, prefix, home }: Pick<TestBoard, 'redis' | 'prefix' | 'home'>,
  taskId: string,
  changes: Partial<CellRecord> = {},
): Promise<{ cellId: string; registry: CellRegistry }> {
  const host = changes.host ?? BOARD_HOST;
  const registry = new CellRegistry(redis, { prefix, host, home });
  const cellId = `${taskId}.${randomBytes(4).toString('hex')}`;
  const identity = { pid: process.pid, startTime: '1', bootId: 'b', pidNamespace: 'n' };
  await registry.register({
    version: 1,
    cellId,
    host,
    home,
    worker: { ...identity, id: `${host}-worker` },
    taskId,
    attempt: 1,
    job: null,
    repository: '/repo',
    mirror: '/mirror',
    artifacts: '/artifacts',
    isolation: 'process',
    workspace: '/workspace',
    port: null,
    server: null,
    stage: 'spawn',
    abandoned: false,
    createdAt: Date.now(),
    ...changes,
  });
  return { cellId, registry };
}

/** A stream of server-sent events, as a browser reads it. */
export interface Events {
  readonly response: Response;
  /** The next event that is no heartbeat; rejects when the stream has ended. */
  next(): Promise<{ event: string; data: unknown }>;
  /** Resolves when the server has ended it. */
  ended(): Promise<void>;
  close(): void;
}

export async function openEvents(url: string, headers: Record<string, string> = {}): Promise<Events> {
  const control = new AbortController();
  const response = await fetch(url, { headers, signal: control.signal });
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  if (reader === undefined) throw new Error('the answer has no body');
  onTestFinished(() => control.abort());
  let rest = '';
  const block = async (): Promise<string | null> => {
    for (;;) {
      const cut = rest.indexOf('\n\n');
      if (cut >= 0) {
        const found = rest.slice(0, cut);
        rest = rest.slice(cut + 2);
        return found;
      }
      const { done, value } = await reader.read();
      if (done) return null;
      rest += value;
    }
  };
  const field = (text: string, name: string) => new RegExp(`^${name}: (.*)$`, 'm').exec(text)?.[1];
  return {
    response,
    close: () => control.abort(),
    async next() {
      for (;;) {
        const text = await block();
        if (text === null) throw new Error('the stream has ended');
        const event = field(text, 'event');
        if (event !== undefined && event !== 'beat') return { event, data: JSON.parse(field(text, 'data') ?? 'null') };
      }
    },
    async ended() {
      while ((await block()) !== null);
    },
  };
}
