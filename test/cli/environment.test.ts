/** What is not there: Redis, opencode, git. Each ends with 3, says what to do, and changes nothing. */
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync } from 'node:fs';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import getPort from 'get-port';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { CliHome, type Finished, jsonLines } from '../support/cli.ts';
import { processesLeft } from '../support/leaks.ts';

const cli = new CliHome();
let repository: string;
let task: string[];
let closedPort: number;

beforeAll(async () => {
  repository = cli.repository();
  task = ['--id', 'one', '--prompt', 'do it', '--repo', repository];
  closedPort = await getPort({ host: '127.0.0.1' });
});
afterAll(() => cli.remove());

interface Check {
  check: string;
  state: string;
  found: string;
  advice: string | null;
}

const checksOf = ({ stdout }: Finished) => new Map(jsonLines<Check>(stdout).map(check => [check.check, check]));

describe('without Redis at the given address', () => {
  const url = () => `redis://user:hunter2@127.0.0.1:${closedPort}`;

  test.each([...['run', 'enqueue', 'worker', 'cancel', 'retry', 'pause', 'resume', 'drain']])(
    '%s ends with 3, says what to do, and keeps the password',
    async command => {
      const args = { run: task, enqueue: task, cancel: ['a'], retry: ['a'] }[command] ?? [];
      const { exitCode, stdout, stderr } = await cli.run([command, ...args], { env: { REDIS_URL: url() } });
      expect({ exitCode, stdout }).toEqual({ exitCode: 3, stdout: '' });
      expect(stderr).toContain(`127.0.0.1:${closedPort}`);
      expect(stderr).toContain('REDIS_URL');
      expect(stderr).not.toContain('hunter2');
      expect(stderr).not.toMatch(/^ +at /m);
    },
  );

  test('doctor finds it among the rest, and keeps the password', async () => {
    const done = await cli.run(['doctor', '--json'], { env: { REDIS_URL: url() } });
    expect(done.exitCode).toBe(3);
    expect(checksOf(done).get('redis')).toMatchObject({ state: 'fault' });
    expect(checksOf(done).get('redis')?.advice).not.toBeNull();
    expect(checksOf(done).get('git')).toMatchObject({ state: 'ok', advice: null });
    expect(done.stdout + done.stderr).not.toContain('hunter2');
  });

  test('even --verbose keeps the password', async () => {
    const { stderr } = await cli.run(['--verbose', 'enqueue', ...task], { env: { REDIS_URL: url() } });
    expect(stderr).toMatch(/^ +at /m);
    expect(stderr).not.toContain('hunter2');
  });
});

describe('without opencode', () => {
  const env = { OPENCODE_BIN: '/nonexistent/opencode' };

  test.each(['run', 'worker'])('%s refuses to begin, with 3 and what to do', async command => {
    const { exitCode, stdout, stderr } = await cli.run([command, ...(command === 'run' ? task : [])], { env });
    expect({ exitCode, stdout }).toEqual({ exitCode: 3, stdout: '' });
    expect(stderr).toContain('/nonexistent/opencode');
    expect(stderr).toContain('OPENCODE_BIN');
  });

  test('run has queued nothing', async () => {
    await cli.run(['run', ...task], { env });
    expect(await cli.look(queue => queue.getJobCountByTypes())).toBe(0);
  });

  test('enqueue works all the same: the cells may run elsewhere', async () => {
    const { exitCode, stdout } = await cli.run(['enqueue', ...task], { env });
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/^one +queued +waiting/m);
  });

  test('doctor warns of workspaces that give up the repository of the user', async () => {
    const warned = checksOf(await cli.run(['doctor', '--json', '--workspace', 'worktree'], { env })).get('workspace');
    expect(warned).toMatchObject({ state: 'warning', found: expect.stringContaining('refs, config and hooks') });
    expect(warned?.advice).toContain('CELLPOOL_WORKSPACE');
  });

  test('doctor says which program is missing', async () => {
    const done = await cli.run(['doctor', '--json'], { env });
    expect(done.exitCode).toBe(3);
    expect(checksOf(done).get('opencode')).toMatchObject({ state: 'fault' });
    expect(checksOf(done).get('opencode')?.found).toContain('/nonexistent/opencode');
    expect(checksOf(done).get('opencode')?.advice).toContain('OPENCODE_BIN');
  });
});

describe('without git', () => {
  test('run ends with 3 and says so', async () => {
    const empty = join(cli.folder, 'empty-path');
    mkdirSync(empty);
    const { exitCode, stdout, stderr } = await cli.run(['run', ...task], { env: { PATH: empty } });
    expect({ exitCode, stdout }).toEqual({ exitCode: 3, stdout: '' });
    expect(stderr).toContain('git');
  });
});

