/** `cellpool worker` as two processes: what becomes of jobs, signals and leftovers when one of them dies. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { CliHome, type RunningCli } from '../support/cli.ts';
import { HangingOpencode } from '../support/hanging-opencode.ts';
import { processesOf } from '../support/leaks.ts';

const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

/** Runs a command on a terminal, presses Ctrl-C there for each line on stdin, and ends with the command's exit code. */
const TERMINAL = `
import os, pty, select, sys
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
while True:
    for ready in select.select([terminal, 0], [], [])[0]:
        try:
            data = os.read(ready, 4096)
        except OSError:
            data = b''
        if ready == terminal and data:
            os.write(1, data)
        elif ready == 0 and data:
            os.write(terminal, b'\\x03' * data.count(b'\\n'))
        else:
            os.close(terminal)
            sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
`;

let cli: CliHome;
let repository: string;
let opencode: HangingOpencode;
let env: Record<string, string>;

beforeEach(async () => {
  cli = new CliHome();
  repository = cli.repository();
  opencode = new HangingOpencode(cli.folder);
  env = { OPENCODE_BIN: opencode.path };
  await cli.run(['enqueue', '--id', 'a', '--prompt', 'do it', '--repo', repository, '--attempts', '1']);
  return () => cli.remove();
});

const jobState = () =>
  cli.look(async queue => {
    const job = await queue.getJob('a');
    return { state: await queue.getJobState('a'), attemptsMade: job?.attemptsMade };
  });

function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number);
}

function childOf({ pid }: RunningCli): number {
  const [child] = childrenOf(pid);
  if (child === undefined) throw new Error('the worker has no child');
  return child;
}

describe('a worker whose pool dies', () => {
  test('gives its job back, removes what it left, and goes on with a new pool', async () => {
    const worker = cli.start(['worker', '--concurrency', '1', '--grace', '0'], { env });
    await opencode.begun(1);
    const child = childOf(worker);
    process.kill(child, 'SIGKILL');
    await worker.says(`The worker ${child} was ended by SIGKILL; the next one starts in 1 s.`);
    await worker.says('1 job given back.');
    await opencode.begun(2);
    expect(childOf(worker)).not.toBe(child);
    worker.signal('SIGTERM');
    expect((await worker.ended).exitCode).toBe(130);
    expect(await jobState()).toEqual({ state: 'waiting', attemptsMade: 0 });
    await cli.expectNothingLeft(repository);
  }, 120_000);
});

describe('Ctrl-C in a terminal', () => {
  test('counts once for each press, though the whole process group hears it', async () => {
    const argv = ['-c', TERMINAL, process.execPath, main, 'worker', '--concurrency', '1'];
    const terminal = spawn('python3', argv, { cwd: cli.folder, env: { ...cli.environment(), ...env } });
    onTestFinished(() => void terminal.kill('SIGKILL'));
    let shown = '';
    terminal.stdout.on('data', chunk => {
      shown += chunk;
    });
    const shows = (text: string) => vi.waitUntil(() => shown.includes(text), { timeout: 60_000, interval: 20 });
    await opencode.begun(1);
    terminal.stdin.write('\n');
    await shows('Letting 1 running attempts end');
    expect(shown).not.toContain('stopping 1 attempt');
    terminal.stdin.write('\n');
    const [exitCode] = await once(terminal, 'close');
    expect(exitCode).toBe(130);
    expect(shown.match(/Letting/g)).toHaveLength(1);
    expect(shown.match(/Asked again: stopping 1 attempt/g)).toHaveLength(1);
    expect(shown).not.toContain('ended at once');
    expect(await jobState()).toEqual({ state: 'waiting', attemptsMade: 0 });
    await cli.expectNothingLeft(repository);
  }, 120_000);
});

describe('a worker whose supervisor is killed', () => {
  test('comes to its end as after SIGTERM, and leaves nothing', async () => {
    const worker = cli.start(['worker', '--concurrency', '1'], { env });
    await opencode.begun(1);
    process.kill(worker.pid, 'SIGKILL');
    await worker.says('Letting 1 running attempts end');
    opencode.open();
    // Its outputs are those of the supervisor, so this is the end of both.
    await worker.ended;
    expect(await jobState()).toEqual({ state: 'failed', attemptsMade: 1 });
    await cli.expectNothingLeft(repository);
  }, 120_000);
});

describe('a pool that a service manager tells as well as its supervisor', () => {
  test('is asked once', async () => {
    const worker = cli.start(['worker', '--concurrency', '1'], { env });
    await opencode.begun(1);
    process.kill(childOf(worker), 'SIGTERM');
    worker.signal('SIGTERM');
    await worker.says('Letting 1 running attempts end');
    opencode.open();
    const { exitCode, stderr } = await worker.ended;
    expect(exitCode).toBe(0);
    expect(stderr).not.toContain('Asked again');
  }, 120_000);
});

describe('a fault at the start', () => {
  test('is told once, and nothing is started anew', async () => {
    const { exitCode, stderr } = await cli.run(['worker'], { env: { OPENCODE_BIN: '/nonexistent/opencode' } });
    expect(exitCode).toBe(3);
    expect(stderr.match(/\/nonexistent\/opencode/g)).toHaveLength(1);
    expect(stderr).not.toContain('the next one starts');
  });
});

describe('--no-supervisor', () => {
  test('works in the process itself', async () => {
    const worker = cli.start(['worker', '--no-supervisor', '--grace', '0'], { env });
    await opencode.begun(1);
    const workers = processesOf({ marker: `CELLPOOL_HOME=${cli.home}`, folder: cli.home });
    expect(workers.filter(({ command }) => command.includes('--no-supervisor'))).toHaveLength(1);
    worker.signal('SIGTERM');
    expect((await worker.ended).exitCode).toBe(130);
    await cli.expectNothingLeft(repository);
  }, 120_000);
});
