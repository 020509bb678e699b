/** `cellpool ps` and `stats` on cells, workers and jobs that were entered by hand. */
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { CellMemory } from '../../src/redis/cell-memory.ts';
import { Cooldowns } from '../../src/redis/cooldown.ts';
import { cellKeys } from '../../src/redis/keys.ts';
import { Tally } from '../../src/redis/tally.ts';
import { jsonLines } from '../support/cli.ts';
import { type CliQueue, openCliQueue, PREFIX } from '../support/cli-queue.ts';
import { addJob, jobOf, resultOf, untilState } from '../support/jobs.ts';
import { cellRecord, enterCell, enterWorker, jobOfQueue, progressOf, withResults } from '../support/pool.ts';

let setting: CliQueue;

beforeAll(async () => {
  setting = await openCliQueue();
});
afterEach(() => setting.clear());
afterAll(() => setting.close());

const siteOf = (host: string) => ({ redis: setting.redis, prefix: PREFIX, host, home: setting.cli.home });

/** Two cells on two hosts, of which one has a worker. */
async function fill() {
  const { queue, redis } = setting;
  await addJob(queue, jobOf('fix-login', { title: 'Fix the login', tokenBudget: 5_000 }));
  const job = await jobOfQueue(queue, 'fix-login');
  const record = { ...cellRecord('fix-login', 1, siteOf('build-1')), job: { token: 't', enqueuedAt: job.timestamp } };
  await job.updateProgress(progressOf(record, 1_234));
  await enterCell(siteOf('build-1'), record);
  await new CellMemory(redis, { prefix: PREFIX }).write('build-1', new Map([[record.cellId, 300 * 1_024 ** 2]]));
  await enterCell(siteOf('build-2'), { ...cellRecord('other', 2, siteOf('build-2')), stage: 'test', port: null });
  await enterWorker(siteOf('build-1'), ['fix-login']);
  return { redis, queue };
}

describe('ps', () => {
  test('shows the cells of all hosts in a table, then workers, slots and the queue', async () => {
    await fill();
    const { exitCode, stdout, stderr } = await setting.cli.run(['ps']);
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
    const lines = stdout.split('\n');
    expect(lines[0]).toMatch(/^HOST +CELL +TITLE +STAGE +ATTEMPT +ELAPSED +TOKENS +PORT +MEMORY$/);
    expect(lines[1]).toMatch(
      /^build-1 +fix-login\.00000001 +Fix the login +execute +1 +\d.* +1234\/5000 +9001 +300\.0 MiB$/,
    );
    expect(lines[2]).toMatch(/^build-2 +other\.00000002 +test +1 +\d.* +0\/\? +- +-$/);
    expect(stdout).toContain('\n1 worker on 1 host: 1 of 4 slots in use.\n');
    expect(stdout).toContain('\nQueue tasks: 1 waiting, 0 running, 0 delayed; 0 completed, 0 failed.\n');
  });

  test('says that nobody is at work, that the queue is paused, and which provider is left alone and why', async () => {
    await setting.queue.pause();
    const trouble = { kind: 'refused', reason: 'no such key\u001b[2J', retryAfterMs: 600_000 } as const;
    await new Cooldowns(setting.redis, { prefix: PREFIX }).report('a/b', trouble);
    const { exitCode, stdout } = await setting.cli.run(['ps']);
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/^No cell is at work\.\n\nNo worker is alive\.\n/);
    expect(stdout).toContain('It is paused: `cellpool resume` goes on.');
    expect(stdout).toMatch(/^a refuses our credentials and is left alone for \d+ min more: no such key\[2J$/m);
  });

  test('marks a cell that was left behind and one whose worker is silent, and nothing of it reaches the terminal', async () => {
    const site = siteOf('build-1');
    await enterCell(site, { ...cellRecord('left', 1, site), abandoned: true });
    await enterCell(site, cellRecord('silent', 2, site));
    const keys = cellKeys(PREFIX, 'build-1');
    await setting.redis.hset(keys.beats, 'silent.00000002', String(Date.now() - 600_000));
    const { stdout } = await setting.cli.run(['ps']);
    expect(stdout).toMatch(/left\.00000001 +left behind /);
    expect(stdout).toMatch(/silent\.00000002 +execute, worker silent for 10 min /);
  });

  test('with --json tells the same, an object a line, each with its kind', async () => {
    await fill();
    const { exitCode, stdout } = await setting.cli.run(['ps', '--json']);
    expect(exitCode).toBe(0);
    const all = jsonLines<Record<string, unknown>>(stdout);
    expect(all.map(({ kind }) => kind)).toEqual(['cell', 'cell', 'worker', 'queue']);
    expect(all[0]).toMatchObject({ taskId: 'fix-login', tokensUsed: 1_234, stage: 'execute', host: 'build-1' });
    expect(all[3]).toMatchObject({ name: 'tasks', waiting: 1, paused: false });
  });

  test('with --watch tells what has changed until Ctrl-C, and ends with 130', async () => {
    const { queue } = await fill();
    const running = setting.cli.start(['ps', '--watch', '--json']);
    const cells = () => jsonLines(running.shown()).filter(({ kind }) => kind === 'cell');
    await vi.waitUntil(() => running.shown().includes('"kind":"queue"'), { timeout: 60_000, interval: 20 });
    expect(cells()).toHaveLength(2);
    await addJob(queue, jobOf('second'));
    await vi.waitUntil(() => running.shown().includes('"waiting":2'), { timeout: 30_000, interval: 20 });
    running.signal('SIGINT');
    const { exitCode } = await running.ended;
    expect(exitCode).toBe(130);
    // Nothing was told anew of which only the time had changed.
    const looks = running.shown().split(/(?<="kind":"queue".*\n)/);
    const untimed = looks.map(look => look.replace(/"lastSignAt":\d+/g, ''));
    expect(untimed.length).toBeGreaterThanOrEqual(2);
    expect(untimed.every((look, at) => look !== untimed[at - 1])).toBe(true);
  });

  test('with --watch ends when nobody reads what it tells', async () => {
    await fill();
    expect(await setting.cli.runClosed(['ps', '--watch'], ['stdout'])).toEqual({ exitCode: 0, signal: null });
  });

  test('without Redis ends with 3, and says what to do', async () => {
    const env = { REDIS_URL: 'redis://127.0.0.1:1' };
    for (const args of [['ps'], ['jobs'], ['show', 'a'], ['logs', 'a'], ['stats']]) {
      const { exitCode, stdout, stderr } = await setting.cli.run(args, { env });
      expect([args[0], exitCode, stdout]).toEqual([args[0], 3, '']);
      expect(stderr).toContain('127.0.0.1:1');
    }
  });
});

