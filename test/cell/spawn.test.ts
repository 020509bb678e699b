/** What is refused, and what a spawn that fails leaves: nothing. Only one test here waits for a server to come up. */
import { readFileSync, watch } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import type { AgentSpawner } from '../../src/cell/agent-spawner.ts';
import { checkSpawnConfig, type SpawnConfig } from '../../src/cell/spawn-config.ts';
import type { SpawnerSite } from '../../src/cell/spawner-site.ts';
import type { CellpoolError } from '../../src/errors.ts';
import { Redactor } from '../../src/observe/redact.ts';
import { removeTree } from '../../src/os/remove-tree.ts';
import { occupy, startTestCells, type TestCells } from '../support/cell.ts';
import { git, pictureOf, refsOf } from '../support/repository.ts';
import { registrations } from '../support/worktree.ts';

// Real servers share few cores with other tests: a boot of 3 s may take 30.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

let cells: TestCells;
beforeAll(async () => {
  cells = await startTestCells();
});
afterAll(() => cells?.close());

const fake = (name: string) => fileURLToPath(new URL(`../fixtures/servers/${name}.mjs`, import.meta.url));
const ids = { agentId: 'agent-1', taskId: 'task-1' };

/** The error of a spawn that has to fail, after a look at everything it might have left. */
async function failureOf(spawner: AgentSpawner, more: Partial<SpawnConfig> = {}, signal?: AbortSignal) {
  const before = { refs: refsOf(cells.repository), files: pictureOf(cells.repository) };
  const error: unknown = await spawner.spawnAgent({ ...ids, ...more }, signal).then(
    () => new Error('it was spawned'),
    reason => reason,
  );
  await cells.expectNothingLeft();
  expect(refsOf(cells.repository)).toBe(before.refs);
  expect(pictureOf(cells.repository)).toEqual(before.files);
  return error;
}

describe('what is asked of a spawn', () => {
  test('has defaults: branch main, half an hour, five minutes without progress, 50,000 tokens', () => {
    const defaults = { branch: 'main', timeoutMs: 1_800_000, stallMs: 300_000, tokenBudget: 50_000 };
    expect(checkSpawnConfig(ids)).toMatchObject(defaults);
  });

  test('is refused without agentId or taskId, each by name', async () => {
    const { spawner } = cells;
    const refusal = async (config: object) =>
      spawner.spawnAgent(config as SpawnConfig).then(
        () => 'spawned',
        (error: Error) => error.message,
      );
    expect(await refusal({ taskId: 'task-1' })).toMatch(/agentId is missing/);
    expect(await refusal({ taskId: 'task-1' })).not.toMatch(/taskId/);
    expect(await refusal({ agentId: 'agent-1' })).toMatch(/taskId is missing/);
    expect(await refusal({})).toMatch(/agentId is missing[\s\S]*taskId is missing/);
    expect(await refusal({ agentId: '', taskId: null })).toMatch(/"agentId" may not be empty[\s\S]*taskId/);
    await cells.expectNothingLeft();
  });

  test('is refused with every fault named: hostile ids, wrong limits, unknown keys', async () => {
    const wrong = { agentId: 'a b', taskId: '../../etc', timeoutMs: 0, tokenBudget: 1.5, branch: '-x', colour: 'red' };
    const error = await failureOf(cells.spawner, wrong as Partial<SpawnConfig>);
    expect(error).toMatchObject({ code: 'INVALID_INPUT' });
    for (const key of ['agentId', 'taskId', 'timeoutMs', 'tokenBudget', 'branch', 'colour']) {
      expect(String(error)).toContain(key);
    }
  });
});

