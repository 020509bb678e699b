/** The call of `cellpool drain`; what it does is in `../drain.ts`. */
import type { Command } from 'commander';
import type { DrainFlags } from '../drain.ts';
import { addFlags, SITE_FLAGS } from '../options.ts';

const EXAMPLES = `
Examples:
  $ cellpool drain                          # all workers
  $ cellpool drain --host build-7 --timeout 3600

The workers take no more jobs, let their running attempts come to their end, however long that takes, and end with 0.
A worker that starts later is not meant.

Ends with 0 when they are gone or none was there, 1 when --timeout was over before, 2 on bad input, 3 when Redis is
not there, 130 when interrupted; they go on draining then.`;

export function addDrainCommand(program: Command, exit: (code: number) => void): void {
  const command = program
    .command('drain')
    .description('let workers end what they have begun, and then themselves')
    .option('--host <name>', 'only the workers of this host')
    .option('--timeout <seconds>', 'wait no longer than this (default: until they are gone)')
    .option('--no-wait', 'tell the workers and be done')
    .option('--json', 'one JSON object a line on stdout for each worker, and nothing else there');
  addFlags(command, SITE_FLAGS)
    .addHelpText('after', EXAMPLES)
    .action(async (flags: DrainFlags) => exit(await (await import('../drain.ts')).drain(flags)));
}