describe('stats', () => {
  test('tells of durations and of the queue, and that no attempt has ended where none has', async () => {
    const { cli, queue, work } = setting;
    const result = { ...resultOf('done', 'committed'), stages: [{ stage: 'test' as const, startedAt: 0, ms: 1_500 }] };
    await work(async job => {
      await withResults(job, [result]);
      return result;
    });
    await addJob(queue, jobOf('done'));
    await untilState(queue, 'done', 'completed');
    const { exitCode, stdout } = await cli.run(['stats', '--hours', '2']);
    expect(exitCode).toBe(0);
    expect(stdout).toContain('No attempt has ended in the last 2 hours.');
    expect(stdout).toMatch(/^test +1\.5 s +1\.5 s +1$/m);
    expect(stdout).toMatch(/^total +3 ms +3 ms +1$/m);
    expect(stdout).toContain('1 completed, 0 failed.');
  });

  test('counts the attempts by hour and outcome, with their tokens and dollars', async () => {
    const tally = new Tally(setting.redis, { prefix: PREFIX });
    for (const [id, outcome] of Object.entries({ a: 'committed', b: 'no-changes', c: 'reverted' } as const)) {
      await tally.add({ ...resultOf(id, outcome), tokensUsed: 100, costUsd: 0.25 });
    }
    const { exitCode, stdout } = await setting.cli.run(['stats']);
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/^HOUR \(UTC\) +COMMITTED +NO-CHANGES +REVERTED +TOKENS +COST$/m);
    expect(stdout).toMatch(/^\d{4}-\d\d-\d\d \d\d +1 +1 +1 +300 +\$0\.7500$/m);
    expect(stdout).toContain('\n3 attempts in the last 24 hours: 66.7 % ended well, 300 tokens, $0.7500.\n');
  });

  test('with --json tells each hour, the queue and the total, an object a line', async () => {
    const { stdout } = await setting.cli.run(['stats', '--hours', '3', '--json']);
    const all = jsonLines<Record<string, unknown>>(stdout);
    expect(all.map(({ kind }) => kind)).toEqual(['hour', 'hour', 'hour', 'queue', 'total']);
    expect(all.at(-1)).toMatchObject({ hours: 3, attempts: 0, successRate: null, tokens: 0 });
  });

  test('refuses hours that are no number', async () => {
    const { exitCode, stdout, stderr } = await setting.cli.run(['stats', '--hours', 'all']);
    expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: '' });
    expect(stderr).toMatch(/^--hours: is a whole number/);
  });
});
