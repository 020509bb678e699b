/** Cells made ahead, with real servers: what they cost, who gets them, and what is left of those that nobody gets. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { script } from '../../src/cli/demo/script.ts';
import { SCRIPTED_MODEL } from '../../src/cli/demo/scripted-model.ts';
import { ARTIFACTS } from '../../src/observe/artifacts.ts';
import { startTestCells, type TestCells } from '../support/cell.ts';
import { isolationHere } from '../support/isolation.ts';
import { git, tempFolder } from '../support/repository.ts';

// Real servers share few cores with other tests: a boot of 3 s may take 30.
vi.setConfig({ testTimeout: 300_000, hookTimeout: 120_000 });

const like = { model: SCRIPTED_MODEL };

/** Puts a file on the base, as somebody else would. */
function commitOnMain({ repository }: TestCells, file: string, text: string): string {
  writeFileSync(join(repository, file), text);
  git(repository, 'add', file);
  git(repository, 'commit', '--quiet', '-m', `Write ${file}`);
  return git(repository, 'rev-parse', 'HEAD');
}

describe.each(['process', 'strict'] as const)('a cell made ahead, in isolation %s', async level => {
  const here = level === 'process' ? level : await isolationHere(level);
  let cells: TestCells;
  beforeAll(async () => {
    if (here !== null) cells = await startTestCells({ isolation: level });
  });
  afterAll(() => cells?.close());

  test.skipIf(here === null)('is warm without a token, and is the next task’s, at the tip of then', async () => {
    const { spawner, model, home } = cells;
    await spawner.prepareAgent(like);
    expect(model.requests).toBe(0);
    const [made] = spawner.prepared;
    expect(made).toMatchObject({ cellId: expect.stringMatching(/^warm\.[0-9a-f]{8}$/), isSound: true });
    const tip = commitOnMain(cells, 'news.txt', 'new\n');

    const agent = await spawner.spawnAgent({ agentId: 'a', taskId: 'next', ...like });
    expect(spawner.prepared).toEqual([]);
    expect(agent.cell.cellId).toBe(made?.cellId);
    const info = spawner.getCellInfo(agent);
    expect(info).toMatchObject({ taskId: 'next', baseCommit: tip, branch: 'cellpool/next', isolation: level });
    const { workspacePath } = agent.cell;
    expect(readFileSync(join(workspacePath, 'news.txt'), 'utf8')).toBe('new\n');
    expect(git(workspacePath, 'symbolic-ref', 'HEAD')).toBe('refs/heads/cellpool/next');
    expect(git(workspacePath, 'for-each-ref', '--format=%(refname) %(objectname)')).toBe(
      `refs/heads/cellpool/next ${tip}`,
    );
    expect(git(workspacePath, 'status', '--porcelain')).toBe('');

    const steps = [{ run: 'git log --oneline | head -1 > log.txt; git status --short >> log.txt' }];
    expect(await spawner.executeTask(agent, script(steps))).toMatchObject({ ended: 'idle', error: null });
    expect(agent.tokensUsed).toBeGreaterThan(0);
    await spawner.stopServer(agent);
    const { commit, branch } = await spawner.commitChanges(agent, 'Look');
    expect(branch).toBe('cellpool/next');
    expect(git(cells.repository, 'show', `${commit}:log.txt`)).toMatch(/^[0-9a-f]+ Write news.txt\n\?\? log.txt$/);
    expect(git(cells.repository, 'rev-parse', `${commit}^`)).toBe(tip);
    const artifacts = info?.artifacts ?? '';
    expect(artifacts).toBe(join(home, 'artifacts', 'next', `1-${agent.cell.cellId.slice(-8)}`));
    // The server's log from its first line on; the session of the task, and no other.
    expect(readFileSync(join(artifacts, ARTIFACTS.serverLog), 'utf8')).toContain('opencode server listening');
    expect(readFileSync(join(artifacts, ARTIFACTS.transcript), 'utf8')).not.toContain('Get ready');
    const line = cells.logs.find(({ msg }) => msg === 'committed');
    expect(line).toMatchObject({ task: 'next', attempt: 1, cell: agent.cell.cellId });

    await spawner.teardownAgent(agent);
    await cells.expectNothingLeft();
  });
});

