/**
 * The setting: a worker with a HOME and secrets, a second cell beside the attacker's, a process of somebody else's,
 * and services on the host. All of it is the test's own, and gone when it is closed.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash, randomBytes, randomInt } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { homedir, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import getPort from 'get-port';
import type { SpawnedAgent } from '../../src/cell/spawned-agent.ts';
import { script } from '../../src/cli/demo/script.ts';
import { SCRIPTED_MODEL } from '../../src/cli/demo/scripted-model.ts';
import { CleanupStack } from '../../src/os/cleanup.ts';
import type { IsolationLevel } from '../../src/os/isolation.ts';
import { connectRedis } from '../../src/redis/connection.ts';
import { openRedis } from '../../src/redis/open-redis.ts';
import { startTestCells, type TestCells } from '../support/cell.ts';
import { git, writeFiles } from '../support/repository.ts';
import { endByNumber } from './host.ts';
import { FOLDER, WORKER_SECRET } from './worker-setup.ts';

const PROVIDER_KEY = 'ATTACK_PROVIDER_KEY';
/** A test command that nothing the agent may do lets pass. */
export const FAILING = 3;
const MINUTE = 60_000;

export interface Setting {
  readonly cells: TestCells;
  readonly attacker: SpawnedAgent;
  readonly sibling: SpawnedAgent;
  /** The attacker's workspace, and the folder of its cell; the same of the sibling; where artifacts of the attacker lie. */
  readonly paths: Record<
    'workspace' | 'cell' | 'sibling' | 'artifacts' | 'outside' | 'canaries' | 'home' | 'hostTemp',
    string
  >;
  readonly siblingPid: number;
  readonly secrets: Record<SecretName, string>;
  /** A number that nothing else on the machine has, to be found again in command lines and names of files. */
  readonly mark: string;
  readonly ports: { secret: number; free: number };
  readonly abstract: string;
  readonly redis: string;
  readonly victim: ChildProcess;
  close(): Promise<void>;
}

const SECRETS = [
  'sibling',
  'title',
  'user',
  'branch',
  'home',
  'temp',
  'redis',
  'listener',
  'abstract',
  'victim',
  'outside',
  'provider',
] as const;
export type SecretName = (typeof SECRETS)[number] | 'worker' | 'shadow';

