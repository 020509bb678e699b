/** A state folder with a mirror, a queue and a fixture that passes for a worker with cells until it is killed. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, utimesSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import { expect, onTestFinished, vi } from 'vitest';
import { type Mirror, openMirror, pinBase } from '../../src/git/mirror.ts';
import { openSource } from '../../src/git/source.ts';
import { TASK_QUEUE } from '../../src/job/names.ts';
import { openQueue, TASK_JOB, type TaskQueue } from '../../src/job/queue.ts';
import { silentLogger } from '../../src/observe/logger.ts';
import { ownIdentity } from '../../src/os/identity.ts';
import type { CellRecord } from '../../src/redis/cell-record.ts';
import { JobData } from '../../src/redis/job-data.ts';
import { PortLeases } from '../../src/redis/port-lease.ts';
import { CellRegistry } from '../../src/redis/registry.ts';
import { Slots } from '../../src/redis/slots.ts';
import { Reaper, type ReaperOptions } from '../../src/worker/reaper.ts';
import { portRangeOfThisFile } from '../support/cell.ts';
import type { TestRedis } from '../support/redis.ts';
import { makeRepository, refsOf, tempFolder } from '../support/repository.ts';

export const HOST = 'reaped';
const compiled = fileURLToPath(new URL('../../dist', import.meta.url));
const program = fileURLToPath(new URL('../fixtures/registers-cells.mjs', import.meta.url));
const BOUND = { timeout: 30_000, interval: 20 };
/** Of one cell of the fixture. */
export const SLEEPERS = 6;
let lastSeconds = process.pid * 10;

export interface Setting {
  readonly home: string;
  readonly redis: Redis;
  readonly prefix: string;
  readonly mirror: Mirror;
  readonly queue: TaskQueue;
  readonly registry: CellRegistry;
  readonly ports: PortLeases;
  reaper(more?: Partial<ReaperOptions>): Promise<Reaper>;
  /** Puts tasks on the queue and locks their jobs, as a worker that took them does. */
  takeJobs(...taskIds: string[]): Promise<{ tokens: Record<string, string>; enqueuedAt: number }>;
  startWorker(cells: string[], jobs?: { tokens: Record<string, string>; enqueuedAt: number }): Promise<FakeWorker>;
  /** A record of a worker that is not there. */
  record(cellId: string, more?: Partial<CellRecord>): CellRecord;
  /** Makes the folder of a cell, that nothing has changed for an hour. */
  oldFolder(cellId: string): string;
  /** Folders, pins, leases and entries, by name. */
  things(): Promise<{ folders: string[]; pins: string; leases: string[]; entries: string[] }>;
}

export const NOTHING = { folders: [], pins: '', leases: [], entries: [] };

export interface FakeWorker {
  readonly pid: number;
  /** Living processes of its cells. */
  processes(): number[];
  kill(): Promise<void>;
}

