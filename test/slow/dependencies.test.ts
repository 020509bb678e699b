/** A graph of tasks in the wrong order, worked by two processes at once; one arm of it fails. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type ScriptedModel, startScriptedModel } from '../../src/cli/demo/scripted-model.ts';
import type { AttemptResult } from '../../src/job/outcome.ts';
import { CliHome, type Finished, jsonLines, scripted } from '../support/cli.ts';
import { git } from '../support/repository.ts';

const MINUTE = 60_000;
const cli = new CliHome();
let model: ScriptedModel;
let repository: string;
let ran: Finished;
let worked: Finished;
let outcomes: Map<string, AttemptResult>;

const adds = (id: string) => [{ write: { [`${id}.txt`]: `${id}\n` } }];

const tasks = [
  scripted('bottom', adds('bottom'), { dependsOn: ['left', 'right'] }),
  scripted('after-idle', adds('after-idle'), { dependsOn: ['idle'], base: 'cellpool/idle' }),
  scripted('after-left', adds('after-left'), { dependsOn: ['left', 'after-idle'], base: 'cellpool/left' }),
  scripted('below-bottom', adds('below-bottom'), { dependsOn: ['bottom'] }),
  scripted('right', adds('right'), { dependsOn: ['top'], test: 'false', attempts: 1 }),
  scripted('left', adds('left'), { dependsOn: ['top'], base: 'cellpool/top' }),
  scripted('idle', [{ run: 'true' }], { base: 'develop' }),
  scripted('top', adds('top')),
];

beforeAll(async () => {
  model = await startScriptedModel();
  repository = cli.repository({ 'main.txt': 'main\n' });
  git(repository, 'branch', 'develop');
  const file = cli.tasksFile('tasks.jsonl', tasks);
  const flags = ['--concurrency', '2', '--json'];
  const running = cli.start(['run', file, '--repo', repository, ...cli.modelFlags(model), ...flags]);
  const working = cli.start(['worker', ...flags]);
  ran = await running.ended;
  working.signal('SIGTERM');
  worked = await working.ended;
  outcomes = new Map(jsonLines<AttemptResult>(ran.stdout).map(result => [result.taskId, result]));
}, 8 * MINUTE);

afterAll(async () => {
  await model.close();
  cli.remove();
});

test('all that can be done is done, the rest fails with a reason, and the run ends with 1', () => {
  const ends = Object.fromEntries([...outcomes].map(([id, { outcome }]) => [id, outcome]));
  expect(ends).toEqual({
    ...{ top: 'committed', left: 'committed', right: 'reverted', idle: 'no-changes' },
    ...{ 'after-idle': 'committed', 'after-left': 'committed', bottom: 'failed', 'below-bottom': 'failed' },
  });
  expect(outcomes.get('bottom')?.error).toEqual({
    code: 'DEPENDENCY_FAILED',
    message: 'it depends on "right", which ended reverted',
  });
  expect(outcomes.get('below-bottom')?.error?.message).toBe('it depends on "bottom", which failed');
  for (const { attempt } of outcomes.values()) expect(attempt).toBe(1);
  for (const id of ['bottom', 'below-bottom']) expect(outcomes.get(id)).toMatchObject({ tokensUsed: 0, commit: null });
  expect(ran.exitCode).toBe(1);
});

test('a task begins where the one it depends on ended, or began when that changed nothing', () => {
  const filesOf = (id: string) => git(repository, 'ls-tree', '--name-only', `cellpool/${id}`).split('\n');
  expect(filesOf('after-left')).toEqual(expect.arrayContaining(['top.txt', 'left.txt', 'after-left.txt']));
  expect(git(repository, 'rev-parse', 'cellpool/left^')).toBe(git(repository, 'rev-parse', 'cellpool/top'));
  expect(git(repository, 'rev-parse', 'cellpool/after-idle^')).toBe(git(repository, 'rev-parse', 'develop'));
});

test('what is waited for is said once', () => {
  const said = ran.stderr.match(/waits, and others may: "top" has not ended yet/g) ?? [];
  expect(said.length).toBeLessThanOrEqual(1);
  expect(ran.stderr).toMatch(/waits, and others may: ".+" has not ended yet/);
});

test('both leave nothing behind', async () => {
  expect(worked.exitCode).toBe(0);
  await cli.expectNothingLeft(repository);
});
