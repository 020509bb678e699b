/** Whole attempts on real cells, one after another; what no attempt may leave or touch is looked at after each. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { type CellRun, runCell } from '../../src/cell/run-cell.ts';
import type { SpawnConfig } from '../../src/cell/spawn-config.ts';
import { type ScriptStep, script } from '../../src/cli/demo/script.ts';
import { SCRIPTED_MODEL } from '../../src/cli/demo/scripted-model.ts';
import { type AttemptResult, attemptResultSchema, type Stage } from '../../src/job/outcome.ts';
import { startTestCells, type TestCells } from './cell.ts';
import { git, pictureOf, refsOf, writeFiles } from './repository.ts';

export interface Run {
  config?: Partial<SpawnConfig>;
  steps?: ScriptStep[];
  cancel?: AbortController;
  onStage?: CellRun['onStage'];
  hooks?: CellRun['hooks'];
  fence?: CellRun['fence'];
}

export interface Attempted {
  readonly result: AttemptResult;
  /** What was told of it, in order. */
  readonly stages: Stage[];
  readonly usage: number[];
}

export const WORK: ScriptStep[] = [
  { tokens: { input: 100, output: 10 } },
  { write: { 'src/greet.js': "export const greet = () => 'hi';\n" } },
];

export const WHOLE_LIFE: Stage[] = ['spawn', 'execute', 'test', 'settle', 'teardown'];

/** A hook's command that writes its name and this text down, where both outlive the cell. */
export const NOTE = (text: string) => `echo "$CELLPOOL_HOOK ${text}" >> "$CELLPOOL_ARTIFACTS/notes"`;

export const artifact = (result: AttemptResult, file: string) => readFileSync(join(result.artifacts, file), 'utf8');

/** Cells whose user is in the middle of something: none of it may be seen in a cell, nor touched by one. */
export async function startBusyCells(): Promise<TestCells> {
  const cells = await startTestCells();
  writeFiles(cells.repository, { 'src/greet.js': 'half an edit', 'staged.txt': 's\n', 'untracked.txt': 'u\n' });
  git(cells.repository, 'add', 'staged.txt');
  return cells;
}

/** One attempt, and what was told of it; everything that no attempt may leave or touch is checked. */
export async function attempt(cells: TestCells, taskId: string, run: Run = {}): Promise<Attempted> {
  const { config, steps = [{ say: 'Nothing to do.' }], cancel, onStage, hooks, fence } = run;
  const stages: Stage[] = [];
  const usage: number[] = [];
  const before = stateOf(cells.repository);
  const refs = refsOf(cells.repository).split('\n');
  const result = await runCell(cells.spawner, {
    config: { agentId: 'agent-1', taskId, model: SCRIPTED_MODEL, ...config },
    prompt: `Do it.\n\n${script(steps)}`,
    subject: 'What was asked',
    signal: cancel?.signal ?? new AbortController().signal,
    hooks,
    fence,
    onStage: (stage, agent) => {
      stages.push(stage);
      onStage?.(stage, agent);
    },
    onUsage: tokens => usage.push(tokens),
  });
  await cells.expectNothingLeft();
  expect(stateOf(cells.repository)).toEqual(before);
  const added = refsOf(cells.repository)
    .split('\n')
    .filter(ref => !refs.includes(ref));
  expect(added).toEqual(result.commit === null ? [] : [`refs/heads/cellpool/${taskId} ${result.commit}`]);
  expect(attemptResultSchema.parse(result)).toEqual(result);
  const { spawnMs, executionMs, teardownMs, totalMs } = result.metrics;
  expect(totalMs).toBeGreaterThanOrEqual(spawnMs + executionMs + teardownMs);
  // What was told while it ran, with times that follow each other.
  const times = result.stages ?? [];
  expect(times.map(({ stage }) => stage)).toEqual(stages);
  expect(times.map(({ startedAt }) => startedAt)).toEqual(
    times.map(({ startedAt }) => startedAt).sort((a, b) => a - b),
  );
  if (result.artifacts !== '') expect(JSON.parse(artifact(result, 'result.json'))).toEqual(result);
  return { result, stages, usage };
}

/** The working copy, the index and HEAD, byte for byte. */
function stateOf(repository: string) {
  const read = (file: string) => readFileSync(join(repository, '.git', file), 'base64');
  return { files: pictureOf(repository), index: read('index'), head: read('HEAD'), config: read('config') };
}
