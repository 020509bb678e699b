/** From files and flags to the tasks and the plan that are put on the queue. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { TaskFlags } from '../../src/cli/task-flags.ts';
import { readTaskCall } from '../../src/cli/task-input.ts';
import { planSchema } from '../../src/job/job.ts';
import { makeRepository, tempFolder } from '../support/repository.ts';

const FLAGS = { id: 'one', prompt: 'do it', model: 'a/b' };

function repositoryWith(yaml: string): string {
  const folder = makeRepository(join(tempFolder('input'), 'source'), { 'a.txt': 'a\n' });
  writeFileSync(join(folder, 'cellpool.yaml'), yaml);
  return folder;
}

async function callWith(yaml: string, flags: Partial<TaskFlags> = {}) {
  const { plan, tasks } = await readTaskCall(undefined, { repo: repositoryWith(yaml), ...FLAGS, ...flags });
  // As it will stand in Redis.
  return { plan: planSchema.parse(JSON.parse(JSON.stringify(plan))), plainPlan: plan, task: tasks[0]?.task };
}

test('without hooks and totals, a plan and a task hold no word of them, so that older jobs are equal to them', async () => {
  const { plainPlan, task } = await callWith('hooks:\nretryOverBudget: false\nlimits: {hookMs: 5}');
  expect(Object.keys(plainPlan).sort()).toEqual(['author', 'opencode', 'setupMs', 'testMs']);
  expect(Object.keys(task ?? {}).sort()).toEqual(
    ['id', 'prompt', 'base', 'model', 'timeoutMs', 'tokenBudget', 'attempts'].sort(),
  );
});

test('hooks, their time limit and what becomes of an overspent budget travel with the plan', async () => {
  const yaml = 'hooks: {afterSpawn: make, onFailure: {run: tell, timeoutMs: 7}}\nretryOverBudget: true';
  expect((await callWith(yaml)).plan).toMatchObject({
    hooks: { afterSpawn: 'make', onFailure: { run: 'tell', timeoutMs: 7 } },
    hookMs: 60_000,
    retryOverBudget: true,
  });
  expect((await callWith('hooks: {afterSpawn: make}\nlimits: {hookMs: 5}')).plan.hookMs).toBe(5);
});

test('the limits over all attempts come from flags or cellpool.yaml', async () => {
  const yaml = 'limits: {totalTimeoutMs: 1000, totalTokenBudget: 2000}';
  expect((await callWith(yaml)).task).toMatchObject({ totalTimeoutMs: 1000, totalTokenBudget: 2000 });
  const flags = { totalTimeoutMs: '30', totalTokenBudget: '40' };
  expect((await callWith(yaml, flags)).task).toMatchObject({ totalTimeoutMs: 30, totalTokenBudget: 40 });
});

test('the limits of one attempt that nobody has to set come from flags or cellpool.yaml', async () => {
  const yaml = 'limits: {stallMs: 1000, costBudgetUsd: 0.5, loopRepeats: 7}';
  expect((await callWith(yaml)).task).toMatchObject({ stallMs: 1000, costBudgetUsd: 0.5, loopRepeats: 7 });
  const flags = { stallMs: '30', costBudgetUsd: '2' };
  expect((await callWith(yaml, flags)).task).toMatchObject({ stallMs: 30, costBudgetUsd: 2 });
});
