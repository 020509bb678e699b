/** `cellpool demo`: the whole thing on a sample repository, with real opencode and a scripted model. */
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { CellpoolError } from '../errors.ts';
import { endedWell } from '../job/outcome.ts';
import { run as runProgram } from '../os/run.ts';
import { makeSampleRepository, sampleTasks } from './demo/sample-repository.ts';
import { SCRIPTED_MODEL, startScriptedModel } from './demo/scripted-model.ts';
import { interruptible, type StopRequests } from './interrupts.ts';
import { type Results, runCall } from './run.ts';
import { readTaskCall } from './task-input.ts';

const MARK = '.cellpool-demo';

/** Its tests fail in every attempt, to show what is left of such a task. */
const MEANT_TO_FAIL = 'demo-4.round-prices';

export interface DemoFlags {
  folder: string;
  concurrency: string;
}

export async function demo(flags: DemoFlags): Promise<number> {
  return interruptible(stop => showAll(resolve(flags.folder), flags.concurrency, stop));
}

async function showAll(folder: string, concurrency: string, stop: StopRequests): Promise<number> {
  await makeEmpty(folder);
  const repository = join(folder, 'repository');
  await makeSampleRepository(repository);
  const model = await startScriptedModel();
  try {
    const tasks = join(folder, 'tasks.json');
    await writeFile(tasks, `${JSON.stringify(sampleTasks(), null, 2)}\n`);
    const config = join(folder, 'scripted-model.json');
    await writeFile(config, `${JSON.stringify(model.opencodeConfig(), null, 2)}\n`);
    stop.asked.throwIfAborted();
    say(
      'The model of this demo is scripted: it does what each task tells it to, and no network is used.',
      'All else is real: git, Redis, and an opencode server of its own for every attempt.',
      '',
    );
    forgetOperatorSettings();
    const taskFlags = {
      repo: repository,
      home: join(folder, 'state'),
      model: SCRIPTED_MODEL,
      opencodeConfig: config,
      test: 'npm test',
      concurrency,
    };
    const { results } = await runCall(await readTaskCall(tasks, taskFlags), taskFlags, stop);
    if (stop.asked.aborted) return 130;
    say('', `What was made, in ${repository}:`, '', await graph(repository));
    const surprises = unexpected(results);
    if (surprises.length > 0) {
      say('This is not how the demo is meant to end:', '', ...surprises, '', '`cellpool doctor` may tell why.');
      return 1;
    }
    say(
      'One task was meant to fail for good: its changes were reverted, its patch is kept with the artifacts.',
      'With a model of your own, in a repository of your own:',
      '',
      '  cellpool run tasks.jsonl --repo . --test "npm test" --model anthropic/claude-sonnet-4-5',
    );
    return 0;
  } finally {
    await model.close();
  }
}

/** The demo keeps to itself: not the operator's Redis, state folder, limits or ports. How much is logged may be set. */
function forgetOperatorSettings(): void {
  for (const name of Object.keys(process.env)) {
    if (name === 'REDIS_URL' || (name.startsWith('CELLPOOL_') && name !== 'CELLPOOL_LOG_LEVEL')) {
      delete process.env[name];
    }
  }
}

/** A line for each task that ended otherwise than it is there to show. */
export function unexpected(results: Results): string[] {
  return sampleTasks().flatMap(({ id }) => {
    const outcome = results.get(id)?.outcome;
    const asMeant = id === MEANT_TO_FAIL ? outcome === 'reverted' : outcome !== undefined && endedWell(outcome);
    const wanted = id === MEANT_TO_FAIL ? 'reverted' : 'committed or no-changes';
    return asMeant ? [] : [`${id}: ${outcome ?? 'without an outcome'} instead of ${wanted}`];
  });
}

function say(...lines: string[]): void {
  process.stdout.write(`${lines.join('\n')}\n`);
}

/** Only a folder that a demo made is made anew. */
async function makeEmpty(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: false });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    const ours = await readFile(join(folder, MARK), 'utf8').catch(() => null);
    if (ours === null) {
      throw new CellpoolError('INVALID_INPUT', `${folder} is there already and was not made by a demo`, {
        hint: 'Name another one with --folder.',
      });
    }
    await rm(folder, { recursive: true });
    await mkdir(folder);
  }
  await writeFile(join(folder, MARK), 'Made by cellpool demo, and made anew by the next one.\n');
}

async function graph(repository: string): Promise<string> {
  const env = { PATH: process.env.PATH ?? '', HOME: process.env.HOME ?? '/' };
  const { stdout } = await runProgram(['git', '-C', repository, 'log', '--oneline', '--graph', '--all', '--decorate'], {
    env,
  });
  return stdout;
}
