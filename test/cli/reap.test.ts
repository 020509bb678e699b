/** `cellpool reap` after a worker was killed in the middle of an attempt, with real opencode. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { type ScriptedModel, startScriptedModel } from '../../src/cli/demo/scripted-model.ts';
import type { AttemptResult } from '../../src/job/outcome.ts';
import { ownIdentity } from '../../src/os/identity.ts';
import { nameOfOwn } from '../../src/worker/owned-folders.ts';
import { CliHome, Gate, jsonLines, scripted } from '../support/cli.ts';
import { discardedOnSlowDisk } from '../support/discarded.ts';

interface Line {
  result: string;
  kind: string;
  name: string;
  taskId?: string;
  removed?: string[];
  jobGivenBack?: boolean;
  message?: string;
}

const cli = new CliHome();
let model: ScriptedModel;

beforeAll(async () => {
  model = await startScriptedModel();
});
afterAll(async () => {
  await model.close();
  cli.remove();
});

describe('after a worker was killed in the middle of an attempt', () => {
  test('reap leaves nothing of it, and the job is worked to its end by the next one', async () => {
    const repository = cli.repository();
    const gate = new Gate(cli.folder, 'held');
    const file = cli.tasksFile('tasks.jsonl', [scripted('held', [gate.step, { write: { 'held.txt': 'x\n' } }])]);
    const tasks = [file, '--repo', repository, ...cli.modelFlags(model)];
    expect((await cli.run(['enqueue', ...tasks])).exitCode).toBe(0);
    const worker = cli.start(['worker', '--concurrency', '1']);
    await gate.reached();

    const living = await cli.run(['reap', '--json']);
    expect(living.exitCode).toBe(0);
    expect(jsonLines<Line>(living.stdout)).toMatchObject([
      { result: 'left', kind: 'cell', why: expect.stringContaining('its worker lives') },
    ]);

    const [entry] = readdirSync(join(cli.home, 'registry'));
    const record = JSON.parse(readFileSync(join(cli.home, 'registry', entry ?? ''), 'utf8')) as {
      worker: { pid: number };
    };
    worker.signal('SIGKILL');
    // The process that has the cells, should it be another one than the command.
    if (record.worker.pid !== worker.pid) process.kill(record.worker.pid, 'SIGKILL');
    await worker.ended;
    const asked = await cli.run(['reap', '--dry-run']);
    expect(asked.exitCode).toBe(0);
    expect(asked.stdout).toContain('1 leftover would be removed; nothing was changed.');
    const [folder] = readdirSync(join(cli.home, 'cells'));

    const { exitCode, stdout } = await cli.run(['reap', '--json']);
    expect(exitCode).toBe(0);
    const lines = jsonLines<Line>(stdout);
    expect(lines).toMatchObject([{ result: 'reaped', kind: 'cell', name: folder, taskId: 'held', jobGivenBack: true }]);
    expect(lines[0]?.removed).toEqual(
      expect.arrayContaining(['folder', 'base pin', expect.stringMatching(/^port \d+$/), 'registry entry']),
    );
    await cli.expectNothingLeft(repository);
    expect(readdirSync(join(cli.home, 'registry'))).toEqual([]);
    expect(await cli.look(queue => queue.getJobState('held'))).toBe('waiting');
    expect(await cli.run(['reap', '--json'])).toMatchObject({ exitCode: 0, stdout: '', stderr: '' });

    gate.open();
    const run = await cli.run(['run', ...tasks, '--json']);
    expect(run.exitCode).toBe(0);
    expect(jsonLines<AttemptResult>(run.stdout)).toMatchObject([{ taskId: 'held', outcome: 'committed', attempt: 1 }]);
    await cli.expectNothingLeft(repository);
  }, 180_000);
});

describe('reap on its own', () => {
  const other = new CliHome();
  afterAll(() => other.remove());

  test('tells a person that there was nothing to remove', async () => {
    expect(await other.run(['reap'])).toMatchObject({ exitCode: 0, stdout: '0 leftovers removed.\n', stderr: '' });
  });

  test('tells of an entry that it does not understand, leaves what it names, and ends with 1', async () => {
    const [registry, folder] = [join(other.home, 'registry'), join(other.home, 'cells', 'fix-1.0123abcd')];
    for (const path of [registry, folder]) mkdirSync(path, { recursive: true });
    writeFileSync(join(registry, 'fix-1.0123abcd.json'), '{"host": "\u001b[2Jcli-test"}');
    const people = await other.run(['reap']);
    expect(people.exitCode).toBe(1);
    expect(people.stdout).toContain('fault: cell fix-1.0123abcd: registry entry: is not understood');
    const { exitCode, stdout } = await other.run(['reap', '--json']);
    expect(exitCode).toBe(1);
    expect(jsonLines<Line>(stdout)).toMatchObject([{ result: 'fault', kind: 'cell', name: 'fix-1.0123abcd' }]);
    expect(readdirSync(join(other.home, 'cells'))).toEqual(['fix-1.0123abcd']);
  });

  test('removes what a dead worker was about to remove, however much that is, before it ends', async () => {
    const home = new CliHome();
    onTestFinished(() => home.remove());
    const discarded = join(home.home, 'discarded');
    const self = await ownIdentity();
    const nameOf = (at: number) => nameOfOwn({ ...self, pid: 2 ** 29 }, `fix-${at}.0123abcd`);
    const names = Array.from({ length: 60 }, (_, at) => nameOf(at)).sort();
    for (const name of names) mkdirSync(join(discarded, name, 'workspace'), { recursive: true });
    const { exitCode, stdout } = await home.run(['reap', '--json']);
    expect(exitCode).toBe(0);
    const lines = jsonLines<Line>(stdout);
    expect(lines.map(({ name }) => name).sort()).toEqual(names.map(name => `discarded/${name}`));
    expect(lines[0]).toMatchObject({ result: 'reaped', kind: 'folder', removed: ['folder'] });
    expect(readdirSync(discarded)).toEqual([]);
  });

  test('ends soon when it is interrupted, and tells what it has left to the next one', async () => {
    const home = new CliHome();
    onTestFinished(() => home.remove());
    const { names, slow } = discardedOnSlowDisk(home.home);
    const discarded = join(home.home, 'discarded');
    const interrupted = home.start(['reap', '--json'], { env: slow });
    const areTaken = () =>
      expect(readdirSync(discarded).filter(name => !name.startsWith('left-'))).toEqual(
        names.map(() => expect.anything()),
      );
    await vi.waitFor(areTaken, { timeout: 60_000, interval: 20 });
    interrupted.signal('SIGINT');
    const { exitCode, stdout } = await interrupted.ended;
    expect(exitCode).toBe(130);
    const lines = jsonLines<Line>(stdout);
    expect(lines.map(({ result, kind, name }) => ({ result, kind, name }))).toEqual(
      expect.arrayContaining(names.map(name => ({ result: 'left', kind: 'folder', name: `discarded/${name}` }))),
    );
    expect(lines).toHaveLength(names.length);
    expect(readdirSync(discarded).sort()).toEqual(names);
    expect((await home.run(['reap'])).stdout).toContain(`${names.length} leftovers removed.`);
  }, 120_000);

  test('ends with 3 and says what to do when the Redis it was told of is not there', async () => {
    const { exitCode, stdout, stderr } = await other.run(['reap', '--redis', 'redis://127.0.0.1:1']);
    expect({ exitCode, stdout }).toEqual({ exitCode: 3, stdout: '' });
    expect(stderr).toContain('Start that Redis or correct REDIS_URL');
  });

  test('ends with 2 on a flag that it does not know', async () => {
    expect((await other.run(['reap', '--force'])).exitCode).toBe(2);
  });

  test('shows examples and the exit codes in its help', async () => {
    const { stdout } = await other.run(['reap', '--help']);
    expect(stdout).toContain('Examples:\n  $ cellpool reap --dry-run');
    expect(stdout).toContain('Ends with 0');
  });
});