describe('a state folder that cannot be written', () => {
  test.skipIf(process.getuid?.() === 0)('ends with 3 and says which', async () => {
    const locked = join(cli.folder, 'locked');
    mkdirSync(locked);
    chmodSync(locked, 0o500);
    const { exitCode, stderr } = await cli.run(['enqueue', ...task, '--home', join(locked, 'state')]);
    expect(exitCode).toBe(3);
    expect(stderr).toContain(locked);
  });

  test('a file in its place ends with 3 and says which', async () => {
    const file = cli.file('in-the-way', '');
    const { exitCode, stderr } = await cli.run(['enqueue', ...task, '--home', join(file, 'state')]);
    expect(exitCode).toBe(3);
    expect(stderr).toContain(file);
  });
});

describe('with everything there', () => {
  test('doctor finds no fault, and says a line a check', async () => {
    const { exitCode, stdout } = await cli.run(['doctor', '--concurrency', '1']);
    expect(exitCode).toBe(0);
    for (const check of ['git', 'opencode', 'state folder', 'redis', 'ports', 'memory', 'limits']) {
      expect(stdout).toMatch(new RegExp(`^${check} +(ok|warning) `, 'm'));
    }
  });

  test('a reader that has seen enough is no error, on either stream', async () => {
    const many = Array.from({ length: 300 }, (_, index) => ({ id: `many-${index}`, prompt: 'do it' }));
    const file = cli.tasksFile('many.jsonl', many);
    const both = await cli.runClosed(['enqueue', file, '--repo', repository, '--json'], ['stdout', 'stderr']);
    expect(both).toEqual({ exitCode: 0, signal: null });
    const usage = await cli.runClosed(['rum'], ['stderr']);
    expect(usage).toEqual({ exitCode: 2, signal: null });
  });

  test('a full disk under stdout makes a good end 1, once told, and the work is done all the same', async () => {
    const args = ['--id', 'on-a-full-disk', '--prompt', 'do it', '--repo', repository];
    const { exitCode, stderr } = await cli.run(['enqueue', ...args, '--json'], { stdoutFile: '/dev/full' });
    expect(exitCode).toBe(1);
    expect(stderr.match(/output on stdout was lost: ENOSPC/g)).toHaveLength(1);
    expect(stderr).not.toMatch(/^ +at /m);
    expect(await cli.look(queue => queue.getJobState('on-a-full-disk'))).toBe('waiting');
  });

  test.skipIf(spawnSync('python3', ['--version']).status !== 0)(
    'a terminal that is closed lets a worker come to its end, and its Redis with it',
    async () => {
      const own = new CliHome();
      await own.runOnClosedTerminal(['worker', '--concurrency', '1'], 'Working with');
      // Redis would stay if the worker had not come to its own end.
      const left = await processesLeft({ marker: `CELLPOOL_HOME=${own.home}`, folder: own.home });
      own.remove();
      expect(left).toEqual([]);
    },
  );

  test('enqueue says that words and settings which differ from those on the queue count for nothing', async () => {
    const args = ['enqueue', '--id', 'said-twice', '--repo', repository, '--prompt'];
    expect((await cli.run([...args, 'do it'])).stderr).not.toContain('said-twice');
    expect((await cli.run([...args, 'do it'])).stderr).not.toContain('said-twice');
    const words = 'said-twice was enqueued with other words or settings';
    expect((await cli.run([...args, 'do something else'])).stderr).toContain(words);
    expect((await cli.run([...args, 'do it', '--setup', 'true'])).stderr).toContain(words);
  });
});

describe('Ctrl-C while Redis is waited for', () => {
  let silent: Server;
  let reached: Promise<unknown>;

  beforeEach(async () => {
    silent = createServer().listen(0, '127.0.0.1');
    reached = once(silent, 'connection');
    await once(silent, 'listening');
    return () => void silent.close();
  });

  test.each(['enqueue', 'doctor'])('ends %s with 130, as an interrupted command', async command => {
    const { port } = silent.address() as AddressInfo;
    const args = command === 'enqueue' ? task : [];
    const running = cli.start([command, ...args], { env: { REDIS_URL: `redis://127.0.0.1:${port}` } });
    await reached;
    running.signal('SIGINT');
    const { exitCode, signal, stdout, stderr } = await running.ended;
    expect({ exitCode, signal, stdout }).toEqual({ exitCode: 130, signal: null, stdout: '' });
    expect(stderr).toContain('interrupted by SIGINT');
  });
});