describe('a spawn that fails names its step and leaves nothing', () => {
  test('when the server does not come up in time', async () => {
    const error = await failureOf(cells.spawnerWith({ bootMs: 1 }));
    expect(error).toMatchObject({
      code: 'SPAWN_FAILED',
      message: expect.stringMatching(/^spawn failed at step "server": the server did not answer within 1 ms/),
      facts: { step: 'server' },
      hint: expect.stringContaining('bootMs'),
    });
  });

  test('when the server dies at once: its last words are in the message, its exit code in the facts', async () => {
    const error = await failureOf(cells.spawnerWith({ binary: fake('dies-at-once') }));
    expect(error).toMatchObject({
      code: 'SERVER_EXITED',
      message: expect.stringMatching(/at step "server": .*cannot go on: no such thing as a plugin$/s),
      facts: { step: 'server', exitCode: 3 },
    });
    const { facts } = error as CellpoolError;
    expect(readFileSync(join(String(facts.artifacts), 'server.log'), 'utf8')).toContain('no such thing as a plugin');
  });

  test('when the workspace is a worktree: it is not registered any more', async () => {
    const error = await failureOf(cells.spawnerWith({ workspace: 'worktree', binary: fake('dies-at-once') }));
    expect(error).toMatchObject({ code: 'SERVER_EXITED', facts: { step: 'server' } });
    expect(registrations(join(cells.repository, '.git'))).toEqual([]);
  });

  test('when there is no such program', async () => {
    const error = await failureOf(cells.spawnerWith({ binary: '/nonexistent/opencode' }));
    expect(error).toMatchObject({ code: 'SPAWN_FAILED', facts: { step: 'server' } });
  });

  test('when the base branch does not exist', async () => {
    const error = await failureOf(cells.spawner, { branch: 'release/9' });
    expect(error).toMatchObject({ code: 'UNKNOWN_BASE', facts: { step: 'workspace', base: 'release/9' } });
  });

  test('when somebody has the branch of the task checked out', async () => {
    git(cells.repository, 'checkout', '--quiet', '-b', 'cellpool/task-1');
    try {
      const error = await failureOf(cells.spawner);
      expect(error).toMatchObject({ code: 'BRANCH_CHECKED_OUT', facts: { step: 'workspace' } });
      expect(String(error)).toContain(cells.repository);
    } finally {
      git(cells.repository, 'checkout', '--quiet', 'main');
      git(cells.repository, 'branch', '-D', 'cellpool/task-1');
    }
  });

  test('when every port of the range is occupied', async () => {
    const { to: last } = cells.range;
    const stranger = await occupy(last);
    onTestFinished(() => stranger.close());
    const error = await failureOf(cells.spawnerWith({}, cells.portsOf({ from: last, to: last })));
    expect(error).toMatchObject({ code: 'NO_FREE_PORT', facts: { step: 'port lease' } });
  });
});

describe('the folder of a cell that is over', () => {
  /** A site with a server that does not start, and with what it is told to discard. */
  const discarding = (more: Partial<SpawnerSite> = {}) => {
    const discarded: string[] = [];
    const discard = async (dir: string) => {
      discarded.push(dir);
      await removeTree(dir);
    };
    return { spawner: cells.spawnerWith({ binary: fake('dies-at-once'), discard, ...more }), discarded };
  };

  test('is given to whom the site says, once nothing works in it', async () => {
    const { spawner, discarded } = discarding();
    const { facts } = (await failureOf(spawner)) as CellpoolError;
    expect(discarded).toEqual([join(cells.home, 'cells', String(facts.cellId))]);
  });

  test('is not, but removed in its place, where the reaper looks, when something before it went wrong', async () => {
    const redactor = new Redactor([]);
    redactor.add = () => () => {
      throw new Error('it cannot be undone');
    };
    const { spawner, discarded } = discarding({ redactor });
    await failureOf(spawner);
    expect(discarded).toEqual([]);
    expect(cells.logs).toContainEqual(
      expect.objectContaining({ faults: [{ step: 'secrets', message: 'it cannot be undone' }] }),
    );
  });
});

describe('a spawn that is cancelled leaves nothing', () => {
  test('before it has begun', async () => {
    const error = await failureOf(cells.spawner, {}, AbortSignal.abort());
    expect(error).toMatchObject({ code: 'CANCELLED', message: expect.stringContaining('during spawn') });
  });

  test('while its server starts', async () => {
    const cancel = new AbortController();
    const failing = failureOf(cells.spawnerWith({ binary: fake('never-answers') }), {}, cancel.signal);
    await expect
      .poll(() => cells.processes().some(one => one.command.includes('never-answers')), { timeout: 60_000 })
      .toBe(true);
    cancel.abort();
    expect(await failing).toMatchObject({ code: 'CANCELLED', facts: { step: 'server' } });
  });
});

test('a port that a stranger takes between the lease and the start of the server is exchanged, and the spawn succeeds', async () => {
  const folder = join(cells.home, 'cells');
  await mkdir(folder, { recursive: true });
  // The folder of a cell is made when its port has been leased and found free, and long before its server listens.
  const watcher = watch(folder);
  const occupied = new Promise<{ port: number; close(): Promise<void> }>((resolve, reject) => {
    watcher.once('change', () => {
      const taking = cells.leases().then(async ([lease]) => {
        const port = lease?.port ?? 0;
        return { port, ...(await occupy(port)) };
      });
      taking.then(resolve, reject);
    });
  });
  const spawning = cells.spawner.spawnAgent(ids);
  const stranger = await occupied;
  onTestFinished(() => stranger.close());
  watcher.close();
  const agent = await spawning;
  onTestFinished(async () => {
    await cells.spawner.teardownAgent(agent);
    await cells.expectNothingLeft();
  });

  expect(stranger.port).toBeGreaterThan(0);
  expect(agent.cell.port).not.toBe(stranger.port);
  expect((await cells.leases()).map(lease => lease.port)).toEqual([agent.cell.port]);
  expect(await cells.spawner.isHealthy(agent)).toBe(true);
  expect(cells.logs).toContainEqual(
    expect.objectContaining({ port: stranger.port, msg: 'another process took the port while the server started' }),
  );
});
