/** `cellpool logs` on what attempts leave: their files are written as an attempt writes them, their jobs held by hand. */
import { appendFileSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { UnrecoverableError } from 'bullmq';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import type { AttemptResult, Outcome } from '../../src/job/outcome.ts';
import { endedWell } from '../../src/job/outcome.ts';
import { makeArtifactFolder, writeArtifact } from '../../src/observe/artifacts.ts';
import { jsonLines } from '../support/cli.ts';
import { type CliQueue, openCliQueue, PREFIX } from '../support/cli-queue.ts';
import { addJob, jobOf, resultOf, untilState } from '../support/jobs.ts';
import { cellRecord, enterCell, withResults } from '../support/pool.ts';

let setting: CliQueue;

beforeAll(async () => {
  setting = await openCliQueue();
});
afterEach(() => setting.clear());
afterAll(() => setting.close());

const transcript = (answer: string) => ({
  sessionId: 'ses_1',
  model: 'a/b',
  messages: [
    { info: { role: 'user' }, parts: [{ type: 'text', text: 'Fix it.' }] },
    {
      info: { role: 'assistant' },
      parts: [
        { type: 'tool', tool: 'bash', state: { status: 'completed', input: { command: 'ls' }, output: 'a.js' } },
        { type: 'text', text: answer },
      ],
    },
  ],
});

let tasks = 0;
/** A new task, and the results of attempts of which each has a folder here. */
async function attempts(outcomes: readonly Outcome[]) {
  tasks += 1;
  const id = `task-${tasks}x`;
  const results: (AttemptResult & { artifacts: string })[] = [];
  for (const [index, outcome] of outcomes.entries()) {
    const artifacts = await makeArtifactFolder(setting.cli.home, id, `${index + 1}-0123abc${index}`);
    results.push({ ...resultOf(id, outcome, index + 1), artifacts, host: 'cli-test' });
  }
  return { id, results };
}

async function end(id: string, results: readonly AttemptResult[]) {
  const { queue, work } = setting;
  const last = results.at(-1);
  const isGood = last !== undefined && endedWell(last.outcome);
  await work(async job => {
    await withResults(job, results);
    if (!isGood) throw new UnrecoverableError('given up');
    return last;
  });
  await addJob(queue, jobOf(id));
  await untilState(queue, id, isGood ? 'completed' : 'failed');
}

describe('logs', () => {
  test('renders the transcript of the last attempt, or of the one that is asked for', async () => {
    const { cli } = setting;
    const { id, results } = await attempts(['reverted', 'committed']);
    await writeArtifact(results[0]?.artifacts ?? '', 'transcript.json', transcript('I tried.'));
    await writeArtifact(results[1]?.artifacts ?? '', 'transcript.json', transcript('I did it.\u001b[2J'));
    await end(id, results);
    const last = await cli.run(['logs', id]);
    expect({ exitCode: last.exitCode, stderr: last.stderr }).toEqual({ exitCode: 0, stderr: '' });
    expect(last.stdout).toBe(
      'Session ses_1, a/b\n\n> Prompt\n  Fix it.\n\n> bash "ls"\n  $ ls\n\n  a.js\n\n> Answer\n  I did it.\n',
    );
    expect((await cli.run(['logs', id, '--attempt', '1'])).stdout).toContain('> Answer\n  I tried.\n');
    const json = jsonLines((await cli.run(['logs', id, '--json'])).stdout);
    expect(json.map(({ file, kind }) => [file, kind])).toEqual([
      ['transcript', 'prompt'],
      ['transcript', 'call'],
      ['transcript', 'answer'],
    ]);
  });

  test('gives a file as it is to whoever reads it, such as a patch', async () => {
    const { cli } = setting;
    const { id, results } = await attempts(['reverted']);
    const folder = results[0]?.artifacts ?? '';
    const patch = Buffer.from('--- a\n+++ b\n+\u001b[31mred\r\n+\xff\n', 'latin1');
    writeFileSync(join(folder, 'changes.diff'), patch);
    writeFileSync(join(folder, 'server.log'), 'served');
    await end(id, results);
    const taken = join(cli.folder, 'taken.diff');
    expect((await cli.run(['logs', id, '--file', 'diff'], { stdoutFile: taken })).exitCode).toBe(0);
    expect(readFileSync(taken)).toEqual(patch);
    expect((await cli.run(['logs', id, '--file', 'server'])).stdout).toBe('served');
  });

  test('says where the files are when the attempt ran elsewhere, and ends with 1', async () => {
    const { cli } = setting;
    const { id, results } = await attempts(['reverted', 'failed', 'failed']);
    const [here, far, none] = results as [AttemptResult, AttemptResult, AttemptResult];
    const all = [
      { ...here, artifacts: join(cli.home, 'artifacts', id, '1-ffffffff') },
      { ...far, artifacts: `/far/artifacts/${id}/2-0123abcd`, host: 'build-7' },
      { ...none, artifacts: '' },
    ];
    await end(id, all);
    const said = async (attempt: string) => {
      const { exitCode, stdout, stderr } = await cli.run(['logs', id, '--attempt', attempt]);
      expect([exitCode, stdout]).toEqual([1, '']);
      return stderr;
    };
    expect(await said('1')).toContain(`nothing is left in ${all[0]?.artifacts}`);
    expect(await said('2')).toContain(`its artifacts are on host build-7, in /far/artifacts/${id}/2-0123abcd`);
    expect(await said('3')).toContain('had no cell, and has left nothing');
    expect(await said('4')).toContain('has had no attempt 4');
  });

  test('reads no file that a link or a record leads out of the artifacts to', async () => {
    const { cli } = setting;
    const secret = cli.file('secret', 'the secret');
    const { id, results } = await attempts(['reverted', 'failed']);
    symlinkSync(secret, join(results[0]?.artifacts ?? '', 'test.log'));
    const [first, second] = results as [AttemptResult, AttemptResult];
    await end(id, [first, { ...second, artifacts: cli.folder, host: 'cli-test' }]);
    for (const attempt of ['1', '2']) {
      const { exitCode, stdout } = await cli.run(['logs', id, '--attempt', attempt, '--file', 'test']);
      expect([attempt, exitCode, stdout]).toEqual([attempt, 1, '']);
    }
  });

  test('ends with 1 for a task that is not known, and with 2 for a call that is not understood', async () => {
    const unknown = await setting.cli.run(['logs', 'nobody']);
    expect([unknown.exitCode, unknown.stdout]).toEqual([1, '']);
    expect(unknown.stderr).toContain('nobody is not known');
    expect((await setting.cli.run(['logs', 'nobody', '-f'])).exitCode).toBe(1);
    const bad = await setting.cli.run(['logs', '12', '--file', 'all', '--attempt', 'x']);
    expect([bad.exitCode, bad.stdout]).toEqual([2, '']);
    for (const said of [/^id 1: /m, /^--file: is transcript or test/m, /^--attempt: is a whole/m]) {
      expect(bad.stderr).toMatch(said);
    }
    expect((await setting.cli.run(['logs', 'a', '-f', '--attempt', '1'])).exitCode).toBe(2);
  });
});

describe('logs --follow', () => {
  const site = () => ({ redis: setting.redis, prefix: PREFIX, host: 'cli-test', home: setting.cli.home });
  const shows = (command: { shown(): string }, text: string) =>
    vi.waitUntil(() => command.shown().includes(text), { timeout: 60_000, interval: 20 });

  /** A task whose attempt is at work until `finish`. */
  async function running(outcome: Outcome) {
    const { queue, work } = setting;
    const { id, results } = await attempts([outcome]);
    const [result] = results as [AttemptResult & { artifacts: string }];
    let finish: () => void = () => undefined;
    const finished = new Promise<void>(resolve => {
      finish = resolve;
    });
    const record = { ...cellRecord(id, 1, site()), artifacts: result.artifacts, stage: 'spawn' as const };
    const registry = await enterCell(site(), record);
    await work(async job => {
      await finished;
      await withResults(job, [result]);
      await registry.erase(record.cellId);
      if (!endedWell(outcome)) throw new UnrecoverableError('given up');
      return result;
    });
    await addJob(queue, jobOf(id));
    await untilState(queue, id, 'active');
    return { id, folder: result.artifacts, registry, record, finish };
  }

  test('tells the stages on stderr and the logs as they grow on stdout, and ends with the task', async () => {
    const { id, folder, registry, record, finish } = await running('committed');
    const command = setting.cli.start(['logs', id, '--follow']);
    await command.says('attempt 1: spawn');
    writeFileSync(join(folder, 'setup.log'), 'installing');
    await shows(command, '== attempt 1: setup\ninstalling');
    appendFileSync(join(folder, 'setup.log'), ' done\n');
    await shows(command, 'installing done\n');
    registry.stage(record.cellId, 'test');
    await command.says('attempt 1: test');
    await writeArtifact(folder, 'transcript.json', transcript('Done.'));
    await shows(command, '== attempt 1: transcript\nSession ses_1');
    // What is written last is printed too, though the task has ended by the next look.
    writeFileSync(join(folder, 'test.log'), '1 passed\n');
    finish();
    const { exitCode, stdout, stderr } = await command.ended;
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/> Answer\n {2}Done\.\n\n== attempt 1: test\n1 passed\n$/);
    expect(stdout.match(/installing/g)).toHaveLength(1);
    expect(stderr).toMatch(/attempt 1: committed, 3 ms\n$/);
  });

  test('ends with 1 when the task has not ended well, and prints only the file that was asked for', async () => {
    const { id, folder, finish } = await running('failed');
    const command = setting.cli.start(['logs', id, '-f', '--file', 'server']);
    await command.says('attempt 1: spawn');
    writeFileSync(join(folder, 'test.log'), 'not asked for');
    writeFileSync(join(folder, 'server.log'), 'served\n');
    await shows(command, 'served');
    finish();
    expect(await command.ended).toMatchObject({ exitCode: 1, stdout: 'served\n' });
  });

  test('ends at Ctrl-C with 130, and at once; the task goes on', async () => {
    const { id } = await running('committed');
    const command = setting.cli.start(['logs', id, '-f']);
    await command.says('attempt 1: spawn');
    command.signal('SIGINT');
    expect(await command.ended).toMatchObject({ exitCode: 130, stdout: '' });
    expect(await setting.queue.getJobState(id)).toBe('active');
  });

  test('ends with 1 when the task is taken off the queue, and of one that waits says why', async () => {
    const { cli, queue } = setting;
    await addJob(queue, { ...jobOf('held'), waits: { reason: 'the provider is busy', since: 1 } }, 600_000);
    const command = cli.start(['logs', 'held', '-f']);
    await command.says('waits: the provider is busy');
    await queue.remove('held');
    const { exitCode, stderr } = await command.ended;
    expect(exitCode).toBe(1);
    expect(stderr).toContain('held was taken off the queue.');
  });

  test('of one that has ended it tells the last attempt and ends', async () => {
    const { id, results } = await attempts(['reverted', 'committed']);
    for (const { artifacts, attempt } of results) writeFileSync(join(artifacts, 'test.log'), `tests of ${attempt}\n`);
    await end(id, results);
    expect(await setting.cli.run(['logs', id, '-f'])).toMatchObject({
      exitCode: 0,
      stdout: '== attempt 2: test\ntests of 2\n',
    });
  });

  test('of another host it follows the stages, and says where the files are', async () => {
    const { queue, work } = setting;
    const far = { ...site(), host: 'build-7', home: join(setting.cli.folder, 'elsewhere') };
    await enterCell(far, cellRecord('far', 1, far));
    let finish: () => void = () => undefined;
    const finished = new Promise<void>(resolve => {
      finish = resolve;
    });
    await work(async job => {
      await finished;
      const result = resultOf('far', 'committed');
      await withResults(job, [{ ...result, artifacts: '' }]);
      return { ...result, artifacts: '' };
    });
    await addJob(queue, jobOf('far'));
    const command = setting.cli.start(['logs', 'far', '-f']);
    await command.says('attempt 1: execute, port 9001');
    await command.says(`its artifacts are on host build-7, in ${far.home}/artifacts/far/1-00000001`);
    finish();
    expect(await command.ended).toMatchObject({ exitCode: 0, stdout: '' });
  });
});
