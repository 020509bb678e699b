/** A budget of the day that is used up while agents are at work, seen from the command line. */
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { type ScriptedModel, startScriptedModel } from '../../src/cli/demo/scripted-model.ts';
import type { TaskJob } from '../../src/job/job.ts';
import { CliHome, jsonLines, scripted } from '../support/cli.ts';

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

test('stops the agents, keeps the tasks waiting uncounted, and lets them go on once it is raised', async () => {
  cli = new CliHome();
  const repository = cli.repository();
  const steps = [
    { tokens: { input: 900, output: 100 } },
    { run: 'date +%N' },
    { run: 'date +%N' },
    { write: { 'new.txt': 'new\n' } },
    // opencode asks for the fourth answer as soon as the third has come: long enough for the stop to come before it.
    { think: 8_000 },
  ];
  const file = cli.tasksFile(
    'tasks.jsonl',
    ['a', 'b'].map(id => scripted(id, steps, { attempts: 1, tokenBudget: 50_000 })),
  );
  expect((await cli.run(['budget', 'set', '--day', '2500'])).exitCode).toBe(0);
  const running = cli.start([
    'run',
    file,
    '--repo',
    repository,
    '--concurrency',
    '1',
    '--json',
    ...cli.modelFlags(model),
  ]);
  await running.says("waits, and others may: the day's budget of 2500 tokens is used up");
  const { made, data } = await jobOf('a');
  expect({ made, data }).toMatchObject({ made: 0, data: { results: [], waits: { code: 'BUDGET_USED_UP' } } });
  const [shown] = jsonLines<{ day: { used: { tokens: number } } }>((await cli.run(['budget', '--json'])).stdout);
  // The third answer of 1,000 tokens was the one too many; the fourth would have been the last.
  expect(shown?.day.used.tokens).toBe(3_000);
  expect(data.spent?.tokens).toBe(3_000);
  expect(running.shown()).toBe('');

  expect((await cli.run(['budget', 'set', '--day', 'off'])).stdout).toMatch(/[12] tasks? that waited for it queued/);
  const { exitCode, stdout } = await running.ended;
  expect(exitCode).toBe(0);
  expect(stdout.match(/"outcome":"committed","attempt":1/g)).toHaveLength(2);
  // The attempt that was stopped, and two whole ones of four answers each.
  const [after] = jsonLines<{ day: { used: { tokens: number } } }>((await cli.run(['budget', '--json'])).stdout);
  expect(after?.day.used.tokens).toBe(11_000);
  await cli.expectNothingLeft(repository);
});
