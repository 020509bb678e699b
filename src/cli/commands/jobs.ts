/** The call of `cellpool jobs`; what it does is in `../jobs.ts`. */
import type { Command } from 'commander';
import type { JobsFlags } from '../jobs.ts';
import { addFlags, SITE_FLAGS } from '../options.ts';

const EXAMPLES = `
Examples:
  $ cellpool jobs
  $ cellpool jobs --state failed --limit 200
  $ cellpool jobs --state waiting,delayed --json

Those that run come first, then those in line in the order in which they come up, those that wait for something (their
next attempt, other tasks, a provider, a budget), and the ended ones, latest first.

Ends with 0, 2 on bad input, 3 when Redis is not there, 130 when interrupted.`;

export function addJobsCommand(program: Command, exit: (code: number) => void): void {
  const command = program
    .command('jobs')
    .description('the tasks on the queue, and those that have ended')
    .option('--state <states>', 'of running, waiting, delayed, completed, failed, between commas (default: all)')
    .option('--limit <n>', 'how many at most (default: 50)')
    .option('--json', 'one JSON object a line on stdout for each task, and nothing else there');
  addFlags(command, SITE_FLAGS)
    .addHelpText('after', EXAMPLES)
    .action(async (flags: JobsFlags) => exit(await (await import('../jobs.ts')).jobs(flags)));
}