describe('a cell made ahead', () => {
  let cells: TestCells;
  beforeAll(async () => {
    cells = await startTestCells();
  });
  afterAll(() => cells?.close());

  test('that died, or would have been made otherwise by now, is removed, and the task gets one made for it', async () => {
    const { spawner } = cells;
    await Promise.all([spawner.prepareAgent(like), spawner.prepareAgent(like)]);
    const [dead, old] = spawner.prepared;
    const server = cells.processes().find(({ by }) => by.includes(dead?.cellId ?? 'none'));
    process.kill(server?.pid ?? Number.NaN, 'SIGKILL');
    await vi.waitUntil(() => spawner.prepared[0]?.isSound === false, { timeout: 10_000, interval: 20 });
    // The server was told of no rules, for there were none.
    commitOnMain(cells, 'AGENTS.md', 'Be kind.\n');

    const agent = await spawner.spawnAgent({ agentId: 'a', taskId: 'cold', ...like });
    expect(agent.cell.cellId).toMatch(/^cold\./);
    expect(spawner.prepared).toEqual([]);
    expect(cells.cellFolders()).toEqual([agent.cell.cellId]);
    const left = [dead, old].map(one =>
      existsSync(join(cells.home, 'artifacts', 'cold', `1-${one?.cellId.slice(-8)}`)),
    );
    expect(left).toEqual([false, false]);
    await spawner.teardownAgent(agent);
    await cells.expectNothingLeft();
  });

  test('whose server answers late, as on a busy machine, is the task’s all the same', async () => {
    const { spawner } = cells;
    await spawner.prepareAgent(like);
    const [made] = spawner.prepared;
    const servers = cells.processes().filter(({ by }) => by.includes(made?.cellId ?? 'none'));
    for (const { pid } of servers) process.kill(pid, 'SIGSTOP');
    const spawned = spawner.spawnAgent({ agentId: 'a', taskId: 'late', ...like });
    await sleep(2_000);
    for (const { pid } of servers) process.kill(pid, 'SIGCONT');
    const agent = await spawned;
    expect(agent.cell.cellId).toBe(made?.cellId);
    await spawner.teardownAgent(agent);
    await cells.expectNothingLeft();
  });

  test('that nobody wants is removed when that is asked for, and asking again is harmless', async () => {
    const { spawner } = cells;
    await spawner.prepareAgent(like);
    const id = spawner.prepared[0]?.cellId ?? '';
    await Promise.all([spawner.discardPrepared(id), spawner.discardPrepared(id), spawner.discardPrepared('other')]);
    expect(spawner.prepared).toEqual([]);
    await cells.expectNothingLeft();
  });

  test('leaves nothing when its server does not start, when it does not get warm, and when it is cancelled', async () => {
    const fake = (name: string) => fileURLToPath(new URL(`../fixtures/servers/${name}.mjs`, import.meta.url));
    const exits = cells.spawnerWith({ binary: fake('dies-at-once') });
    await expect(exits.prepareAgent(like)).rejects.toMatchObject({ code: 'SERVER_EXITED' });
    await cells.expectNothingLeft();
    const cold = cells.spawnerWith({ binary: fake('only-healthy') });
    await expect(cold.prepareAgent(like)).rejects.toThrow('could not be warmed up');
    await cells.expectNothingLeft();
    const cancel = new AbortController();
    const cancelled = cells.spawner.prepareAgent(like, cancel.signal);
    await vi.waitUntil(() => cells.processes().length > 0, { timeout: 60_000, interval: 20 });
    cancel.abort();
    await expect(cancelled).rejects.toMatchObject({ code: 'CANCELLED' });
    await cells.expectNothingLeft();
  });

  test('is no use to a task when files would lie in another form by now, or another login is stored', async () => {
    const { spawner, repository } = cells;
    const data = join(tempFolder('data'), 'data');
    mkdirSync(join(data, 'opencode'), { recursive: true });
    vi.stubEnv('XDG_DATA_HOME', data);
    onTestFinished(() => void vi.unstubAllEnvs());
    await Promise.all([spawner.prepareAgent(like), spawner.prepareAgent(like)]);
    const ids = spawner.prepared.map(({ cellId }) => cellId);
    const lines = () => cells.logs.filter(({ msg }) => msg === 'a cell that was made ahead could not be used');
    mkdirSync(join(repository, 'deep'));
    commitOnMain(cells, 'deep/.gitattributes', '* eol=crlf\n');
    const before = lines().length;
    const first = await spawner.spawnAgent({ agentId: 'a', taskId: 'reshaped', ...like });
    expect(first.cell.cellId).toMatch(/^reshaped\./);
    await spawner.teardownAgent(first);
    expect(
      lines()
        .slice(before)
        .map(({ cell }) => cell)
        .sort(),
    ).toEqual([...ids].sort());

    await spawner.prepareAgent(like);
    writeFileSync(join(data, 'opencode', 'auth.json'), JSON.stringify({ scripted: { type: 'api', key: 'other' } }));
    const second = await spawner.spawnAgent({ agentId: 'a', taskId: 'login', ...like });
    expect(second.cell.cellId).toMatch(/^login\./);
    await spawner.teardownAgent(second);
    await cells.expectNothingLeft();
  });

  test('gets warm also where the agent has to ask before it runs anything', async () => {
    const { spawner } = cells;
    await spawner.prepareAgent({ ...like, opencode: { permission: { '*': 'ask' } } });
    const [made] = spawner.prepared;
    await spawner.discardPrepared(made?.cellId ?? '');
    await cells.expectNothingLeft();
  });

  test('is refused for no model in particular, and with MCP servers', async () => {
    const unnamed = cells.spawnerWith({ opencode: {} });
    await expect(unnamed.prepareAgent()).rejects.toMatchObject({ code: 'INVALID_INPUT' });
    const mcp = { tools: { type: 'local', command: ['true'] } };
    await expect(cells.spawner.prepareAgent({ ...like, opencode: { mcp } })).rejects.toThrow('MCP');
    await cells.expectNothingLeft();
  });

  test('is for a base that is there', async () => {
    await expect(cells.spawner.prepareAgent({ branch: 'nowhere' })).rejects.toMatchObject({ code: 'UNKNOWN_BASE' });
    await cells.expectNothingLeft();
  });
});
