/** `cellpool run` with landing on, from the first prompt to the moved target: real agents, real tests, real merges. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { type ScriptedModel, startScriptedModel } from '../../src/cli/demo/scripted-model.ts';
import type { AttemptResult } from '../../src/job/outcome.ts';
import { CliHome, jsonLines, scripted } from '../support/cli.ts';
import { git } from '../support/repository.ts';

let model: ScriptedModel;
let cli: CliHome;
let top: string;

beforeAll(async () => {
  model = await startScriptedModel();
});
afterAll(() => model.close());
beforeEach(() => {
  cli = new CliHome();
  top = cli.repository({ 'a.txt': 'a\n', 'cellpool.yaml': 'land: merge\ntest: "[ ! -e red.txt ]"\n' });
  git(top, 'switch', '--quiet', '--detach');
  return () => cli.remove();
});

const subjects = () => git(top, 'log', '--first-parent', '--format=%s', 'main').split('\n');

test('what its agents commit lands on the target, and the JSON tells by which commit', async () => {
  const file = cli.tasksFile('tasks.jsonl', [
    scripted('one', [{ write: { 'one.txt': '1\n' } }]),
    scripted('two', [{ write: { 'two.txt': '2\n' } }]),
  ]);
  const { exitCode, stdout, stderr } = await cli.run(['run', file, '--repo', top, '--json', ...cli.modelFlags(model)]);
  expect(exitCode, stderr).toBe(0);
  const results = jsonLines<AttemptResult>(stdout);
  const landings = results.map(({ taskId, outcome, landing }) => ({ taskId, outcome, ...landing }));
  const main = git(top, 'rev-parse', 'main');
  expect(landings.sort((a, b) => a.taskId.localeCompare(b.taskId))).toMatchObject([
    { taskId: 'one', outcome: 'committed', target: 'main', state: 'landed' },
    { taskId: 'two', outcome: 'committed', target: 'main', state: 'landed' },
  ]);
  expect(landings.map(({ commit }) => commit)).toContain(main);
  expect(git(top, 'ls-tree', '--name-only', 'main').split('\n')).toEqual([
    'a.txt',
    'cellpool.yaml',
    'one.txt',
    'two.txt',
  ]);
  await cli.expectNothingLeft(top);
});

test('work that contradicts what has landed meanwhile is done again by an agent that is told so, and lands then', async () => {
  // Both begin at the same commit: neither ends before both have begun.
  const together = 'touch "$GATES/$ME"; until [ -e "$GATES/one" ] && [ -e "$GATES/two" ]; do sleep 0.1; done';
  const gates = cli.folder;
  const step = (id: string) => ({ run: together.replaceAll('$GATES', gates).replaceAll('$ME', id) });
  const file = cli.tasksFile('tasks.jsonl', [
    scripted('one', [step('one'), { write: { 'a.txt': 'one\n' } }]),
    scripted('two', [step('two'), { write: { 'a.txt': 'two\n' } }]),
  ]);
  const args = ['run', file, '--repo', top, '--json', '--concurrency', '2', ...cli.modelFlags(model)];
  const { exitCode, stdout, stderr } = await cli.run(args);
  expect(exitCode, stderr).toBe(0);
  expect(stderr).toContain('came back: conflicts with main in a.txt');
  expect(jsonLines<AttemptResult>(stdout).map(({ landing }) => landing?.state)).toEqual(['landed', 'landed']);
  expect(subjects()).toHaveLength(3);
  const [last] = subjects();
  expect(git(top, 'show', 'main:a.txt')).toBe(last === 'Land two' ? 'two' : 'one');
  const again = last === 'Land two' ? 'two' : 'one';
  const folder = join(cli.home, 'artifacts', again);
  const said = readdirSync(folder).flatMap(name => {
    const file = join(folder, name, 'transcript.json');
    return existsSync(file) ? [readFileSync(file, 'utf8')] : [];
  });
  expect(said.some(text => text.includes('could not land on main') && text.includes('a.txt'))).toBe(true);
  await cli.expectNothingLeft(top);
});

test('a target on which somebody works keeps its files; run says so first, commits, and ends with 1', async () => {
  git(top, 'switch', '--quiet', 'main');
  const file = cli.tasksFile('tasks.jsonl', [scripted('one', [{ write: { 'one.txt': '1\n' } }])]);
  const { exitCode, stdout, stderr } = await cli.run(['run', file, '--repo', top, '--json', ...cli.modelFlags(model)]);
  expect(exitCode, stderr).toBe(1);
  expect(stderr).toContain(`main is checked out in ${top}`);
  expect(jsonLines<AttemptResult>(stdout)).toMatchObject([
    { taskId: 'one', outcome: 'committed', landing: { state: 'waiting', target: 'main' } },
  ]);
  expect(existsSync(join(top, 'one.txt'))).toBe(false);
  expect(readFileSync(join(top, 'a.txt'), 'utf8')).toBe('a\n');
  git(top, 'switch', '--quiet', '--detach');
  expect(await cli.run(['land'])).toMatchObject({ exitCode: 0, stdout: expect.stringContaining('one landed on main') });
  await cli.expectNothingLeft(top);
});
