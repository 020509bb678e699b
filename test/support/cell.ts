/** Real cells for one test file: a scripted model, a private Redis, a sample repository, and spawners on them. */
import { mkdtempSync, readdirSync, realpathSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { expect } from 'vitest';
import { AgentSpawner } from '../../src/cell/agent-spawner.ts';
import { openSite, type SiteOptions, type SpawnerSite } from '../../src/cell/spawner-site.ts';
import { type ScriptedModel, startScriptedModel } from '../../src/cli/demo/scripted-model.ts';
import { type PortLease, PortLeases, type PortRange } from '../../src/redis/port-lease.ts';
import { groupsLeft } from './groups-left.ts';
import { type LeakedProcess, processesOf } from './leaks.ts';
import { testRedis } from './redis.ts';
import { type Files, git, makeRepository } from './repository.ts';

export const SAMPLE_FILES: Files = {
  'README.md': '# Sample\n',
  'src/greet.js': "export const greet = () => 'hello';\n",
  'old-name.txt': 'a text that keeps its content under a new name\n',
  'doomed.txt': 'x\n',
  '.gitignore': 'ignored/\n*.log\n',
};

export interface TestCells {
  readonly model: ScriptedModel;
  readonly ports: PortLeases;
  readonly range: PortRange;
  readonly site: SpawnerSite;
  readonly spawner: AgentSpawner;
  /** The user's repository. */
  readonly repository: string;
  /** The state folder. */
  readonly home: string;
  /** What the spawners have logged so far. */
  readonly logs: Record<string, unknown>[];
  /** A spawner like `spawner`, on a site that differs in `changes`. */
  spawnerWith(changes: Partial<SpawnerSite>, ports?: PortLeases): AgentSpawner;
  /** Leases of the same host over other ports. */
  portsOf(range: PortRange): PortLeases;
  leases(): Promise<PortLease[]>;
  /** Names of the folders of cells, those on their way out included. */
  cellFolders(): string[];
  /** Processes that work in the state folder or name it. */
  processes(): LeakedProcess[];
  /** Leases, cell folders, base pins, processes and control groups: none of them is left. */
  expectNothingLeft(): Promise<void>;
  close(): Promise<void>;
}

/** Ports of their own for each process of the suite, so that cells of two files never meet on one. */
export function portRangeOfThisFile(): PortRange {
  const from = 10_000 + (process.pid % 1_000) * 20;
  return { from, to: from + 19 };
}

export async function startTestCells(changes: Partial<SiteOptions> = {}): Promise<TestCells> {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'cells-')));
  const repository = makeRepository(join(folder, 'source'), SAMPLE_FILES);
  const home = join(folder, 'home');
  const range = portRangeOfThisFile();
  const logs: Record<string, unknown>[] = [];
  const log = pino({ level: 'debug' }, { write: (line: string) => void logs.push(JSON.parse(line)) });
  const [model, redis] = await Promise.all([startScriptedModel(), testRedis()]);
  const client = await redis.connect('worker');
  const portsOf = (ports: PortRange) => new PortLeases(client, { host: 'test', prefix: 'cells', range: ports });
  const ports = portsOf(range);
  const site = await openSite({
    repository,
    home,
    opencode: model.opencodeConfig(),
    author: { name: 'Cell Tester', email: 'cells@example.com' },
    // Servers of several files may start at once.
    bootMs: 300_000,
    setupMs: 20_000,
    testMs: 20_000,
    env: { server: [], commands: [] },
    // What is isolated is tested by name; here it would differ from machine to machine.
    isolation: 'process',
    log,
    ...changes,
  });

  const cellFolders = () =>
    ['cells', 'discarded', 'spares', 'landings'].flatMap(name => {
      try {
        return readdirSync(join(home, name));
      } catch {
        return []; // None was ever made.
      }
    });
  // No process carries this variable: what is looked for is known by its folder, whatever its environment.
  const processes = () => processesOf({ marker: 'CELLPOOL_TEST_CELLS=none', folder: home });
  return {
    model,
    ports,
    range,
    site,
    spawner: new AgentSpawner({ site, ports }),
    repository,
    home,
    logs,
    spawnerWith: (more, other = ports) => new AgentSpawner({ site: { ...site, ...more }, ports: other }),
    portsOf,
    leases: () => ports.held(),
    cellFolders,
    processes,
    async expectNothingLeft() {
      expect(await ports.held()).toEqual([]);
      expect(cellFolders()).toEqual([]);
      expect(git(site.mirror.path, 'for-each-ref', 'refs/cells')).toBe('');
      expect(processes()).toEqual([]);
      expect(groupsLeft(home)).toEqual([]);
    },
    async close() {
      await model.close();
      await redis.close();
      rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
    },
  };
}

/** A foreign program that has taken `port`, on all addresses unless one is given; closes with its connections. */
export async function occupy(port: number, host?: string): Promise<{ close(): Promise<void> }> {
  const server = createServer(socket => socket.destroy());
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ port, ...(host === undefined ? {} : { host }) }, resolve);
  });
  return { close: () => new Promise(resolve => server.close(() => resolve())) };
}
