/** The main path: real git, Redis and opencode; only the model is scripted. One run is shared by many assertions. */
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type ScriptedModel, startScriptedModel } from '../../src/cli/demo/scripted-model.ts';
import { type AttemptResult, attemptResultSchema } from '../../src/job/outcome.ts';
import { CliHome, type Finished, jsonLines, scripted } from '../support/cli.ts';
import { git, refsOf } from '../support/repository.ts';

const cli = new CliHome();
let model: ScriptedModel;
let repository: string;
let first: Finished;
let outcomes: Map<string, AttemptResult>;

const KEYS = [
  'taskId',
  'outcome',
  'attempt',
  'branch',
  'commit',
  'filesModified',
  'tokensUsed',
  'tests',
  'metrics',
  'error',
  'limits',
  'isolation',
  'artifacts',
  'host',
  'stages',
];

const tasks = [
  scripted(
    'second-try',
    [
      { attempt: 1, write: { 'answer.txt': 'wrong\n' } },
      { attempt: 2, write: { 'answer.txt': 'right\n' } },
    ],
    { test: 'echo "looking for right"; grep -q right answer.txt' },
  ),
  scripted('nothing', [{ run: 'cat a.txt' }], { test: 'true' }),
  scripted('bd-a1b2.3', [{ append: { 'a.txt': 'more\n' } }]),
];

const flags = () => ['--repo', repository, ...cli.modelFlags(model), '--concurrency', '2'];
const outcomesOf = ({ stdout }: Finished) =>
  new Map(jsonLines<AttemptResult>(stdout).map(result => [result.taskId, result]));

beforeAll(async () => {
  model = await startScriptedModel();
  repository = cli.repository({ 'a.txt': 'a\n' });
  writeFileSync(join(repository, 'a.txt'), 'edited and not committed\n');
  writeFileSync(join(repository, 'untracked.txt'), 'untracked\n');
  first = await cli.run(['run', cli.tasksFile('tasks.jsonl', tasks), ...flags(), '--json']);
  outcomes = outcomesOf(first);
}, 600_000);

afterAll(async () => {
  await model.close();
  cli.remove();
});

describe('run --json', () => {
  test('ends with 0 when every task ended committed or no-changes', () => {
    expect(first).toMatchObject({ exitCode: 0, signal: null });
  });

  test('writes one object with exactly the promised keys for each task, and nothing else, to stdout', () => {
    const lines = jsonLines(first.stdout);
    expect(lines.map(line => line.taskId).sort()).toEqual(tasks.map(({ id }) => id).sort());
    for (const line of lines) {
      expect(Object.keys(line).sort()).toEqual([...KEYS].sort());
      expect(attemptResultSchema.safeParse(line).error).toBeUndefined();
    }
  });

  test('tells of a task that failed its tests first, and then passed them', () => {
    const result = outcomes.get('second-try');
    expect(result).toMatchObject({
      outcome: 'committed',
      attempt: 2,
      branch: 'cellpool/second-try',
      filesModified: ['answer.txt'],
      tests: { passed: true, exitCode: 0 },
      error: null,
    });
    expect(result?.tokensUsed).toBeGreaterThan(0);
    expect(git(repository, 'rev-parse', 'cellpool/second-try')).toBe(result?.commit);
    expect(git(repository, 'show', 'cellpool/second-try:answer.txt')).toBe('right');
    expect(
      git(repository, 'log', '-1', '--format=%(trailers:key=Attempt,valueonly,separator=)', 'cellpool/second-try'),
    ).toBe('2');
  });

  test('says on stderr that the first attempt will be followed by another', () => {
    expect(first.stderr).toMatch(/second-try {2}attempt 1 {2}reverted, will be tried again/);
    expect(first.stderr).toMatch(/second-try {2}attempt 2 {2}committed/);
  });

  test('makes no commit where nothing was changed', () => {
    expect(outcomes.get('nothing')).toMatchObject({ outcome: 'no-changes', attempt: 1, branch: null, commit: null });
    expect(refsOf(repository)).not.toContain('cellpool/nothing');
  });

  test('commits without a test command, and says that this is untested', () => {
    expect(outcomes.get('bd-a1b2.3')).toMatchObject({ outcome: 'committed', tests: null, filesModified: ['a.txt'] });
    expect(first.stderr).toMatch(/1 of 3 tasks have no test command.*untested/);
  });

  test('times every phase, and the phases add up', () => {
    for (const { metrics } of outcomes.values()) {
      const { spawnMs, executionMs, teardownMs, totalMs } = metrics;
      for (const part of [spawnMs, executionMs, teardownMs]) expect(part).toBeGreaterThan(0);
      expect(totalMs).toBeGreaterThanOrEqual(spawnMs + executionMs + teardownMs - 3);
    }
  });

  test('keeps what happened in each attempt below the state folder', () => {
    const artifacts = outcomes.get('second-try')?.artifacts ?? '';
    expect(artifacts.startsWith(join(cli.home, 'artifacts', 'second-try'))).toBe(true);
    expect(readdirSync(artifacts)).toEqual(expect.arrayContaining(['changes.diff', 'test.log', 'transcript.json']));
    expect(readdirSync(join(cli.home, 'artifacts', 'second-try'))).toHaveLength(2);
  });

  test('says that uncommitted edits are left out, leaves them alone and does not commit them', () => {
    expect(first.stderr).toContain('uncommitted edits');
    expect(git(repository, 'status', '--porcelain')).toBe(' M a.txt\n?? untracked.txt');
    expect(git(repository, 'show', 'cellpool/bd-a1b2.3:a.txt')).toBe('a\nmore');
    expect(git(repository, 'ls-tree', '--name-only', 'cellpool/bd-a1b2.3')).toBe('a.txt');
  });

  test('leaves no process, no cell, no lease and no worktree', () => cli.expectNothingLeft(repository));

  test('leaves each attempt’s result and log on its job', async () => {
    await cli.look(async queue => {
      const job = await queue.getJob('second-try');
      const data = job?.data as { results: AttemptResult[] };
      expect(data.results.map(({ attempt, outcome }) => [attempt, outcome])).toEqual([
        [1, 'reverted'],
        [2, 'committed'],
      ]);
      expect(data.results[0]?.error?.message).toContain('looking for right');
      expect(job?.returnvalue).toEqual(outcomes.get('second-try'));
      expect(job?.progress).toMatchObject({ stage: 'teardown', attempt: 2, host: 'cli-test' });
      const { logs } = await queue.getJobLogs('second-try');
      expect(logs.map(line => line.replace(/:? the tests.*/s, ''))).toEqual([
        'attempt 1: reverted',
        'attempt 2: committed',
      ]);
    });
  });
});

