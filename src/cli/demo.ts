/** `cellpool demo`: the whole thing on a sample repository, with real opencode and a scripted model. */
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import { CellpoolError } from '../errors.ts';
import { run as runProgram } from '../os/run.ts';
import { makeSampleRepository, sampleTasks } from './demo/sample-repository.ts';
import { SCRIPTED_MODEL, startScriptedModel } from './demo/scripted-model.ts';
import { run } from './run.ts';

const EXAMPLES = `
Examples:
  $ cellpool demo
  $ cellpool demo --folder /tmp/try --concurrency 2

Makes everything anew below its folder each time: a repository, a state folder with a private Redis, and the commits.`;

const MARK = '.cellpool-demo';

export function addDemoCommand(program: Command, exit: (code: number) => void): void {
  program
    .command('demo')
    .description('watch real agents with a scripted model work on a sample repository')
    .option('--folder <folder>', 'where to make it', 'cellpool-demo')
    .option('--concurrency <n>', 'cells at once', '3')
    .addHelpText('after', EXAMPLES)
    .action(async (flags: { folder: string; concurrency: string }) => exit(await demo(flags)));
}

export async function demo(flags: { folder: string; concurrency: string }): Promise<number> {
  const folder = resolve(flags.folder);
  await makeEmpty(folder);
  const repository = join(folder, 'repository');
  await makeSampleRepository(repository);
  const model = await startScriptedModel();
  try {
    const tasks = join(folder, 'tasks.json');
    await writeFile(tasks, `${JSON.stringify(sampleTasks(), null, 2)}\n`);
    const config = join(folder, 'scripted-model.json');
    await writeFile(config, `${JSON.stringify(model.opencodeConfig(), null, 2)}\n`);
    say(
      'The model of this demo is scripted: it does what each task tells it to, and no network is used.',
      'All else is real: git, Redis, and an opencode server of its own for every attempt.',
      '',
    );
    // The demo keeps to itself: not the operator's Redis, not their state folder.
    delete process.env.REDIS_URL;
    const code = await run(tasks, {
      repo: repository,
      home: join(folder, 'state'),
      model: SCRIPTED_MODEL,
      opencodeConfig: config,
      test: 'npm test',
      concurrency: flags.concurrency,
    });
    say('', `What was made, in ${repository}:`, '', await graph(repository));
    say(
      'One task was meant to fail for good: its changes were reverted, its patch is kept with the artifacts.',
      'With a model of your own, in a repository of your own:',
      '',
      '  cellpool run tasks.jsonl --repo . --test "npm test" --model anthropic/claude-sonnet-4-5',
    );
    return code === 1 ? 0 : code;
  } finally {
    await model.close();
  }
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
  const { stdout } = await runProgram(['git', '-C', repository, 'log', '--oneline', '--graph', '--all'], { env });
  return stdout;
}
