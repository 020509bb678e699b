/** A folder of Markdown files, worked off by a watching bridge and a worker: the same bridge, another source. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { parse } from 'yaml';
import { type ScriptStep, script } from '../../src/cli/demo/script.ts';
import { type ScriptedModel, startScriptedModel } from '../../src/cli/demo/scripted-model.ts';
import { CliHome, type RunningCli } from '../support/cli.ts';
import { git } from '../support/repository.ts';

const MINUTE = 60_000;
const cli = new CliHome();
const repository = cli.repository();
const tasks = join(cli.folder, 'tasks');
const commands: RunningCli[] = [];
let model: ScriptedModel;

beforeAll(async () => {
  mkdirSync(tasks);
  model = await startScriptedModel();
});
afterEach(async () => {
  for (const command of commands) command.signal('SIGTERM');
  await Promise.all(commands.splice(0).map(command => command.ended));
});
afterAll(async () => {
  await cli.expectNothingLeft(repository);
  await model.close();
  cli.remove();
});

const read = (name: string) => readFileSync(join(tasks, `${name}.md`), 'utf8');
const front = (name: string): unknown => parse(read(name).split('---\n')[1] ?? '');

function write(name: string, steps: readonly ScriptStep[], front = ''): void {
  writeFileSync(
    join(tasks, `${name}.md`),
    `---\ntitle: Write ${name} # mine\n${front}---\n\nDo it.\n\n${script(steps)}\n`,
  );
}

test(
  'files become done in their order, and what fails says why, in a file that is its owner’s otherwise',
  async () => {
    write('first', [{ write: { 'first.txt': 'one\n' } }]);
    write('second', [{ write: { 'second.txt': 'two\n' } }], 'dependsOn: [first]\n');
    write('broken', [{ write: { 'broken.txt': 'x\n' } }]);
    write('after-broken', [{ write: { 'after.txt': 'x\n' } }], 'dependsOn: [broken]\n');
    const flags = ['--test', 'test ! -e broken.txt', '--attempts', '1', ...cli.modelFlags(model)];
    commands.push(cli.start(['worker', '--concurrency', '2', '--json']));
    commands.push(
      cli.start(['folder', tasks, '--repo', repository, '--watch', '--interval', '1s', '--json', ...flags]),
    );
    await vi.waitUntil(() => read('second').includes('status: done') && read('broken').includes('status: failed'), {
      timeout: 5 * MINUTE,
      interval: 200,
    });
    expect(read('first')).toMatch(/^---\ntitle: Write first # mine\n/);
    expect(front('second')).toMatchObject({ commit: git(repository, 'rev-parse', 'cellpool/second').trim() });
    expect(read('broken')).toMatch(/^reason: /m);
    expect(read('broken')).not.toContain('assignee:');
    expect(read('after-broken')).not.toContain('status:');
    expect(git(repository, 'branch', '--list', 'cellpool/*').match(/cellpool\/\S+/g)).toEqual([
      'cellpool/first',
      'cellpool/second',
    ]);
  },
  6 * MINUTE,
);