describe('again', () => {
  test('a second run of the same tasks tells their outcomes and repeats nothing', async () => {
    const before = { refs: refsOf(repository), requests: model.requests };
    const second = await cli.run(['run', cli.tasksFile('tasks.jsonl', tasks), ...flags(), '--json']);
    expect(second.exitCode).toBe(0);
    expect(outcomesOf(second)).toEqual(outcomes);
    expect({ refs: refsOf(repository), requests: model.requests }).toEqual(before);
    expect(second.stderr).toContain('nothing has ended before');
  });

  test('enqueue tells of ended tasks too, and repeats nothing', async () => {
    const { exitCode, stdout } = await cli.run([
      'enqueue',
      cli.tasksFile('tasks.jsonl', tasks),
      ...flags().slice(0, 6),
    ]);
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/^second-try +known +completed +committed$/m);
    expect(await cli.look(queue => queue.getJobCountByTypes('waiting', 'active', 'delayed'))).toBe(0);
  });

  test('--again works an ended task anew; tasks may come as YAML on standard input', async () => {
    const requests = model.requests;
    const stdin = `- id: nothing\n  prompt: ${JSON.stringify(tasks[1]?.prompt)}\n  test: 'true'\n`;
    const again = await cli.run(['run', '-', ...flags(), '--again', '--json'], { stdin });
    expect(again.exitCode).toBe(0);
    expect(outcomesOf(again).get('nothing')).toMatchObject({ outcome: 'no-changes', attempt: 1 });
    expect(outcomesOf(again).get('nothing')?.artifacts).not.toBe(outcomes.get('nothing')?.artifacts);
    expect(model.requests).toBeGreaterThan(requests);
  }, 120_000);
});

describe('a task that does not end well', () => {
  const prompt = (content: string) => scripted('broken', [{ write: { 'b.txt': content } }]).prompt;
  const single = (content: string) => ['--id', 'broken', '--prompt', prompt(content), '--attempts', '1'];
  const judged = ['--test', 'echo "no good: $(cat b.txt)"; grep -q good b.txt'];

  test('makes run end with 1, and the summary on stdout say why and where to look; hooks see what it left', async () => {
    const onFailure = 'cp b.txt "$CELLPOOL_ARTIFACTS/seen"; sleep 300';
    const yaml = join(repository, 'cellpool.yaml');
    writeFileSync(yaml, JSON.stringify({ hooks: { onFailure }, limits: { hookMs: 5_000 } }));
    const { exitCode, stdout, stderr } = await cli.run(['run', ...single('bad'), ...judged, ...flags()]);
    rmSync(yaml);
    expect(exitCode).toBe(1);
    expect(stdout).toMatch(/^TASK +OUTCOME +ATTEMPT +TESTS/);
    expect(stdout).toMatch(/^broken +reverted +1 +failed \(1\) +1 /m);
    expect(stdout).toContain('1 tasks: 1 reverted');
    expect(stdout).toContain('no good: bad');
    const artifacts = /see (.*)$/m.exec(stdout)?.[1] ?? '';
    expect(existsSync(join(artifacts, 'changes.diff'))).toBe(true);
    expect(readFileSync(join(artifacts, 'seen'), 'utf8')).toBe('bad');
    expect(JSON.parse(readFileSync(join(artifacts, 'result.json'), 'utf8'))).toMatchObject({
      outcome: 'reverted',
      hookFaults: [{ hook: 'onFailure', message: 'hook onFailure was not done after 5000 ms' }],
    });
    expect(stderr).not.toContain('TASK');
    expect(refsOf(repository)).not.toContain('cellpool/broken');
    await cli.expectNothingLeft(repository);
  }, 120_000);

  test('is tried anew by the next run, with what that run says', async () => {
    const { exitCode, stdout } = await cli.run(['run', ...single('good'), ...judged, ...flags(), '--json']);
    expect(exitCode).toBe(0);
    expect(jsonLines<AttemptResult>(stdout)).toMatchObject([{ taskId: 'broken', outcome: 'committed', attempt: 1 }]);
  }, 120_000);
});