export async function prepare(server: TestRedis): Promise<Setting> {
  const folder = tempFolder('reap');
  const home = join(folder, 'home');
  const prefix = server.prefix();
  const redis = await server.connect('worker');
  const repository = makeRepository(join(folder, 'source'));
  const source = await openSource(repository);
  const mirror = await openMirror(home, source);
  const range = portRangeOfThisFile();
  const queue = openQueue(redis, prefix);
  onTestFinished(() => queue.close());
  const registry = new CellRegistry(redis, { prefix, host: HOST, home });
  const ports = new PortLeases(redis, { prefix, host: HOST, range });
  const identity = await ownIdentity();
  // No pid of Linux is this large.
  const gone = { ...identity, id: 'gone', pid: 2 ** 30, startTime: '1' };
  return {
    ...{ home, redis, prefix, mirror, queue, registry, ports },
    async reaper(more = {}) {
      return new Reaper({
        registry,
        ports,
        slots: new Slots(redis, { prefix }),
        queue,
        jobData: new JobData(redis, { prefix }),
        home,
        host: HOST,
        log: silentLogger,
        identity,
        ...more,
      });
    },
    async takeJobs(...taskIds) {
      const taker = new Worker(TASK_QUEUE, null, { connection: redis, prefix, autorun: false, lockDuration: 600_000 });
      const tokens: Record<string, string> = {};
      const enqueuedAt = Date.now();
      for (const id of taskIds) {
        await queue.add(TASK_JOB, {}, { jobId: id, timestamp: enqueuedAt });
        tokens[id] = `token-of-${id}`;
        expect((await taker.getNextJob(tokens[id]))?.id).toBe(id);
      }
      await taker.close();
      return { tokens, enqueuedAt };
    },
    async startWorker(cells, jobs = { tokens: {}, enqueuedAt: 0 }) {
      lastSeconds += 1;
      const seconds = String(lastSeconds);
      const socket = 'path' in server.address ? server.address.path : '';
      const tokens = Object.fromEntries(cells.map(id => [id, jobs.tokens[id.slice(0, -9)]]));
      const { enqueuedAt } = jobs;
      const options = { socket, prefix, host: HOST, home, range, mirror: mirror.path, repository, cells, seconds };
      const json = JSON.stringify({ ...options, tokens, enqueuedAt });
      const child = spawn(process.execPath, [program, compiled, json], { stdio: ['ignore', 'pipe', 'inherit'] });
      onTestFinished(() => end(child, seconds));
      await once(child.stdout, 'data');
      for (const id of cells) await pinBase(mirror, source, 'main', id);
      const processes = () => sleepers(seconds);
      await vi.waitUntil(() => processes().length === cells.length * SLEEPERS, BOUND);
      return { pid: child.pid ?? 0, processes, kill: () => end(child, null) };
    },
    record: (cellId, more = {}) => ({
      ...{ version: 1, cellId, host: HOST, home, worker: gone, taskId: cellId.slice(0, -9), attempt: 1, job: null },
      ...{
        repository,
        mirror: mirror.path,
        artifacts: '',
        workspace: '',
        isolation: 'process',
        port: null,
        server: null,
        stage: 'execute',
      },
      ...{ abandoned: false, createdAt: Date.now() },
      ...more,
    }),
    oldFolder(cellId) {
      const path = join(home, 'cells', cellId);
      mkdirSync(join(path, 'workspace'), { recursive: true });
      age(join(path, 'workspace'));
      return age(path);
    },
    async things() {
      const cells = join(home, 'cells');
      return {
        folders: existsSync(cells) ? readdirSync(cells).sort() : [],
        pins: refsOf(mirror.path)
          .split('\n')
          .filter(line => line.startsWith('refs/cells/'))
          .join('\n'),
        leases: (await ports.held()).map(({ owner }) => owner).sort(),
        entries: (await registry.list()).map(({ cellId }) => cellId),
      };
    },
  };
}

/** Makes a file or folder an hour old. */
export function age(path: string): string {
  const then = new Date(Date.now() - 3_600_000);
  utimesSync(path, then, then);
  return path;
}

/** Writes an entry to the disk as the registry of another process would have. */
export function entryPath({ home }: Setting, name: string): string {
  const path = join(home, 'registry', name);
  mkdirSync(dirname(path), { recursive: true });
  return path;
}

/** Pids of `sleep <seconds>`, whatever their environment. */
function sleepers(seconds: string): number[] {
  const pids = readdirSync('/proc').filter(name => /^\d+$/.test(name));
  return pids.filter(pid => commandOf(pid).endsWith(`sleep ${seconds}`)).map(Number);
}

function commandOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').filter(Boolean).join(' ');
  } catch {
    return ''; // It has ended meanwhile.
  }
}

/** Ends the fixture, and what it left when `seconds` is told. */
async function end(child: ChildProcess, seconds: string | null): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) {
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
  for (const pid of seconds === null ? [] : sleepers(seconds)) process.kill(pid, 'SIGKILL');
}
