/**
 * The public class over two real agents that all tests of this file share: A does the work, B is killed. The order of
 * the tests is the order of their lives.
 */
import { existsSync, readFileSync, readlinkSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import type { AgentSpawner } from '../../src/cell/agent-spawner.ts';
import type { CellInfo, SpawnedAgent } from '../../src/cell/spawned-agent.ts';
import { script } from '../../src/cli/demo/script.ts';
import { SCRIPTED_MODEL } from '../../src/cli/demo/scripted-model.ts';
import { readProcess } from '../../src/os/process-table.ts';
import { BOUND } from '../support/bound.ts';
import { occupy, startTestCells, type TestCells } from '../support/cell.ts';
import { processesOf } from '../support/leaks.ts';
import { git, pictureOf, refsOf } from '../support/repository.ts';

const CANARY = 'canary-6f1d';
const TEST_LIMIT_MS = 10_000;

// Real servers share few cores with other tests: a boot of 3 s may take 30.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

let cells: TestCells;
let spawner: AgentSpawner;
let stranger: Awaited<ReturnType<typeof occupy>>;
let configBefore: Record<string, string>;
let workspaceAtSpawn: Record<string, string>;
let refsBefore: string;
let a: SpawnedAgent;
let b: SpawnedAgent;

beforeAll(async () => {
  // The worker's own secrets; none of them may be seen in a cell.
  process.env.CELLPOOL_CANARY = CANARY;
  process.env.REDIS_URL = `redis://:${CANARY}@127.0.0.1:1`;
  process.env.ANTHROPIC_API_KEY = CANARY;
  cells = await startTestCells();
  spawner = cells.spawner;
  configBefore = pictureOf(cells.site.configFolder);
  refsBefore = refsOf(cells.repository);
  stranger = await occupy(cells.range.from);
  const ids = { agentId: 'agent-a', taskId: 'task-a.1' };
  // What a test command does is written by each test into the cell's own home, outside the workspace.
  const test = 'sh "$HOME/judge.sh"';
  [a, b] = await Promise.all([
    spawner.spawnAgent({ ...ids, test, model: SCRIPTED_MODEL, attempt: 2, limits: { testMs: TEST_LIMIT_MS } }),
    spawner.spawnAgent({ agentId: 'agent-b', taskId: 'task-b' }),
  ]);
  workspaceAtSpawn = pictureOf(a.cell.workspacePath);
});

afterAll(async () => {
  await Promise.all([a, b].map(agent => spawner?.teardownAgent(agent)));
  await stranger?.close();
  await cells?.close();
  for (const name of ['CELLPOOL_CANARY', 'REDIS_URL', 'ANTHROPIC_API_KEY']) delete process.env[name];
});

const infoOf = (agent: SpawnedAgent): CellInfo => {
  const info = spawner.getCellInfo(agent);
  if (info === null) throw new Error(`agent ${agent.id} is not known`);
  return info;
};
const homeOf = (agent: SpawnedAgent) => join(dirname(agent.cell.workspacePath), 'home');
const environmentOf = (pid: number) => readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').filter(Boolean);
const passwordOf = (agent: SpawnedAgent) => {
  const name = 'OPENCODE_SERVER_PASSWORD=';
  const entry = environmentOf(infoOf(agent).pid).find(one => one.startsWith(name)) ?? '';
  return entry.slice(name.length);
};
const judge = (agent: SpawnedAgent, lines: string) => {
  writeFileSync(join(homeOf(agent), 'judge.sh'), lines);
  return spawner.runTests(agent);
};

/** Commands of the processes that carry `entry` in their environment, wherever they work. */
const findByEnvironment = (entry: string) =>
  processesOf({ marker: entry, folder: join(cells.home, 'nowhere') }).map(one => one.command);

describe('two agents spawned at once', () => {
  test('have a port, a workspace, a URL and a cell each of their own', () => {
    for (const key of ['port', 'workspacePath', 'baseUrl', 'cellId'] as const) {
      expect(a.cell[key]).not.toBe(b.cell[key]);
    }
    expect(infoOf(a).pid).not.toBe(infoOf(b).pid);
    expect([a.tokensUsed, b.tokensUsed]).toEqual([0, 0]);
  });

  test('pass by a port that a foreign program occupies, and do not count it as a failure', async () => {
    const { from } = cells.range;
    expect([a.cell.port, b.cell.port].sort()).toEqual([from + 1, from + 2]);
    expect((await cells.leases()).map(lease => lease.port).sort()).toEqual([from + 1, from + 2]);
    expect(cells.logs).toContainEqual(expect.objectContaining({ port: from, level: 40 }));
  });

  test('are told of in full by getCellInfo, and nobody by null', () => {
    const { cellId, port, workspacePath, baseUrl } = a.cell;
    expect(infoOf(a)).toEqual({
      cellId,
      agentId: 'agent-a',
      taskId: 'task-a.1',
      port,
      workspacePath,
      baseUrl,
      branch: 'cellpool/task-a.1',
      baseCommit: git(cells.repository, 'rev-parse', 'main'),
      pid: expect.any(Number),
      opencodeVersion: expect.stringMatching(/^\d+\.\d+\.\d+$/),
      artifacts: expect.stringContaining(join(cells.home, 'artifacts', 'task-a.1')),
      isolation: 'process',
      workspace: 'clone',
      limits: expect.objectContaining({ disk: 'watched' }),
      createdAt: expect.any(Date),
      tokensUsed: 0,
      costUsd: 0,
    });
    expect(baseUrl).toBe(`http://127.0.0.1:${port}`);
    expect(a).toMatchObject({ id: 'agent-a', taskId: 'task-a.1', agent: { name: null, model: SCRIPTED_MODEL } });
    expect(spawner.getCellInfo(null)).toBeNull();
    expect(spawner.getCellInfo(undefined)).toBeNull();
  });

  test('are healthy; nobody is not', async () => {
    expect(await Promise.all([a, b, null, undefined].map(one => spawner.isHealthy(one)))).toEqual([
      true,
      true,
      false,
      false,
    ]);
  });
});

describe('the server', () => {
  test('leads a process group of its own and works in the workspace', async () => {
    const { pid, workspacePath } = infoOf(a);
    expect(await readProcess(pid)).toMatchObject({ group: pid, parent: process.pid });
    expect(readlinkSync(`/proc/${pid}/cwd`)).toBe(workspacePath);
  });

  test('answers nobody without its password', async () => {
    const ask = async (password: string | null) => {
      const credentials = Buffer.from(`opencode:${password}`).toString('base64');
      const headers = password === null ? {} : { authorization: `Basic ${credentials}` };
      const answer = await fetch(`${a.cell.baseUrl}/global/health`, { headers });
      await answer.body?.cancel();
      return answer.status;
    };
    expect(passwordOf(a)).toMatch(/^[\w-]{32}$/);
    expect(passwordOf(b)).not.toBe(passwordOf(a));
    expect([await ask(null), await ask(''), await ask(passwordOf(b)), await ask(passwordOf(a))]).toEqual([
      401, 401, 401, 200,
    ]);
  });

  test('sees exactly the listed environment', () => {
    const common = ['PATH', 'LANG', 'LC_ALL', 'LC_CTYPE', 'TZ', 'NODE_EXTRA_CA_CERTS', 'SSL_CERT_FILE', 'SSL_CERT_DIR'];
    const proxies = ['HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY', 'http_proxy', 'https_proxy', 'no_proxy'];
    const passed = [...common, ...proxies].filter(name => process.env[name] !== undefined);
    const environment = environmentOf(infoOf(a).pid);
    expect(environment.map(entry => entry.slice(0, entry.indexOf('='))).sort()).toEqual(
      [
        ...passed,
        // The folder it runs in, which whoever starts it for us tells it.
        ...['PWD', 'HOME', 'TMPDIR', 'XDG_CACHE_HOME', 'XDG_CONFIG_HOME', 'XDG_DATA_HOME', 'XDG_STATE_HOME'],
        ...['CELLPOOL_CELL', 'GIT_CONFIG_NOSYSTEM', 'GIT_TERMINAL_PROMPT'],
        ...['OPENCODE_CONFIG_CONTENT', 'OPENCODE_SERVER_PASSWORD', 'OPENCODE_DISABLE_AUTOUPDATE'],
        ...['OPENCODE_DISABLE_MODELS_FETCH', 'OPENCODE_DISABLE_LSP_DOWNLOAD', 'OPENCODE_DISABLE_PROJECT_CONFIG'],
        ...['OPENCODE_DISABLE_CLAUDE_CODE', 'OPENCODE_DISABLE_FFF', 'OPENCODE_EXPERIMENTAL_DISABLE_FILEWATCHER'],
        'OPENCODE_MODELS_PATH',
      ].sort(),
    );
    expect(environment.join('\n')).not.toContain(CANARY);
    expect(environment).toContain(`HOME=${homeOf(a)}`);
  });
});

describe('the test command', () => {
  test('is believed by its exit code, and its output is kept', async () => {
    const passed = await judge(a, 'echo FAIL; echo not ok 1\n');
    expect(passed).toMatchObject({ passed: true, exitCode: 0, timedOut: false, tail: 'FAIL\nnot ok 1\n' });
    const failed = await judge(a, 'echo all good; exit 7\n');
    expect(failed).toMatchObject({ passed: false, exitCode: 7, timedOut: false, tail: 'all good\n' });
    expect(readFileSync(join(infoOf(a).artifacts, 'test.log'), 'utf8')).toBe('all good\n');
  });

  test('is told to the last line, however fast it ends', async () => {
    const { tail } = await judge(a, 'head -c 60000 /dev/zero | tr "\\0" x\necho\necho the reason\nexit 1\n');
    expect(tail.endsWith('x\nthe reason\n')).toBe(true);
  });

  test("sees its own home and the task, but no secret: neither the worker's nor the server's password", async () => {
    const { tail } = await judge(a, 'env; pwd\n');
    const lines = tail.trim().split('\n');
    expect(lines).toContain(`HOME=${homeOf(a)}`);
    expect(lines).toContain('CELLPOOL_TASK_ID=task-a.1');
    expect(lines.at(-1)).toBe(a.cell.workspacePath);
    expect(tail).not.toContain(CANARY);
    expect(tail).not.toContain(passwordOf(a));
    expect(tail).not.toMatch(/^(OPENCODE|REDIS|XDG_CONFIG_HOME|CELLPOOL_TEST)/m);
  });

  test('has a time limit, which is a failed test and not an error', async () => {
    const verdict = await judge(a, 'echo begun; sleep 300\n');
    expect(verdict).toMatchObject({ passed: false, exitCode: null, timedOut: true, tail: 'begun\n' });
    expect(cells.processes().filter(one => one.command.includes('sleep'))).toEqual([]);
  });

  test('is stopped by a cancellation', async () => {
    const cancel = new AbortController();
    writeFileSync(join(homeOf(a), 'judge.sh'), 'touch "$HOME/begun"; sleep 300\n');
    const running = spawner.runTests(a, cancel.signal);
    running.catch(() => undefined);
    await expect.poll(() => existsSync(join(homeOf(a), 'begun')), BOUND).toBe(true);
    cancel.abort();
    await expect(running).rejects.toMatchObject({ code: 'CANCELLED' });
    expect(cells.processes().filter(one => one.command.includes('sleep'))).toEqual([]);
  });

  test('leaves no background process, not even one in a session of its own that moved away', async () => {
    const daemons = ['nohup sleep 301 >/dev/null 2>&1 &', 'setsid sleep 302 &', '(cd / && setsid sleep 303 &)'];
    // Each needs a moment to become what it is; the limit of the tests bounds the waiting.
    const all = `until [ "$(ps -e -o args= | grep -c '^sleep 30[123]')" = 3 ]; do sleep 0.02; done`;
    expect(await judge(a, `${daemons.join('\n')}\n${all}\n`)).toMatchObject({ passed: true });
    const marker = `CELLPOOL_CELL=${a.cell.cellId}/command`;
    expect(cells.processes().filter(one => one.command.includes('sleep'))).toEqual([]);
    expect(findByEnvironment(marker)).toEqual([]);
    // Whose server it is has not been forgotten in the killing.
    expect(await spawner.isHealthy(a)).toBe(true);
  });
});

describe('the work', () => {
  test('is done in the workspace, by an agent that sees no secret of the worker either', async () => {
    const prompt = script([
      { tokens: { input: 200, output: 30, reasoning: 7, cached: 1_000 } },
      { run: 'env > "$HOME/agent-env.txt"; mv old-name.txt "new näme.txt"; mkdir -p ignored; echo i > ignored/i' },
      { write: { 'src/greet.js': "export const greet = () => 'hi';\n", 'src/added.js': 'export {};\n' } },
      { delete: ['doomed.txt'] },
    ]);
    const result = await spawner.executeTask(a, prompt);
    expect(result).toMatchObject({ ended: 'idle', error: null, tokensUsed: 4 * 237 });
    expect(a.tokensUsed).toBe(4 * 237);
    expect(await spawner.hasChanges(a)).toBe(true);
    const seen = readFileSync(join(homeOf(a), 'agent-env.txt'), 'utf8');
    expect(seen).toContain(`HOME=${homeOf(a)}\n`);
    expect(seen).not.toContain(CANARY);
    expect(seen).not.toMatch(/^(REDIS_URL|CELLPOOL_CANARY|CELLPOOL_TEST_\w+)=/m);
  });

  test('is committed as it was judged: what the test command did to the files is not in it', async () => {
    const verdict = await judge(a, 'echo more >> src/added.js; echo left > left-by-test.txt; rm README.md\n');
    expect(verdict.passed).toBe(true);
    const made = await spawner.commitChanges(a, 'Greet shorter\n\nIt was too long.', { facts: { Reviewed: 'no' } });

    const { repository } = cells;
    const files = ['doomed.txt', 'new näme.txt', 'old-name.txt', 'src/added.js', 'src/greet.js'];
    expect(made).toEqual({
      committed: true,
      commit: git(repository, 'rev-parse', 'cellpool/task-a.1'),
      branch: 'cellpool/task-a.1',
      filesModified: files,
      secretInWork: false,
    });
    const show = (format: string) => git(repository, 'show', '--no-patch', `--format=${format}`, String(made.commit));
    expect(git(repository, 'show', `${made.commit}:src/added.js`)).toBe('export {};');
    expect(git(repository, 'ls-tree', '-r', '--name-only', '-z', String(made.commit)).split('\0').sort()).toEqual(
      ['', '.gitignore', 'README.md', 'new näme.txt', 'src/added.js', 'src/greet.js'].sort(),
    );
    expect(show('%P')).toBe(infoOf(a).baseCommit);
    expect(show('%an <%ae> %cn <%ce>')).toBe('Cell Tester <cells@example.com> Cell Tester <cells@example.com>');
    expect(show('%s|%(trailers:unfold)')).toBe(
      [
        'Greet shorter|Task: task-a.1',
        'Attempt: 2',
        `Cell: ${a.cell.cellId}`,
        `Model: ${SCRIPTED_MODEL}`,
        `Tokens: ${4 * 237}`,
        'Reviewed: no',
        '',
      ].join('\n'),
    );
    expect(refsOf(repository)).toBe([`refs/heads/cellpool/task-a.1 ${made.commit}`, refsBefore].join('\n'));
  });

  test('is taken back exactly: untracked, ignored and locked files and own commits too, and the diff is kept and applies', async () => {
    // The patch is of the whole work since spawn, so the work of the test before goes first.
    const prompt = script([
      { write: { 'deep/er/untracked.txt': 'u\n', 'ignored/cache.bin': 'c\n', 'some.log': 'l\n' } },
      { run: 'ln -s /etc link; chmod 755 README.md; git add --all; git commit -qm mine; rm -r src; chmod 500 deep/er' },
    ]);
    await spawner.revertChanges(a);
    await spawner.executeTask(a, prompt);
    const { tree, diff, filesModified } = await spawner.revertChanges(a);

    expect(pictureOf(a.cell.workspacePath)).toEqual(workspaceAtSpawn);
    expect(tree).toBe(git(cells.repository, 'rev-parse', 'main^{tree}'));
    expect(git(a.cell.workspacePath, 'log', '--format=%s')).toBe('first');
    expect(filesModified).toEqual(['README.md', 'deep/er/untracked.txt', 'link', 'src/greet.js']);
    expect(diff).toBe(join(infoOf(a).artifacts, 'changes.diff'));

    const fresh = join(cells.home, 'fresh');
    git(cells.home, 'clone', '--quiet', cells.repository, fresh);
    git(fresh, 'apply', '--index', String(diff));
    expect(
      git(fresh, 'diff', '--cached', '--name-only', '--no-renames', '-z').split('\0').filter(Boolean).sort(),
    ).toEqual(filesModified);
  });

  test('is taken back also when git cannot record it, as when a link stands in place of the workspace', async () => {
    const { workspacePath } = a.cell;
    renameSync(workspacePath, join(homeOf(a), 'moved'));
    symlinkSync(cells.repository, workspacePath);
    const source = pictureOf(cells.repository);
    await expect(spawner.hasChanges(a)).rejects.toMatchObject({ code: 'COMMIT_FAILED' });
    expect(await spawner.revertChanges(a)).toEqual({
      tree: git(cells.repository, 'rev-parse', 'main^{tree}'),
      diff: null,
      summary: '',
      filesModified: [],
      secretInWork: false,
    });
    expect(pictureOf(workspacePath)).toEqual(workspaceAtSpawn);
    expect(pictureOf(cells.repository)).toEqual(source);
  });

  test('that changed nothing is no commit', async () => {
    expect(await spawner.hasChanges(a)).toBe(false);
    expect(await spawner.commitChanges(a, 'Nothing')).toEqual({
      committed: false,
      commit: null,
      branch: null,
      filesModified: [],
      secretInWork: false,
    });
  });

  test('that changed nothing is not tested, and what comes up after that look is not committed', async () => {
    const begins = vi.fn();
    expect(await spawner.runTestsOfChanges(a, begins)).toBeNull();
    expect(begins).not.toHaveBeenCalled();
    const late = join(infoOf(a).workspacePath, 'late.txt');
    writeFileSync(late, 'late\n');
    expect(await spawner.commitChanges(a, 'Late')).toMatchObject({ committed: false, commit: null });
    rmSync(late);
  });

  test('is left in the folder of artifacts: a readable transcript, the logs, the diff', () => {
    const { artifacts } = infoOf(a);
    const transcript = JSON.parse(readFileSync(join(artifacts, 'transcript.json'), 'utf8'));
    expect(transcript).toMatchObject({ model: SCRIPTED_MODEL, sessionId: expect.stringMatching(/^ses_/) });
    expect(transcript.messages.map((message: { info: { role: string } }) => message.info.role)).toContain('assistant');
    expect(readFileSync(join(artifacts, 'server.log'), 'utf8')).toContain('listening');
    for (const file of ['transcript.json', 'server.log', 'test.log']) {
      expect(readFileSync(join(artifacts, file), 'utf8')).not.toContain(passwordOf(a));
    }
  });

  test('installed nothing into the shared config folder', () => {
    expect(pictureOf(cells.site.configFolder)).toEqual(configBefore);
  });
});

describe('a server that is killed', () => {
  // The session's own limit is half an hour, so that it ends within this test shows what ended it.
  test('ends the session by name, long before its time limit', async () => {
    const asked = cells.model.requests;
    const running = spawner.executeTask(b, script([{ run: 'sleep 310 >/dev/null 2>&1 &' }, { hang: true }]));
    await expect.poll(() => cells.model.requests, { timeout: 60_000 }).toBe(asked + 2);
    process.kill(infoOf(b).pid, 'SIGKILL');
    const result = await running;
    expect(result).toMatchObject({ ended: 'error', error: { code: 'SERVER_EXITED', facts: { signal: 'SIGKILL' } } });
    expect(JSON.parse(readFileSync(join(infoOf(b).artifacts, 'transcript.json'), 'utf8')).messages).toBeNull();
  });

  test('is not healthy, and its agent can still be reverted and torn down', async () => {
    expect(await spawner.isHealthy(b)).toBe(false);
    await spawner.revertChanges(b);
    await spawner.teardownAgent(b);
    expect(cells.cellFolders()).toEqual([a.cell.cellId]);
    expect(cells.processes().filter(one => one.command.includes('sleep'))).toEqual([]);
    expect((await cells.leases()).map(lease => lease.port)).toEqual([a.cell.port]);
  });
});

describe('teardown', () => {
  test('of nobody is harmless', async () => {
    const nothing = { spawnMs: 0, executionMs: 0, teardownMs: 0, totalMs: 0 };
    expect(await spawner.teardownAgent(null)).toEqual(nothing);
    expect(await spawner.teardownAgent(undefined)).toEqual(nothing);
    expect(await cells.spawnerWith({}).teardownAgent(a)).toEqual(nothing);
    expect(await spawner.isHealthy(a)).toBe(true);
  });

  test("ends what the agent left in the background, in its server's group or out of it", async () => {
    const leave = 'nohup sleep 321 >/dev/null 2>&1 & setsid sleep 322 >/dev/null 2>&1 & env -C / setsid sleep 323 &';
    await spawner.executeTask(a, script([{ run: `(${leave}) >/dev/null 2>&1` }]));
    const marker = `CELLPOOL_CELL=${a.cell.cellId}`;
    // Each needs a moment to become what it is.
    const sleeps = () => findByEnvironment(marker).filter(command => /^sleep 32\d$/.test(command));
    await expect.poll(() => sleeps().length, BOUND).toBe(3);
    await spawner.teardownAgent(a);
    expect(findByEnvironment(marker)).toEqual([]);
  });

  test('measures itself, adds up, and gives the same answer again', async () => {
    const [metrics, again] = await Promise.all([spawner.teardownAgent(a), spawner.teardownAgent(a)]);
    expect(again).toBe(metrics);
    const { spawnMs, executionMs, teardownMs, totalMs } = metrics;
    for (const part of [spawnMs, executionMs, teardownMs]) expect(part).toBeGreaterThan(0);
    expect(totalMs).toBeGreaterThanOrEqual(spawnMs + executionMs + teardownMs);
  });

  test('leaves nothing behind, and an agent that nobody can use any more', async () => {
    await cells.expectNothingLeft();
    expect(await spawner.isHealthy(a)).toBe(false);
    await expect(spawner.executeTask(a, 'more')).rejects.toMatchObject({ code: 'INVALID_INPUT' });
    await expect(spawner.commitChanges(a, 'more')).rejects.toThrow('agent agent-a has no cell any more');
    await expect(cells.spawnerWith({}).revertChanges(a)).rejects.toThrow('has no cell of this spawner');
  });

  test('was all told to the log without a secret', () => {
    const told = JSON.stringify(cells.logs);
    expect(told).toContain('cell torn down');
    expect(told).not.toContain(CANARY);
    expect(cells.logs.filter(line => Number(line.level) > 40)).toEqual([]);
  });
});
