/** The call of `cellpool logs`; what it does is in `../logs.ts`. */
import type { Command } from 'commander';
import type { LogsFlags } from '../logs.ts';
import { addFlags, SITE_FLAGS } from '../options.ts';

const EXAMPLES = `
Examples:
  $ cellpool logs fix-login                           # what was said and done in its last attempt
  $ cellpool logs fix-login --attempt 1 --file test
  $ cellpool logs fix-login --file diff | git apply   # what a reverted attempt had changed
  $ cellpool logs fix-login -f                        # until the task has ended

The files lie on the host that ran the attempt; of another host it says which, and in which folder. With -f the
stages of the task are told on stderr, and the logs of its setup and test commands printed as they grow; a transcript
is there when its session has ended. With --json each line is an entry of the transcript or a part of another file.

Ends with 0 (with -f: when the task has ended well), 1 when there is no such task, attempt or file here or the task
has not ended well, 2 on bad input, 3 when Redis is not there, 130 when interrupted.`;

export function addLogsCommand(program: Command, exit: (code: number) => void): void {
  const command = program
    .command('logs')
    .description('the transcript of an attempt, its logs or its diff')
    .argument('<id>', 'id of the task')
    .option('-f, --follow', 'go on until the task has ended')
    .option('--attempt <n>', 'of this attempt (default: the one that runs, or else the last one)')
    .option(
      '--file <name>',
      'transcript, test, setup, server or diff (default: transcript; with -f setup and test too)',
    )
    .option('--json', 'one JSON object a line on stdout, and nothing else there');
  addFlags(command, SITE_FLAGS)
    .addHelpText('after', EXAMPLES)
    .action(async (id: string, flags: LogsFlags) => exit(await (await import('../logs.ts')).logs(id, flags)));
}
