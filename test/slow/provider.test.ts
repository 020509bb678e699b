/** A provider in trouble, seen from the command line: no attempt is used up, and a person is told once what to do. */
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { type ScriptedModel, startScriptedModel } from '../../src/cli/demo/scripted-model.ts';
import type { TaskJob } from '../../src/job/job.ts';
import { CliHome, scripted } from '../support/cli.ts';

let cli: CliHome;
let model: ScriptedModel;

beforeAll(async () => {
  model = await startScriptedModel();
});
afterAll(() => model.close());
afterEach(() => cli.remove());

const jobOf = (id: string) =>
  cli.look(async queue => {
    const job = await queue.getJob(id);
    return { made: job?.attemptsMade, state: await job?.getState(), data: (job?.data ?? {}) as TaskJob };
  });

test('a key that is refused ends a run with 3 at once, and goes on with it once the key is right', async () => {
  cli = new CliHome();
  const repository = cli.repository();
  const file = cli.tasksFile('tasks.jsonl', [
    scripted('a', [{ write: { 'first.txt': 'a\n' } }]),
    scripted('b', [{ write: { 'second.txt': 'b\n' } }]),
  ]);
  const args = ['run', file, '--repo', repository, '--concurrency', '1', ...cli.modelFlags(model)];
  const right = model.fail({ status: 401 });
  const refused = await cli.run(args);
  expect(refused.exitCode).toBe(3);
  expect(refused.stderr.match(/Put the key right/g)).toHaveLength(1);
  for (const id of ['a', 'b']) expect(await jobOf(id)).toMatchObject({ made: 0, data: { results: [] } });
  await cli.expectNothingLeft(repository);

  right();
  const done = await cli.run([...args, '--json']);
  expect(done.exitCode).toBe(0);
  expect(done.stdout.match(/"outcome":"committed","attempt":1/g)).toHaveLength(2);
  await cli.expectNothingLeft(repository);
});

test('a provider that wants to be left alone keeps the task waiting, and the tokens of the attempt are counted', async () => {
  cli = new CliHome();
  const repository = cli.repository();
  const steps = [{ tokens: { input: 40, output: 2 } }, { run: 'true' }, { fail: { status: 429, retryAfter: 60 } }];
  const file = cli.tasksFile('tasks.jsonl', [scripted('a', steps, { attempts: 1 })]);
  const running = cli.start(['run', file, '--repo', repository, ...cli.modelFlags(model)]);
  await running.says('a waits');
  running.signal('SIGINT');
  expect((await running.ended).exitCode).toBe(130);
  const { made, state, data } = await jobOf('a');
  expect({ made, state, results: data.results }).toEqual({ made: 0, state: 'delayed', results: [] });
  expect(data.spent?.tokens).toBe(42);
  await cli.expectNothingLeft(repository);
});