export async function openSetting(level: IsolationLevel): Promise<Setting> {
  const cleanup = new CleanupStack();
  const close = async () => {
    const faults = await cleanup.run();
    if (faults.length > 0) throw new Error(`the setting is not gone: ${JSON.stringify(faults)}`);
  };
  try {
    return { ...(await prepare(level, cleanup)), close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function prepare(level: IsolationLevel, cleanup: CleanupStack): Promise<Omit<Setting, 'close'>> {
  const mark = String(randomInt(100_000_000, 999_999_999));
  const made = SECRETS.map(name => [name, `secret-of-${name}-${randomBytes(8).toString('hex')}`]);
  const secrets = {
    ...(Object.fromEntries(made) as Record<(typeof SECRETS)[number], string>),
    worker: process.env[WORKER_SECRET] ?? 'no secret was given to the worker',
    shadow: digestOf('/etc/shadow'),
  };
  cleanup.add('processes that got out', async () => endByNumber(mark));

  const hostTemp = mkdtempSync(join(tmpdir(), 'host-'));
  cleanup.add('temporary files of the host', async () => rmSync(hostTemp, { recursive: true, force: true }));
  writeFileSync(join(hostTemp, 'secret'), secrets.temp);
  const base = mkdtempSync(join(process.env[FOLDER] ?? '', 'at-'));
  cleanup.add('folder', async () => rmSync(base, { recursive: true, force: true, maxRetries: 3 }));
  const home = homedir();
  writeFiles(home, { '.ssh/id_ed25519': secrets.home });
  cleanup.add('home', async () => rmSync(join(home, '.ssh'), { recursive: true, force: true }));
  const outside = join(base, 'outside');
  writeFiles(outside, { secret: secrets.outside });
  process.env[PROVIDER_KEY] = secrets.provider;
  cleanup.add('key', async () => void delete process.env[PROVIDER_KEY]);

  const before = process.env.TMPDIR;
  process.env.TMPDIR = base;
  const cells = await startTestCells({
    isolation: level,
    bootMs: 5 * MINUTE,
    testMs: 2 * MINUTE,
    env: { server: [PROVIDER_KEY], commands: [] },
  }).finally(() => {
    process.env.TMPDIR = before;
  });
  cleanup.add('cells', () => cells.close());
  git(cells.repository, 'checkout', '--quiet', '-b', 'private');
  writeFiles(cells.repository, { 'private.txt': secrets.branch });
  git(cells.repository, 'add', 'private.txt');
  git(cells.repository, 'commit', '--quiet', '-m', 'not for cells');
  git(cells.repository, 'checkout', '--quiet', 'main');
  writeFiles(cells.repository, { 'notes.txt': secrets.user });

  const ports = {
    secret: await listen({ port: 0, host: '127.0.0.1' }, secrets.listener, cleanup),
    free: await getPort(),
  };
  const abstract = `cellpool-attack-${mark}`;
  await listen({ path: `\0${abstract}` }, secrets.abstract, cleanup);
  const redis = await openRedis({ home: cells.home });
  cleanup.add('redis', () => redis.close());
  const client = connectRedis(redis.address, 'worker');
  await client.set('attack', secrets.redis).finally(() => client.disconnect());

  const victim = spawn('sleep', ['86400', `0.${mark}`], { env: { SECRET: secrets.victim }, stdio: 'ignore' });
  const gone = once(victim, 'exit');
  cleanup.add('victim', async () => {
    victim.kill('SIGKILL');
    await gone;
  });
  await once(victim, 'spawn');

  const { spawner } = cells;
  const task = { model: SCRIPTED_MODEL, timeoutMs: 14 * MINUTE, tokenBudget: 100_000_000 };
  const spawnCell = async (name: string, more: object) => {
    const agent = await spawner.spawnAgent({ ...task, agentId: name, taskId: name, ...more });
    cleanup.add(name, async () => void (await spawner.teardownAgent(agent)));
    return agent;
  };
  const sibling = await spawnCell('sibling', { title: secrets.title });
  await spawner.executeTask(sibling, script([{ say: 'Nothing to do.' }]));
  const siblingDir = dirname(sibling.cell.workspacePath);
  writeFiles(siblingDir, { 'workspace/secret': secrets.sibling, 'home/secret': secrets.sibling });
  const attacker = await spawnCell('attacker', { test: `cat check.txt; env; exit ${FAILING}` });
  const { workspacePath: workspace } = attacker.cell;
  return {
    cells,
    attacker,
    sibling,
    paths: {
      workspace,
      cell: dirname(workspace),
      sibling: siblingDir,
      artifacts: spawner.getCellInfo(attacker)?.artifacts ?? '',
      outside,
      canaries: join(base, 'canaries'),
      home,
      hostTemp,
    },
    siblingPid: spawner.getCellInfo(sibling)?.pid ?? 0,
    secrets,
    mark,
    ports,
    abstract,
    redis: 'path' in redis.address ? redis.address.path : '',
    victim,
  };
}

/** A service of the host that tells everybody its secret. */
async function listen(where: { port: number; host: string } | { path: string }, secret: string, cleanup: CleanupStack) {
  const sockets = new Set<Socket>();
  const server = createServer(socket => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.resume();
    socket.end(secret);
  });
  server.listen(where);
  await once(server, 'listening');
  cleanup.add('service', async () => {
    const closed = once(server, 'close');
    server.close();
    for (const socket of sockets) socket.destroy();
    await closed;
  });
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}

/** Of what agents are to print in place of the content, so that no transcript holds that. */
function digestOf(path: string): string {
  try {
    return createHash('sha256').update(readFileSync(path)).digest('hex');
  } catch {
    return 'not even the test may read it';
  }
}

/** Where what the agent planted says that it was run outside; made when the agent is gone. */
export function openCanaries({ paths }: Setting): void {
  rmSync(paths.canaries, { recursive: true, force: true });
  mkdirSync(paths.canaries);
}
