/** The call of `cellpool cancel`; what it does is in `../cancel.ts`. */
import type { Command } from 'commander';
import type { CancelFlags } from '../cancel.ts';
import { addFlags, SITE_FLAGS } from '../options.ts';

const EXAMPLES = `
Examples:
  $ cellpool cancel fix-login bd-a1b2.3
  $ cellpool cancel fix-login --no-wait --json

A task that waits is taken off the queue. One that runs is stopped by its worker: the session is aborted, its changes
are reverted, and its outcome is "cancelled". One that has ended keeps its outcome; of one that waits for its landing the
branch stays, and does not land.

Ends with 0 when each of them is known and runs no more (with --no-wait: has been told), 1 when there is no such job,
one still runs after the wait or is just about to land, 2 on bad input (nothing was cancelled), 3 when Redis is not there, 130 when
interrupted.`;

export function addCancelCommand(program: Command, exit: (code: number) => void): void {
  const command = program
    .command('cancel')
    .description('take tasks off the queue, and stop those that run')
    .argument('<id...>', 'ids of the tasks')
    .option('--wait <seconds>', 'how long to wait until running ones have ended (default: 10)')
    .option('--no-wait', 'tell the workers and be done')
    .option('--json', 'one JSON object a line on stdout for each task, and nothing else there');
  addFlags(command, SITE_FLAGS)
    .addHelpText('after', EXAMPLES)
    .action(async (ids: string[], flags: CancelFlags) => exit(await (await import('../cancel.ts')).cancel(ids, flags)));
}
