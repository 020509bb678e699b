/** The call of `cellpool retry`; what it does is in `../retry.ts`. */
import type { Command } from 'commander';
import { addFlags, SITE_FLAGS } from '../options.ts';
import type { RetryFlags } from '../retry.ts';

const EXAMPLES = `
Examples:
  $ cellpool retry fix-login
  $ cellpool retry --failed                 # all that failed

A task that failed, or was cancelled, is queued with all its attempts, as it was enqueued; one that waits for its next
attempt is queued now. A worker must run to take them up.

Ends with 0 when each of them is queued or runs, 1 when one ended well or is not known, 2 on bad input (nothing was
queued), 3 when Redis is not there, 130 when interrupted.`;

export function addRetryCommand(program: Command, exit: (code: number) => void): void {
  const command = program
    .command('retry')
    .description('work failed tasks anew, and delayed ones at once')
    .argument('[id...]', 'ids of the tasks')
    .option('--failed', 'all tasks that failed')
    .option('--json', 'one JSON object a line on stdout for each task, and nothing else there');
  addFlags(command, SITE_FLAGS)
    .addHelpText('after', EXAMPLES)
    .action(async (ids: string[], flags: RetryFlags) => exit(await (await import('../retry.ts')).retry(ids, flags)));
}
