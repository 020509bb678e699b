#!/usr/bin/env node
/** The command line: parses, calls, renders errors. Nothing else in the code base ends the process. */
import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { asCellpoolError, InvalidInput } from '../errors.ts';
import { addBeadsCommand } from './commands/beads.ts';
import { addBoardCommand } from './commands/board.ts';
import { addBudgetCommand } from './commands/budget.ts';
import { addCancelCommand } from './commands/cancel.ts';
import { addDemoCommand } from './commands/demo.ts';
import { addDoctorCommand } from './commands/doctor.ts';
import { addDrainCommand } from './commands/drain.ts';
import { addEnqueueCommand } from './commands/enqueue.ts';
import { addFleetCommand } from './commands/fleet.ts';
import { addFolderCommand } from './commands/folder.ts';
import { addJobsCommand } from './commands/jobs.ts';
import { addLandCommand } from './commands/land.ts';
import { addLandingCommand } from './commands/landing.ts';
import { addLogsCommand } from './commands/logs.ts';
import { addPauseCommand, addResumeCommand } from './commands/pause.ts';
import { addPsCommand } from './commands/ps.ts';
import { addReapCommand } from './commands/reap.ts';
import { addRetryCommand } from './commands/retry.ts';
import { addRunCommand } from './commands/run.ts';
import { addShowCommand } from './commands/show.ts';
import { addStatsCommand } from './commands/stats.ts';
import { addWorkerCommand } from './commands/worker.ts';
import { outliveOutputs } from './outputs.ts';
import { printable } from './words.ts';

const HELP = `
Begin with:
  $ cellpool demo        # a scripted model on a sample repository
  $ cellpool doctor      # what is missing on this machine`;

/** In the order in which the help lists them. */
const COMMANDS = [
  ...[addRunCommand, addEnqueueCommand, addWorkerCommand, addBeadsCommand, addFolderCommand, addLandCommand],
  ...[addPsCommand, addJobsCommand, addShowCommand, addLandingCommand, addLogsCommand, addStatsCommand],
  ...[addCancelCommand, addRetryCommand, addPauseCommand, addResumeCommand, addDrainCommand],
  ...[addBoardCommand, addBudgetCommand, addFleetCommand, addReapCommand, addDoctorCommand, addDemoCommand],
];

function buildProgram(exit: (code: number) => void): Command {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    version: string;
  };
  const program = new Command('cellpool')
    .description('A queue-driven pool that works through coding tasks with AI coding agents.')
    .version(version)
    .option('--verbose', 'show where an error came from')
    .addHelpText('after', HELP)
    .showHelpAfterError('(--help tells what there is)')
    .exitOverride();
  for (const add of COMMANDS) add(program, exit);
  for (const command of program.commands) command.exitOverride().showHelpAfterError('(--help tells what there is)');
  return program;
}

/** Tells the error and returns the exit code that goes with it. */
function tell(error: unknown, verbose: boolean): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  const known = asCellpoolError(error);
  const lines =
    known instanceof InvalidInput
      ? known.faults.map(({ where, what }) => `${where}: ${what}`)
      : [`cellpool: ${known.message}`, ...(known.hint === undefined ? [] : [known.hint])];
  process.stderr.write(`${lines.map(printable).join('\n')}\n`);
  if (verbose) process.stderr.write(`${known.stack}\n`);
  return known.exitCode;
}

async function main(argv: readonly string[]): Promise<number> {
  let code = 0;
  const program = buildProgram(value => {
    code = value;
  });
  try {
    await program.parseAsync(argv);
  } catch (error) {
    return tell(error, program.opts().verbose === true);
  }
  return code;
}

outliveOutputs();
// Not ended by hand: nothing that a command leaves open is to keep the process alive, and what would shows itself so.
process.exitCode = await main(process.argv);
